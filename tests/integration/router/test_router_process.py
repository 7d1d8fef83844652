"""What a running router makes of each kind of query."""

import json
import uuid
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from confluent_kafka import KafkaError, KafkaException, Message, Producer

from cli.main import main
from schemas.records import Message as Turn
from schemas.records import Query, ReplyTo
from schemas.topics import MAX_QUERY_BYTES
from tests.integration.router.conftest import LEGAL, MEDICAL, RunningRouter

LEGAL_QUESTION = "What is the notice period of my flat?"
TAX_TEXTS = (
    "Which income tax is due on a pension?",
    "When must a tax return be filed?",
    "How is value added tax shown on an invoice?",
    "Are gifts to children taxed?",
    "Which tax is due on the sale of shares?",
    "How is capital income taxed?",
    "Is a scholarship taxable income?",
    "What does a tax office do with a late return?",
)


def headers_of(message: Message) -> dict[str, bytes]:
    return dict(message.headers() or [])


@pytest.mark.parametrize("reference", [LEGAL.key, LEGAL.adapter_id, LEGAL.family])
def test_a_query_may_name_its_adapter(router: RunningRouter, reference: str) -> None:
    place = router.send(Query(id="named", prompt="Anything at all", adapter=reference))
    request, message = router.request(place)
    assert request.routing.adapter == LEGAL.key
    assert request.routing.reason == f"the query names {reference}"
    assert request.attempt == 1
    assert message.key() == LEGAL.key.encode()


def test_a_query_may_ask_for_the_base_model(router: RunningRouter) -> None:
    request, _ = router.request(router.send(Query(prompt=LEGAL_QUESTION, adapter="base")))
    assert request.routing.adapter is None


def test_a_query_goes_to_the_adapter_that_it_resembles(router: RunningRouter) -> None:
    request, _ = router.request(router.send(Query(prompt=LEGAL_QUESTION)))
    assert request.routing.adapter == LEGAL.key
    assert request.routing.candidates[0].adapter == LEGAL.key
    assert request.routing.score is not None and request.routing.margin is not None


def test_queries_are_selected_for_after_the_encoder_was_killed(router: RunningRouter) -> None:
    router.kill_encoders()
    request, _ = router.request(router.send(Query(prompt="May my landlord keep my deposit?")))
    assert request.routing.adapter == LEGAL.key


def test_a_conversation_goes_by_what_the_user_said_last(router: RunningRouter) -> None:
    turns = (
        Turn("system", "You know tenancy law."),
        Turn("user", LEGAL_QUESTION),
        Turn("assistant", "Three months."),
        Turn("user", "Which symptoms point to a pneumonia?"),
    )
    request, _ = router.request(router.send(Query(messages=turns)))
    assert request.routing.adapter == MEDICAL.key
    assert request.query.messages == turns


def test_a_query_that_resembles_nothing_goes_to_the_base_model(router: RunningRouter) -> None:
    request, _ = router.request(router.send(Query(prompt="Who won the football match?")))
    assert request.routing.adapter is None
    assert request.routing.reason


def test_an_adapter_registered_meanwhile_is_known(router: RunningRouter) -> None:
    first = replace(
        LEGAL, adapter_id="tax-qa-v1", family="tax-qa", domain="tax", adapter_version="1.0.0"
    )
    newer = replace(first, adapter_version="1.1.0")
    # What is registered can be named at once; to be selected, it has to be learnt. Once it is,
    # there is no time without it or the version that follows it.
    before = None
    for version in (first, newer):
        router.register(version, TAX_TEXTS)
        asked = Query(prompt="Anything", adapter="tax-qa")
        while (answer := router.either(router.send(asked))).adapter != version.key:
            assert answer.adapter in {None, first.key}
        asked = Query(prompt="Which tax is due on a salary?")
        while (selected := router.request(router.send(asked))[0].routing.adapter) != version.key:
            assert selected == before
        before = version.key
    exact, _ = router.request(router.send(Query(prompt="Anything", adapter=first.key)))
    assert exact.routing.adapter == first.key


def test_an_unknown_adapter_is_an_error_that_names_the_near_ones(router: RunningRouter) -> None:
    place = router.send(Query(id="mistyped", prompt="Anything", adapter="medical-diagnose-v1"))
    response, message = router.response(place)
    assert response.status == "error"
    assert response.error is not None
    assert response.error.category == "unknown_adapter"
    assert MEDICAL.adapter_id in response.error.message
    assert response.query_id == "mistyped"
    assert message.key() == b"mistyped"
    assert router.dead_letter(place) is None


