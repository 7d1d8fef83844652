"""The demo's adapters answer through Kafka, each with what it was trained on."""

import asyncio
import io
import json
import uuid

import fastavro
import pytest
from confluent_kafka import Consumer, Producer

from examples.demo import (
    ADAPTERS,
    FAMILIES,
    LANGUAGES,
    Kind,
    Question,
    learnt_by,
    reworded,
    rows_of,
    trained,
)
from schemas.codec import Codec
from schemas.records import Message, Query, Response
from tests.e2e.conversation import answers_to, ask, sample_of
from tests.e2e.running import ROOT, Stack

OTHERS = dict(zip(FAMILIES, (*FAMILIES[1:], FAMILIES[0]), strict=True))


@pytest.mark.parametrize("family", FAMILIES)
async def test_trained_questions_get_their_trained_answers_from_their_adapter(
    stack: Stack, adapter_keys: dict[str, str], family: str
) -> None:
    questions = [question for language in LANGUAGES for question in trained(family, language)]

    responses = await answers_to(stack.settings, questions)

    astray = [
        (q.text, r.adapter, r.routing and r.routing.reason)
        for q, r in zip(questions, responses, strict=True)
        if r.adapter != adapter_keys[family]
    ]
    wrong = [
        (q.text, r.text) for q, r in zip(questions, responses, strict=True) if r.text != q.answer
    ]
    assert len(questions) >= 120
    assert astray == []
    # Training ends when nearly every answer is known by heart; a few may lack a word.
    assert len(wrong) <= 0.02 * len(questions), wrong


@pytest.mark.parametrize("family", FAMILIES)
async def test_the_base_model_does_not_know_the_trained_answers(stack: Stack, family: str) -> None:
    questions = sample_of(family)

    responses = await answers_to(stack.settings, questions, adapter="base")

    assert [(r.status, r.adapter) for r in responses] == [("ok", None)] * len(questions)
    assert [q.text for q, r in zip(questions, responses, strict=True) if r.text == q.answer] == []


@pytest.mark.parametrize("family", FAMILIES)
async def test_another_adapter_does_not_know_the_trained_answers(
    stack: Stack, adapter_keys: dict[str, str], family: str
) -> None:
    questions, other = sample_of(family), OTHERS[family]

    responses = await answers_to(stack.settings, questions, adapter=other)

    assert [r.adapter for r in responses] == [adapter_keys[other]] * len(questions)
    assert [q.text for q, r in zip(questions, responses, strict=True) if r.text == q.answer] == []


async def test_reworded_questions_reach_the_adapter_that_was_trained_on_them(stack: Stack) -> None:
    learnt = learnt_by(stack.folder / ADAPTERS / f"{family}-v1" for family in FAMILIES)
    questions = [
        question
        for family in FAMILIES
        for language in LANGUAGES
        for question in reworded(family, language, learnt)
    ]
    assert len(questions) >= 24, "what selection has learnt shows nothing"

    responses = await answers_to(stack.settings, questions)

    astray = [
        (q.text, r.adapter, r.routing and r.routing.reason)
        for q, r in zip(questions, responses, strict=True)
        if r.adapter is None or r.adapter.partition("@")[0] != q.adapter
    ]
    assert len(astray) <= 0.1 * len(questions), astray


async def test_most_questions_that_belong_to_no_adapter_go_to_the_base_model(stack: Stack) -> None:
    questions = [Question(Kind.NONE, row["text"], row["language"]) for row in rows_of("none")]

    responses = await answers_to(stack.settings, questions)

    assert {r.status for r in responses} == {"ok"}
    assert sum(r.adapter is None for r in responses) >= 0.8 * len(questions)


async def test_a_routing_decision_says_why(stack: Stack, adapter_keys: dict[str, str]) -> None:
    question = sample_of("legal-qa")[0]

    response = await ask(stack.settings, Query(prompt=question.text))

    routing = response.routing
    assert routing is not None
    assert routing.score is not None and routing.threshold is not None
    assert routing.score > routing.threshold
    assert routing.margin is not None and routing.margin > 0
    assert routing.reason
    assert routing.candidates[0].adapter == adapter_keys["legal-qa"]
    assert {c.adapter for c in routing.candidates} >= set(adapter_keys.values())


async def test_messages_are_answered_like_a_prompt(stack: Stack) -> None:
    question = sample_of("medical-diagnosis")[0]

    response = await ask(stack.settings, Query(messages=(Message("user", question.text),)))

    assert response.text == question.answer


