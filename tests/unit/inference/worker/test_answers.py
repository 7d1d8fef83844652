"""From a request to the engine's terms, and back."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inference.engine.protocol import Completion, LoadedAdapter
from inference.worker.answers import answer, check_deadline, generation, timing
from schemas.errors import DeadlineExceeded
from schemas.records import InferenceRequest, Message, Origin, Query, Routing, Sampling, Usage

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
ORIGIN = Origin("lorelay.queries", 2, 17)
COMPLETION = Completion("Yes.", "stop", Usage(3, 2), 1.5, 10.0, 30.0)
ADAPTER = LoadedAdapter("legal-qa-v1@1.0.0", "/adapters/legal", 8)


def asked(query: Query, routing: Routing | None = None, attempt: int = 1) -> InferenceRequest:
    return InferenceRequest(query, routing or Routing(), ORIGIN, attempt, registry_revision=9)


def test_the_engine_is_asked_what_the_query_asks() -> None:
    turns = (Message("user", "x"),)
    sampling = Sampling(max_tokens=5, stop=("\n",))
    query = Query(messages=turns, sampling=sampling, priority=8, stream=True)
    made = generation(asked(query), ADAPTER)
    assert (made.prompt, made.messages, made.sampling) == (None, turns, sampling)
    assert (made.priority, made.stream, made.adapter) == (8, True, ADAPTER)


@given(st.integers(1, 9), st.integers(1, 9), st.integers(0, 9), st.integers(0, 9))
def test_every_attempt_at_every_record_has_an_id_of_its_own(
    first: int, second: int, offset: int, other: int
) -> None:
    query = Query(id="the same for all", prompt="x")
    ids = {
        generation(InferenceRequest(query, Routing(), Origin("q", 0, o), a), None).request_id
        for o, a in {(offset, first), (offset, second), (other, first)}
    }
    assert len(ids) == len({(offset, first), (offset, second), (other, first)})


def test_a_deadline_is_over_when_it_is_reached() -> None:
    check_deadline(asked(Query(prompt="x")), NOW)
    check_deadline(asked(Query(prompt="x", deadline=NOW + timedelta(seconds=1))), NOW)
    with pytest.raises(DeadlineExceeded, match="passed 1500 ms before the engine was free"):
        check_deadline(asked(Query(prompt="x", deadline=NOW - timedelta(seconds=1.5))), NOW)
    with pytest.raises(DeadlineExceeded):
        check_deadline(asked(Query(prompt="x", deadline=NOW)), NOW)


def test_the_times_of_all_stages_are_told_apart() -> None:
    routing = Routing(routed_at=NOW - timedelta(milliseconds=60), routing_ms=10.0)
    query = Query(prompt="x", created_at=NOW - timedelta(milliseconds=100))
    found = timing(asked(query, routing), COMPLETION, NOW)
    assert found.queue_ms == pytest.approx(30)
    assert found.routing_ms == 10.0
    assert (found.engine_queue_ms, found.first_token_ms, found.inference_ms) == (1.5, 10.0, 30.0)
    assert found.total_ms == pytest.approx(100)


def test_what_waited_for_its_adapter_says_so() -> None:
    request = asked(Query(prompt="x"))
    assert answer(request, COMPLETION, ADAPTER.key, "demo", NOW).timing.load_ms is None
    assert answer(request, COMPLETION, ADAPTER.key, "demo", NOW, 250.0).timing.load_ms == 250.0


def test_a_stage_that_was_never_reached_has_no_time() -> None:
    found = timing(asked(Query(prompt="x")), None, NOW)
    assert (found.queue_ms, found.routing_ms, found.total_ms) == (None, None, None)
    assert (found.engine_queue_ms, found.first_token_ms, found.inference_ms) == (None, None, None)


@given(st.floats(-1e6, 1e6), st.floats(0, 1e6))
def test_a_client_whose_clock_is_ahead_did_not_wait_less_than_nothing(
    ahead_ms: float, routing_ms: float
) -> None:
    created = NOW + timedelta(milliseconds=ahead_ms)
    routing = Routing(routed_at=NOW, routing_ms=routing_ms)
    found = timing(asked(Query(prompt="x", created_at=created), routing), COMPLETION, NOW)
    assert found.queue_ms is not None and found.queue_ms >= 0
    assert found.total_ms is not None and found.total_ms >= 0


def test_an_answer_says_who_gave_it_to_what() -> None:
    routing = Routing(adapter=ADAPTER.key, reason="near")
    request = asked(Query(id="mine", prompt="x"), routing, attempt=2)
    response = answer(request, COMPLETION, ADAPTER.key, "demo@1", NOW)
    assert (response.query_id, response.status, response.text) == ("mine", "ok", "Yes.")
    assert (response.adapter, response.base_model) == (ADAPTER.key, "demo@1")
    assert (response.routing, response.origin, response.attempt) == (routing, ORIGIN, 2)
    assert (response.usage, response.finish_reason) == (Usage(3, 2), "stop")
    assert (response.registry_revision, response.created_at) == (9, NOW)
    assert response.error is None


def test_a_fallback_to_the_base_model_shows_beside_the_adapter_that_was_chosen() -> None:
    request = asked(Query(prompt="x"), Routing(adapter=ADAPTER.key))
    response = answer(request, COMPLETION, None, "demo@1", NOW)
    assert response.adapter is None
    assert response.routing is not None and response.routing.adapter == ADAPTER.key


def test_a_query_without_an_id_is_answered_by_its_place() -> None:
    response = answer(asked(Query(prompt="x")), COMPLETION, None, "demo@1", NOW)
    assert response.query_id == "lorelay.queries-2-17"