def test_a_query_that_was_taken_back_before_it_came_is_not_routed(router: RunningRouter) -> None:
    router.cluster.produce(router.topics.cancels, [b'{"query_id": "regretted"}'])
    regretted = Query(id="regretted", prompt="Anything", adapter="base")
    # The cancel is on a topic of its own: the first queries may overtake it.
    while router.either(place := router.send(regretted)).reason:
        pass
    response, _ = router.response(place)
    assert response.error is not None
    assert response.error.category == "cancelled"
    assert router.dead_letter(place) is None


@pytest.mark.parametrize(
    "value",
    [
        b"\xff\xfe\x00 nothing anybody knows",
        b"",
        b'{"prompt": "cut o',
        b"[1, 2]",
        b"\xc3\x01",
        b"\xc3\x01\x01\x02\x03\x04\x05\x06\x07\x08 of an unknown schema",
        b'{"prompt": {"not": "a text"}}',
    ],
)
def test_what_nobody_can_read_is_answered_and_kept_as_it_is(
    router: RunningRouter, value: bytes
) -> None:
    place = router.send(value, key=b"its key", headers=[("theirs", b"1")])
    response, _ = router.response(place)
    assert response.query_id == str(response.origin)
    assert response.status == "error"
    assert response.error is not None
    assert response.error.category == "invalid_request"
    letter = router.dead_letter(place)
    assert letter is not None
    assert (letter.value() or b"") == value
    headers = headers_of(letter)
    assert headers["theirs"] == b"1"
    assert headers["lorelay.original.key"] == b"its key"
    assert headers["__connect.errors.topic"] == router.topics.queries.encode()
    assert headers["__connect.errors.partition"] == str(place[0]).encode()
    assert headers["__connect.errors.offset"] == str(place[1]).encode()
    assert headers["__connect.errors.stage"] == b"router"
    assert headers["__connect.errors.exception.message"].decode() == response.error.message


def test_a_record_without_a_value_is_answered_too(router: RunningRouter) -> None:
    (offset,) = router.cluster.produce(router.topics.queries, [None], partition=0, key=b"k")
    response, _ = router.response((0, offset))
    assert response.status == "error"
    letter = router.dead_letter((0, offset))
    assert letter is not None
    assert letter.value() == b""


def test_a_header_without_a_value_stops_nothing(router: RunningRouter) -> None:
    place = router.send(b"unreadable", headers=[("flag", None), ("traceparent", None)])
    router.response(place)
    letter = router.dead_letter(place)
    assert letter is not None
    assert (letter.headers() or [])[:2] == [("flag", None), ("traceparent", None)]


def test_a_dead_letter_says_which_error_and_which_query(router: RunningRouter) -> None:
    place = router.send(b'{"id": "asked", "prompt": 7}')
    router.response(place)
    letter = router.dead_letter(place)
    assert letter is not None
    headers = headers_of(letter)
    assert headers["lorelay.error.category"] == b"invalid_request"
    assert headers["lorelay.error.code"] == b"invalid_field"
    assert headers["lorelay.query.id"] == b"asked"


def test_a_redriven_query_that_fails_again_names_its_dead_letter(
    router: RunningRouter, monkeypatch: pytest.MonkeyPatch
) -> None:
    partition, offset = router.send(b"still unreadable")
    router.response((partition, offset))
    monkeypatch.setenv("LORELAY_KAFKA", router.cluster.address)
    monkeypatch.setenv("LORELAY_TOPIC_PREFIX", router.topics.prefix)
    origin = f"{router.topics.queries}/{partition}/{offset}"
    with pytest.raises(SystemExit, match="0"):
        main(["dead-letters", "redrive", origin, "--yes"])
    again = router.dead_letter_from(origin)
    assert again.value() == b"still unreadable"
    assert again.key() != origin.encode()


def test_an_unreadable_query_is_answered_by_its_id_if_it_has_one(router: RunningRouter) -> None:
    response, _ = router.response(router.send(b'{"id": "mine", "prompt": 7}'))
    assert response.query_id == "mine"
    assert response.error is not None
    assert response.error.message.startswith("prompt")


