"""What a trace says of a query, a decision and an answer."""

from dataclasses import replace

from schemas.records import (
    ErrorInfo,
    Message,
    Origin,
    Query,
    Response,
    Routing,
    Sampling,
    Usage,
)
from streams.telemetry.attributes import (
    asked_attributes,
    response_attributes,
    routing_attributes,
)

ANSWER = Response(
    query_id="q",
    status="ok",
    text="Eine geheime Antwort.",
    finish_reason="length",
    adapter="legal-qa-v1@1.0.0",
    base_model="tiny",
    routing=Routing(adapter="legal-qa-v1@1.0.0", score=0.7, variant="v1"),
    usage=Usage(7, 3),
    origin=Origin("queries", 0, 0),
    attempt=2,
)


def test_a_question_is_told_by_what_it_asks_of_which_model() -> None:
    sampling = Sampling(max_tokens=64, temperature=0.0, top_p=0.9, seed=4, stop=("###",))
    query = Query(id="q", prompt="Geheim", session="s", sampling=sampling, stream=True)
    assert asked_attributes(query, "legal-qa") == {
        "gen_ai.operation.name": "text_completion",
        "gen_ai.provider.name": "lorelay",
        "gen_ai.request.model": "legal-qa",
        "gen_ai.request.stream": True,
        "gen_ai.request.max_tokens": 64,
        "gen_ai.request.temperature": 0.0,
        "gen_ai.request.top_p": 0.9,
        "gen_ai.request.seed": 4,
        "gen_ai.request.stop_sequences": ["###"],
        "gen_ai.conversation.id": "s",
    }


def test_a_conversation_is_a_chat() -> None:
    query = Query(id="q", messages=(Message("user", "Geheim"),))
    assert asked_attributes(query, "lorelay") == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "lorelay",
        "gen_ai.request.model": "lorelay",
        "gen_ai.request.stream": False,
    }


def test_an_answer_is_told_by_who_gave_it_why_and_what_it_took() -> None:
    assert response_attributes(ANSWER) == {
        "gen_ai.response.id": "q",
        "gen_ai.response.model": "legal-qa-v1@1.0.0",
        "gen_ai.response.finish_reasons": ["length"],
        "gen_ai.usage.input_tokens": 7,
        "gen_ai.usage.output_tokens": 3,
        "lorelay.adapter": "legal-qa-v1@1.0.0",
        "lorelay.choice": "selected",
        "lorelay.score": 0.7,
        "lorelay.variant": "v1",
        "lorelay.attempt": 2,
    }


def test_a_fallback_shows_in_the_model_that_answered() -> None:
    told = response_attributes(replace(ANSWER, adapter=None))
    assert (told["gen_ai.response.model"], told["lorelay.adapter"]) == ("tiny", "legal-qa-v1@1.0.0")


def test_an_error_is_told_as_far_as_it_came() -> None:
    error = ErrorInfo("invalid_request", "invalid_request", "No.", False)
    failed = Response(query_id="q", status="error", error=error, origin=Origin("queries", 0, 0))
    assert response_attributes(failed) == {"gen_ai.response.id": "q", "lorelay.attempt": 1}


def test_a_selected_adapter_is_told_with_its_figures() -> None:
    routing = Routing(
        adapter="legal-qa-v1@1.0.0", score=0.7, margin=0.2, threshold=0.4, language="de"
    )
    assert routing_attributes(routing) == {
        "lorelay.adapter": "legal-qa-v1@1.0.0",
        "lorelay.choice": "selected",
        "lorelay.score": 0.7,
        "lorelay.margin": 0.2,
        "lorelay.threshold": 0.4,
        "lorelay.language": "de",
    }


def test_figures_that_there_are_none_of_are_left_out() -> None:
    assert routing_attributes(Routing()) == {
        "lorelay.adapter": "base",
        "lorelay.choice": "uncompared",
    }
