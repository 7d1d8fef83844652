"""OpenAI's official client, unmodified, through a real broker, a router and a worker."""

import asyncio

import openai
import pytest

from tests.integration.gateway.system import LEGAL, LEGAL_TEXTS, MEDICAL, RunningSystem

QUESTION = LEGAL_TEXTS[0]
TURNS: list[openai.types.chat.ChatCompletionMessageParam] = [
    {"role": "system", "content": "Be short."},
    {"role": "user", "content": QUESTION},
]


def test_a_completion_is_answered_by_the_adapter_that_is_selected(system: RunningSystem) -> None:
    with system.openai() as client:
        raw = client.completions.with_raw_response.create(model="lorelay", prompt=QUESTION)
    answer = raw.parse()
    assert answer.model == f"{LEGAL}@1.0.0"
    assert answer.choices[0].text == f"[{LEGAL}@1.0.0] {QUESTION}"
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage is not None and answer.usage.completion_tokens == 10
    decision = answer.model_extra["lorelay"]  # type: ignore[index]
    assert (decision["adapter"], decision["version"]) == (f"{LEGAL}@1.0.0", "1.0.0")
    assert decision["score"] > 0.5
    assert decision["reason"]
    assert decision["timing"]["total_ms"] > 0
    assert raw.headers["x-lorelay-adapter"] == f"{LEGAL}@1.0.0"
    assert float(raw.headers["x-lorelay-score"]) == pytest.approx(decision["score"], abs=1e-3)
    assert raw.headers["x-request-id"] == answer.id == decision["query_id"]


def test_a_chat_completion_is_answered(system: RunningSystem) -> None:
    with system.openai() as client:
        answer = client.chat.completions.create(model="auto", messages=TURNS)
    assert answer.choices[0].message.content == f"[{LEGAL}@1.0.0] {QUESTION}"


@pytest.mark.parametrize("model", [MEDICAL, "medical-qa", f"{MEDICAL}@1.0.0"])
def test_a_model_names_the_adapter(system: RunningSystem, model: str) -> None:
    with system.openai() as client:
        answer = client.completions.create(model=model, prompt=QUESTION)
    assert answer.choices[0].text.startswith(f"[{MEDICAL}@1.0.0]")


def test_a_lora_name_names_the_adapter_beside_the_base_model_s_name(system: RunningSystem) -> None:
    with system.openai() as client:
        answer = client.completions.create(
            model="echo", prompt=QUESTION, max_tokens=50, extra_body={"lora_name": MEDICAL}
        )
    assert answer.choices[0].text == f"[{MEDICAL}@1.0.0] {QUESTION}"


def test_base_is_the_base_model_and_its_own_name_leaves_the_choice(system: RunningSystem) -> None:
    with system.openai() as client:
        base = client.completions.create(model="base", prompt=QUESTION)
        chosen = client.completions.create(model="echo", prompt=QUESTION)
    assert (base.model, base.choices[0].text) == ("echo", f"[base] {QUESTION}")
    assert chosen.model == f"{LEGAL}@1.0.0"


def test_parameters_reach_the_engine(system: RunningSystem) -> None:
    with system.openai() as client:
        cut = client.chat.completions.create(model="base", messages=TURNS, max_tokens=3)
        stopped = client.completions.create(model="base", prompt="one two three", stop=[" three"])
    assert (cut.choices[0].finish_reason, cut.choices[0].message.content) == (
        "length",
        "[base] How long",
    )
    assert stopped.choices[0].text == "[base] one two"


def test_a_stream_brings_the_answer_in_pieces(system: RunningSystem) -> None:
    with (
        system.openai() as client,
        client.chat.completions.create(
            model="lorelay", messages=TURNS, stream=True, stream_options={"include_usage": True}
        ) as stream,
    ):
        adapter = stream.response.headers["x-lorelay-adapter"]
        chunks = list(stream)
    *pieces, last, usage = chunks
    text = "".join(piece.choices[0].delta.content or "" for piece in pieces)
    assert text == f"[{LEGAL}@1.0.0] {QUESTION}"
    assert chunks[0].choices[0].delta.role == "assistant"
    assert last.choices[0].finish_reason == "stop"
    assert last.model_extra["lorelay"]["adapter"] == adapter == f"{LEGAL}@1.0.0"  # type: ignore[index]
    assert usage.usage is not None and usage.usage.completion_tokens == 10