def test_json_may_begin_with_a_byte_order_mark(router: RunningRouter) -> None:
    place = router.send(b'\xef\xbb\xbf \r\n{"prompt": "Grundst\xc3\xbcck", "adapter": "base"}')
    request, _ = router.request(place)
    assert request.query.prompt == "Grundstück"
    assert request.query.id == f"{router.topics.queries}-{place[0]}-{place[1]}"


@pytest.mark.parametrize("prompt", ["", "  \n"])
def test_an_empty_prompt_is_refused(router: RunningRouter, prompt: str) -> None:
    place = router.send(json.dumps({"id": "empty", "prompt": prompt}).encode())
    response, _ = router.response(place)
    assert response.query_id == "empty"
    assert response.error is not None
    assert response.error.message == "The prompt is empty."
    assert router.dead_letter(place) is None


def test_a_query_whose_time_is_over_is_not_routed(router: RunningRouter) -> None:
    late = datetime.now(UTC) - timedelta(seconds=1)
    response, _ = router.response(router.send(Query(id="late", prompt="Anything", deadline=late)))
    assert response.error is not None
    assert response.error.category == "deadline_exceeded"


def test_a_timeout_counts_from_the_creation_of_the_query(router: RunningRouter) -> None:
    created = datetime.now(UTC) - timedelta(seconds=10)
    over = Query(prompt="Anything", timeout_ms=5_000, created_at=created)
    response, _ = router.response(router.send(over))
    assert response.error is not None
    assert response.error.category == "deadline_exceeded"

    left = Query(prompt="Anything", adapter="base", timeout_ms=3_600_000, created_at=created)
    request, _ = router.request(router.send(left))
    assert request.query.deadline is not None
    expected = created + timedelta(hours=1)
    assert abs(request.query.deadline - expected) < timedelta(milliseconds=1)


def test_a_prompt_as_long_as_a_query_may_be_is_routed(router: RunningRouter) -> None:
    envelope = len(router.codec.encode(Query(id="long", prompt="", adapter="base")))
    prompt = "x" * (MAX_QUERY_BYTES - envelope - 8)
    request, _ = router.request(router.send(Query(id="long", prompt=prompt, adapter="base")))
    assert request.query.prompt == prompt


LARGE = MAX_QUERY_BYTES - 2000


@pytest.mark.parametrize(
    ("query", "named"),
    [
        (Query(id="x" * LARGE, prompt="Anything"), False),
        (Query(id="asked", prompt="Anything", fallback="\1" * LARGE), True),
        (Query(id="asked", prompt="Anything", language="\1" * LARGE), True),
        (Query(id="asked", prompt="Anything", adapter="x" * LARGE), True),
        (Query(id="asked", messages=(Turn("\1" * LARGE, "Anything"),)), True),
        (Query(id="asked", prompt="Anything", reply_to=ReplyTo("\1" * LARGE)), True),
        (json.dumps({"id": "x" * LARGE, "prompt": 7}).encode(), False),
        (json.dumps({"id": "asked", "prompt": "", "context": {"x" * LARGE: 7}}).encode(), True),
    ],
    ids=["id", "fallback", "language", "adapter", "role", "reply_to", "claimed id", "path"],
)
def test_a_query_as_large_as_it_may_be_is_answered_whatever_makes_it_so(
    router: RunningRouter, query: Query | bytes, named: bool
) -> None:
    response, message = router.response(router.send(query))
    assert response.error is not None
    assert response.error.category in ("invalid_request", "unknown_adapter")
    assert response.query_id == ("asked" if named else str(response.origin))
    assert message.key() == response.query_id.encode()


def test_an_unreadable_query_with_a_large_key_is_answered_and_kept(router: RunningRouter) -> None:
    place = router.send(b"unreadable", key=b"x" * LARGE)
    response, _ = router.response(place)
    assert response.query_id == str(response.origin)
    assert router.dead_letter(place) is not None


@pytest.mark.parametrize("name", ["traceparent", "tracestate", "lorelay.redriven.from"])
def test_a_header_as_large_as_a_query_holds_nobody_up(router: RunningRouter, name: str) -> None:
    place = router.send(Query(prompt="x", adapter="base"), headers=[(name, b"x" * LARGE)])
    _, message = router.request(place)
    assert name not in headers_of(message)


