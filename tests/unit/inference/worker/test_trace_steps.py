"""What a trace says of a generation, and what it keeps to itself."""

from inference.engine.protocol import Completion
from inference.worker.trace_steps import generation_attributes
from schemas.records import InferenceRequest, Message, Origin, Query, Routing, Sampling, Usage

COMPLETION = Completion("Die Antwort.", "stop", Usage(7, 3), first_token_ms=20.0)


def request(query: Query, adapter: str | None = None) -> InferenceRequest:
    return InferenceRequest(query, Routing(adapter=adapter), Origin("queries", 0, 0))


def test_it_says_what_was_asked_of_which_model_and_what_it_took() -> None:
    sampling = Sampling(max_tokens=64, temperature=0.0, top_p=0.9, seed=4, stop=("###",))
    query = Query(id="q", prompt="Frage", session="s", sampling=sampling, stream=True)
    asked = request(query, "legal-qa-v1@1.0.0")
    assert generation_attributes(asked, COMPLETION, "legal-qa-v1@1.0.0", "tiny") == {
        "gen_ai.operation.name": "text_completion",
        "gen_ai.provider.name": "lorelay",
        "gen_ai.request.model": "legal-qa-v1@1.0.0",
        "gen_ai.request.stream": True,
        "gen_ai.request.max_tokens": 64,
        "gen_ai.request.temperature": 0.0,
        "gen_ai.request.top_p": 0.9,
        "gen_ai.request.seed": 4,
        "gen_ai.request.stop_sequences": ["###"],
        "gen_ai.conversation.id": "s",
        "gen_ai.response.model": "legal-qa-v1@1.0.0",
        "gen_ai.response.finish_reasons": ["stop"],
        "gen_ai.response.time_to_first_chunk": 0.02,
        "gen_ai.usage.input_tokens": 7,
        "gen_ai.usage.output_tokens": 3,
        "lorelay.attempt": 1,
    }


def test_what_is_not_asked_for_or_not_known_is_left_out() -> None:
    query = Query(id="q", messages=(Message("user", "Frage"),))
    found = generation_attributes(request(query), Completion("", "stop", Usage()), None, "tiny")
    assert found["gen_ai.operation.name"] == "chat"
    assert found["gen_ai.request.model"] == found["gen_ai.response.model"] == "tiny"
    assert not {name for name in found if "temperature" in name or "first_chunk" in name}


def test_a_fallback_shows_in_the_model_that_answered() -> None:
    asked = request(Query(id="q", prompt="Frage"), "legal-qa-v1@1.0.0")
    assert generation_attributes(asked, COMPLETION, None, "tiny")["gen_ai.response.model"] == "tiny"


def test_no_word_of_prompt_or_answer_is_in_it() -> None:
    asked = request(Query(id="q", prompt="Geheime Frage"))
    told = str(generation_attributes(asked, COMPLETION, None, "tiny"))
    assert "Geheime" not in told and "Antwort" not in told