def test_a_completion_streams_without_its_usage_unless_asked(system: RunningSystem) -> None:
    with system.openai() as client:
        chunks = list(client.completions.create(model="base", prompt=QUESTION, stream=True))
    assert "".join(chunk.choices[0].text for chunk in chunks) == f"[base] {QUESTION}"
    assert all(chunk.usage is None for chunk in chunks)


async def test_many_queries_at_once_each_get_their_own_answer(system: RunningSystem) -> None:
    async with system.openai_async() as client:

        async def whole(number: int) -> str:
            answer = await client.completions.create(model="base", prompt=f"number {number}")
            return answer.choices[0].text

        async def streamed(number: int) -> str:
            stream = await client.completions.create(
                model="base", prompt=f"number {number}", stream=True
            )
            return "".join([chunk.choices[0].text async for chunk in stream])

        answers = await asyncio.gather(
            *(whole(number) for number in range(50)),
            *(streamed(number) for number in range(50, 100)),
        )
    assert answers == [f"[base] number {number}" for number in range(100)]


def test_models_are_listed_and_shown(system: RunningSystem) -> None:
    with system.openai() as client:
        listed = {model.id for model in client.models.list()}
        shown = client.models.retrieve("legal-qa")
    assert {"lorelay", "base", "echo", "legal-qa", LEGAL, f"{LEGAL}@1.0.0"} <= listed
    assert shown.id == "legal-qa"
    assert shown.model_extra["root"] == f"{LEGAL}@1.0.0"  # type: ignore[index]


def test_an_unknown_model_is_told_what_is_near(system: RunningSystem) -> None:
    with system.openai() as client:
        with pytest.raises(openai.NotFoundError, match="Did you mean legal-qa") as refused:
            client.completions.create(model="legal-qs", prompt=QUESTION)
        with pytest.raises(openai.NotFoundError):
            client.models.retrieve("legal-qs")
    assert (refused.value.code, refused.value.param) == ("model_not_found", "model")


def test_an_unsupported_parameter_is_named(system: RunningSystem) -> None:
    with system.openai() as client, pytest.raises(openai.BadRequestError) as refused:
        client.chat.completions.create(model="base", messages=TURNS, n=3)
    assert (refused.value.param, refused.value.code) == ("n", "unsupported_parameter")


def test_the_engine_s_refusal_has_its_status_streamed_or_not(system: RunningSystem) -> None:
    long = "word " * 5000
    with system.openai() as client:
        for stream in (False, True):
            with pytest.raises(openai.BadRequestError, match="tokens") as refused:
                client.completions.create(model="base", prompt=long, stream=stream)
            assert refused.value.code == "context_length_exceeded"


def test_a_query_past_its_time_is_a_time_out(system: RunningSystem) -> None:
    with (
        system.openai(max_retries=0) as client,
        pytest.raises(openai.InternalServerError, match="deadline") as refused,
    ):
        client.completions.create(model="base", prompt=QUESTION, extra_body={"timeout_ms": 1})
    assert refused.value.status_code == 504


def test_an_answer_is_fetched_again_by_its_id(system: RunningSystem) -> None:
    with system.openai() as client:
        answer = client.completions.create(
            model="base", prompt=QUESTION, extra_headers={"X-Request-Id": "my/own:1"}
        )
    assert answer.id == "my/own:1"
    with system.openai("gateway-2") as other:
        fetched = other.responses.retrieve(answer.id)
        assert fetched.output_text == answer.choices[0].text
        assert fetched.status == "completed"
        with pytest.raises(openai.NotFoundError):
            other.responses.retrieve("nobody-asked-this")