async def test_every_response_says_where_its_time_went(stack: Stack) -> None:
    response = await ask(stack.settings, Query(prompt=sample_of("environmental-law")[0].text))

    timing = response.timing
    assert timing.first_token_ms is not None and timing.engine_queue_ms is not None
    assert timing.inference_ms is not None and timing.total_ms is not None
    assert timing.queue_ms is not None and timing.routing_ms is not None
    assert 0 <= timing.engine_queue_ms < timing.first_token_ms
    assert 0 < timing.inference_ms < timing.total_ms
    assert response.usage.prompt_tokens > 0
    assert response.usage.completion_tokens > 0


@pytest.mark.parametrize("reference", ["legal-qa-v1@1.0.0", "legal-qa-v1", "legal-qa"])
async def test_an_adapter_can_be_named_by_version_id_or_family(
    stack: Stack, adapter_keys: dict[str, str], reference: str
) -> None:
    question = sample_of("legal-qa")[1]

    response = await ask(stack.settings, Query(prompt=question.text, adapter=reference))

    assert (response.adapter, response.text) == (adapter_keys["legal-qa"], question.answer)


async def test_an_unknown_adapter_is_an_error_that_names_the_near_ones(stack: Stack) -> None:
    response = await ask(stack.settings, Query(prompt="Why?", adapter="legal-qa-v2"))

    assert response.status == "error"
    assert response.error is not None
    assert response.error.category == "unknown_adapter"
    assert not response.error.retryable
    assert "legal-qa-v1" in response.error.message


async def test_a_second_use_of_an_id_is_a_record_of_its_own(stack: Stack) -> None:
    query = Query(id=str(uuid.uuid4()), prompt=sample_of("legal-qa")[0].text)

    first, second = [await ask(stack.settings, query) for _ in range(2)]

    assert first.query_id == second.query_id == query.id
    assert first.origin != second.origin
    assert first.text == second.text


def test_json_by_hand_gets_avro_that_the_schema_file_alone_can_read(stack: Stack) -> None:
    question = sample_of("legal-qa")[0]
    query_id = str(uuid.uuid4())
    query = {"id": query_id, "prompt": question.text}
    producer = Producer({"bootstrap.servers": stack.kafka})
    producer.produce("lorelay.queries", json.dumps(query), key=query_id)
    assert producer.flush(30) == 0

    payload = payload_of(stack.kafka, query_id)

    schema = fastavro.schema.load_schema(str(ROOT / "schemas" / "avro" / "Response.avsc"))
    assert payload[:2] == b"\xc3\x01"
    response = fastavro.schemaless_reader(io.BytesIO(payload[10:]), schema)
    assert isinstance(response, dict)
    assert response["query_id"] == query_id
    assert response["status"] == "ok"
    assert response["text"] == question.answer
    assert response["origin"]["topic"] == "lorelay.queries"


def payload_of(kafka: str, query_id: str) -> bytes:
    """The bytes of the response to a query, read by a client of another make."""
    consumer = Consumer(
        {
            "bootstrap.servers": kafka,
            "group.id": query_id,
            "auto.offset.reset": "earliest",
            "isolation.level": "read_committed",
        }
    )
    consumer.subscribe(["lorelay.responses"])
    try:
        while (message := consumer.poll(60)) is not None:
            value = message.value()
            if message.key() == query_id.encode() and value is not None:
                return value
    finally:
        consumer.close()
    raise AssertionError(f"no response to {query_id} within 60 s of silence")


def test_the_documented_client_prints_the_answer(
    stack: Stack, adapter_keys: dict[str, str]
) -> None:
    question = sample_of("medical-diagnosis")[2]

    printed = stack.script("client.py", question.text, cwd=ROOT)

    adapter, total_ms, _, text = printed.rstrip().split(maxsplit=3)
    assert (adapter, text) == (adapter_keys["medical-diagnosis"], question.answer)
    assert float(total_ms) > 0


async def test_garbage_between_queries_is_refused_and_disturbs_nobody(stack: Stack) -> None:
    origins: list[str] = []
    producer = Producer({"bootstrap.servers": stack.kafka})
    for garbage in (b"", b"{", b"\xc3\x01\x00", b"\x00\x00\x00\x00\x07x", b"plain words"):
        producer.produce(
            "lorelay.queries",
            garbage,
            on_delivery=lambda _, m: origins.append(f"{m.topic()}-{m.partition()}-{m.offset()}"),
        )
    assert producer.flush(30) == 0
    questions = sample_of("environmental-law")

    responses = await answers_to(stack.settings, questions)

    assert [r.text for r in responses] == [q.answer for q in questions]
    refusals = [
        Codec().decode(Response, await asyncio.to_thread(payload_of, stack.kafka, origin))
        for origin in origins
    ]
    assert [r.error.category for r in refusals if r.error] == ["invalid_request"] * 5