@pytest.mark.parametrize("name", ["x" * 40_000, "with spaces", "x" * 250])
def test_a_copy_to_a_topic_that_cannot_be_holds_nobody_up(router: RunningRouter, name: str) -> None:
    reply_to = ReplyTo(f"{router.topics.replies}.{name}", 0)
    for _ in range(8):
        response, _ = router.response(router.send(Query(prompt="Anything", reply_to=reply_to)))
        assert response.error is not None
        assert response.error.message.startswith("reply_to.topic is")


def test_a_prompt_of_ten_megabytes_is_refused_where_it_is_produced(
    router: RunningRouter,
) -> None:
    producer = Producer(
        {"bootstrap.servers": router.cluster.address, "message.max.bytes": 50_000_000}
    )
    errors: list[KafkaError | None] = []
    value = json.dumps({"prompt": "x" * 10_000_000}).encode()
    producer.produce(router.topics.queries, value, on_delivery=lambda e, _: errors.append(e))
    producer.flush(60)
    assert errors[0] is not None
    assert errors[0].code() == KafkaError.MSG_SIZE_TOO_LARGE

    usual = Producer({"bootstrap.servers": router.cluster.address})
    with pytest.raises(KafkaException, match="MSG_SIZE_TOO_LARGE"):
        usual.produce(router.topics.queries, value)


def test_a_copy_of_the_response_goes_where_the_query_asks(router: RunningRouter) -> None:
    reply_to = ReplyTo(router.topics.replies, 2)
    query = Query(id="copied", prompt="Anything", adapter="nobody-v1", reply_to=reply_to)
    place = router.send(query)
    response, _ = router.response(place)
    copy, message = router.response(place, router.topics.replies)
    assert copy == response
    assert message.partition() == 2


def test_a_copy_goes_nowhere_but_to_the_replies(router: RunningRouter) -> None:
    reply_to = ReplyTo(router.topics.adapters, 0)
    query = Query(prompt="Anything", adapter="base", reply_to=reply_to)
    response, _ = router.response(router.send(query))
    assert response.error is not None
    assert response.error.message.startswith("reply_to.topic is")
    keys = [message.key() for message in router.cluster.read(router.topics.adapters)]
    assert response.query_id.encode() not in keys


@pytest.mark.parametrize("where", ["a missing topic", "a missing partition"])
def test_a_copy_that_cannot_be_sent_holds_nobody_up(router: RunningRouter, where: str) -> None:
    missing_topic = ReplyTo(f"{router.topics.replies}.nobody-made-it", 0)
    missing_partition = ReplyTo(router.topics.replies, 99)
    reply_to = missing_topic if where == "a missing topic" else missing_partition
    query = Query(prompt="Anything", adapter="nobody-v1", reply_to=reply_to)
    for _ in range(8):
        response, _ = router.response(router.send(query))
        assert response.status == "error"


def test_a_trace_goes_on_and_cloud_events_say_what_a_record_is(router: RunningRouter) -> None:
    trace = b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    sent = [("traceparent", trace), ("theirs", b"1")]
    name = uuid.uuid4().hex
    place = router.send(Query(id=name, prompt="Anything", adapter="base"), headers=sent)
    _, message = router.request(place)
    headers = headers_of(message)
    assert headers["traceparent"] == trace
    assert headers["ce_id"] == name.encode()
    assert headers["ce_type"] == b"lorelay.InferenceRequest"
    assert "theirs" not in headers


def test_a_schema_of_another_version_is_looked_up_on_its_topic(router: RunningRouter) -> None:
    schema = {
        "type": "record",
        "name": "Query",
        "namespace": "lorelay",
        "fields": [
            {"name": "id", "type": ["null", "string"], "default": None},
            {"name": "prompt", "type": ["null", "string"], "default": None},
            {"name": "of_tomorrow", "type": "int", "default": 0},
        ],
    }
    fingerprint = router.codec.learn(json.dumps(schema))
    body = b"\x02\x0atoday" + b"\x02\x08Rent" + b"\x0e"
    router.cluster.produce(
        router.topics.schemas, [json.dumps(schema).encode()], key=fingerprint.encode()
    )
    request, _ = router.request(router.send(b"\xc3\x01" + bytes.fromhex(fingerprint) + body))
    assert (request.query.id, request.query.prompt) == ("today", "Rent")
