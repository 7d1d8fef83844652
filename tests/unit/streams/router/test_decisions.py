"""From a query to its request."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from time import perf_counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.errors import DeadlineExceeded, UnknownAdapter
from schemas.records import (
    AdapterVersion,
    BaseModel,
    Candidate,
    Message,
    Origin,
    Query,
    Routing,
    Traffic,
    TrafficShare,
)
from streams.registry.reader import Registry
from streams.router.decisions import (
    check_deadline,
    claimed_id,
    completed,
    explicit_routing,
    needs_selection,
    request,
    selected_routing,
    selection_text,
    session_of,
    split_routing,
)
from streams.selection.decision import Decision

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
ORIGIN = Origin("lorelay.queries", 3, 41)
LEGAL = AdapterVersion(
    adapter_id="legal-qa-v1",
    adapter_version="1.0.0",
    family="legal-qa",
    domain="legal",
    task_type="qa",
    base_model=BaseModel("demo"),
    status="active",
)


def registry(*versions: AdapterVersion) -> Registry:
    made = Registry()
    for offset, version in enumerate(versions):
        made.apply_version(version.key, version, offset)
    return made


def test_a_query_without_an_id_is_known_by_its_place() -> None:
    assert completed(Query(prompt="x"), ORIGIN, NOW).id == "lorelay.queries-3-41"
    assert completed(Query(id="mine", prompt="x"), ORIGIN, NOW).id == "mine"


def test_a_query_without_a_time_was_created_when_its_record_was() -> None:
    assert completed(Query(prompt="x"), ORIGIN, NOW).created_at == NOW
    earlier = NOW - timedelta(seconds=3)
    assert completed(Query(prompt="x", created_at=earlier), ORIGIN, NOW).created_at == earlier


@given(st.floats(min_value=0.001, max_value=1e9))
def test_a_timeout_becomes_a_deadline_from_the_creation_on(timeout_ms: float) -> None:
    created = NOW - timedelta(hours=1)
    query = completed(Query(prompt="x", timeout_ms=timeout_ms, created_at=created), ORIGIN, NOW)
    assert query.deadline == created + timedelta(milliseconds=timeout_ms)


def test_a_timeout_beyond_the_calendar_is_no_deadline() -> None:
    for created_at in (NOW, datetime.max.replace(tzinfo=UTC)):
        query = Query(prompt="x", timeout_ms=1e300, created_at=created_at)
        assert completed(query, ORIGIN, NOW).deadline is None


def test_a_deadline_wins_over_a_timeout() -> None:
    query = Query(prompt="x", deadline=NOW, timeout_ms=60_000.0)
    assert completed(query, ORIGIN, NOW).deadline == NOW


def test_completing_a_query_twice_changes_nothing() -> None:
    once = completed(Query(prompt="x", timeout_ms=5.0), ORIGIN, NOW)
    assert completed(once, Origin("other", 0, 0), NOW + timedelta(days=1)) == once


def test_a_deadline_is_over_when_it_is_reached() -> None:
    query = Query(prompt="x", deadline=NOW)
    check_deadline(query, NOW - timedelta(milliseconds=1))
    check_deadline(Query(prompt="x"), NOW)
    with pytest.raises(DeadlineExceeded, match="passed 250 ms before it was routed"):
        check_deadline(query, NOW + timedelta(milliseconds=250))
    with pytest.raises(DeadlineExceeded):
        check_deadline(query, NOW)


@given(st.text(min_size=1))
def test_an_id_is_found_in_json_that_is_no_query(name: str) -> None:
    payload = json.dumps({"id": name, "prompt": 7}, ensure_ascii=False)
    try:
        encoded = payload.encode()
    except UnicodeEncodeError:
        return
    assert claimed_id(encoded) == name
    assert claimed_id(b"\xef\xbb\xbf" + encoded) == name


@pytest.mark.parametrize(
    "payload", [b"", b"{", b"[1]", b'"id"', b'{"id": 7}', b'{"id": ""}', b"{}", b"\xff", b"null"]
)
def test_no_id_is_made_up(payload: bytes) -> None:
    assert claimed_id(payload) is None


def test_an_id_that_no_response_can_go_by_is_none() -> None:
    for name in ("x" * 1025, "ü" * 513):
        assert claimed_id(json.dumps({"id": name, "prompt": 7}).encode()) is None
    assert claimed_id(json.dumps({"id": "x" * 1024, "prompt": 7}).encode()) == "x" * 1024


@given(st.binary(max_size=200))
def test_any_bytes_may_be_asked_for_an_id(payload: bytes) -> None:
    assert claimed_id(payload) is None or payload


def test_selection_looks_at_the_prompt_or_at_what_the_user_said_last() -> None:
    turns = (Message("system", "s"), Message("user", "first"), Message("user", "second"))
    assert selection_text(Query(prompt="asked")) == "asked"
    assert selection_text(Query(messages=(*turns, Message("assistant", "a")))) == "second"
    assert selection_text(Query(messages=(Message("tool", "t"),))) == "t"
    assert selection_text(Query()) == ""


@pytest.mark.parametrize(
    ("reference", "variant"),
    [("legal-qa-v1@1.0.0", None), ("legal-qa-v1", "v1"), ("legal-qa", "v1")],
)
def test_a_named_adapter_needs_no_selection(reference: str, variant: str | None) -> None:
    query = Query(prompt="x", adapter=reference)
    assert not needs_selection(query)
    routing = explicit_routing(query, registry(LEGAL))
    reason = f"the query names {reference}"
    assert routing == Routing(adapter=LEGAL.key, variant=variant, reason=reason)


def test_the_base_model_is_asked_for_by_name() -> None:
    query = Query(prompt="x", adapter="base")
    assert not needs_selection(query)
    assert explicit_routing(query, registry(LEGAL)).adapter is None


def test_a_name_without_a_version_means_the_newest_active_one() -> None:
    newer = replace(LEGAL, adapter_version="1.10.0")
    retired = replace(LEGAL, adapter_version="2.0.0", status="retired")
    known = registry(newer, LEGAL, retired)
    assert explicit_routing(Query(adapter="legal-qa-v1"), known).adapter == newer.key


def test_an_unknown_adapter_names_the_near_ones() -> None:
    with pytest.raises(UnknownAdapter, match="legal-qa-v1") as caught:
        explicit_routing(Query(adapter="legal-qa-v2"), registry(LEGAL))
    assert "legal-qa-v1" in caught.value.near


def test_a_decision_is_kept_in_full() -> None:
    candidates = (Candidate("a@1.0.0", 0.8), Candidate("b@1.0.0", 0.6))
    decision = Decision("a@1.0.0", 0.8, 0.2, 0.9, 0.5, "near", "de", candidates)
    assert selected_routing(decision) == Routing(
        adapter="a@1.0.0",
        score=0.8,
        margin=0.2,
        probability=0.9,
        threshold=0.5,
        reason="near",
        language="de",
        candidates=candidates,
    )


def test_a_request_says_when_and_in_what_time_it_was_routed() -> None:
    query = Query(id="q", prompt="x")
    made = request(query, ORIGIN, Routing(adapter="a@1.0.0"), 7, NOW, perf_counter() - 0.5)
    assert (made.query, made.origin, made.attempt, made.registry_revision) == (query, ORIGIN, 1, 7)
    assert made.routing.routed_at == NOW
    assert made.routing.routing_ms is not None and made.routing.routing_ms >= 500


NEXT = replace(LEGAL, adapter_id="legal-qa-v2", adapter_version="2.0.0")


def halved() -> Registry:
    """legal-qa, split in halves over two majors."""
    made = registry(LEGAL, NEXT)
    shares = (TrafficShare(LEGAL.key, 1.0, "v1"), TrafficShare(NEXT.key, 1.0, "v2"))
    made.apply_traffic("legal-qa", Traffic("legal-qa", 1, shares))
    return made


def test_a_session_is_what_a_query_keeps_its_place_by_or_else_its_id() -> None:
    assert session_of(Query(id="q", session="s", prompt="x")) == "s"
    assert session_of(Query(id="q", prompt="x")) == "q"


def test_queries_of_a_session_that_name_the_family_have_one_variant() -> None:
    made = halved()
    for session in map(str, range(50)):
        routings = [
            explicit_routing(
                Query(id=f"q{n}", session=session, prompt="x", adapter="legal-qa"), made
            )
            for n in range(5)
        ]
        assert len({(routing.adapter, routing.variant) for routing in routings}) == 1
    queries = (Query(id=str(n), prompt="x", adapter="legal-qa") for n in range(50))
    assert {explicit_routing(query, made).variant for query in queries} == {"v1", "v2"}


def test_an_exact_version_has_no_variant() -> None:
    routing = explicit_routing(Query(id="q", prompt="x", adapter=NEXT.key), halved())
    assert (routing.adapter, routing.variant) == (NEXT.key, None)


def test_selection_chooses_a_family_and_the_split_its_version() -> None:
    decided = Routing(adapter=NEXT.key, score=0.8, reason="0.80 is near enough")
    routings = [split_routing(decided, halved(), str(n)) for n in range(50)]
    assert {(r.adapter, r.variant) for r in routings} == {(LEGAL.key, "v1"), (NEXT.key, "v2")}
    assert {r.score for r in routings} == {0.8}
    other = next(r for r in routings if r.adapter == LEGAL.key)
    assert other.reason == f"0.80 is near enough; of its family, {LEGAL.key} answers this session"


def test_what_selection_rejects_is_not_split() -> None:
    none = Routing(reason="0.10 is not near enough")
    assert split_routing(none, halved(), "s") == none


def test_where_nobody_of_the_chosen_family_is_in_use_any_more_the_base_model_answers() -> None:
    decided = Routing(adapter=LEGAL.key, score=0.8, reason="0.80 is near enough")
    for left in (registry(replace(LEGAL, status="retired")), registry()):
        routing = split_routing(decided, left, "s")
        assert routing.adapter is None
        assert routing.reason.startswith("0.80 is near enough; nobody of its family is in use")


class TestOutOfUse:
    RETIRED = replace(LEGAL, adapter_version="1.1.0", status="retired")

    def routing(self, fallback: str | None, *versions: AdapterVersion) -> Routing:
        query = Query(id="q", prompt="x", adapter=self.RETIRED.key, fallback=fallback)
        return explicit_routing(query, registry(*versions, self.RETIRED))

    def test_a_retired_version_is_an_error_that_says_so(self) -> None:
        for fallback in (None, "none"):
            with pytest.raises(UnknownAdapter, match=r"legal-qa-v1@1\.1\.0 is retired"):
                self.routing(fallback, LEGAL)

    def test_the_version_before_answers_where_the_query_wants_it(self) -> None:
        routing = self.routing("previous", LEGAL)
        assert routing.adapter == LEGAL.key
        assert "which is retired: legal-qa-v1@1.0.0, its version before" in routing.reason

    def test_none_before_is_an_error_all_the_same(self) -> None:
        with pytest.raises(UnknownAdapter, match="is retired"):
            self.routing("previous")

    def test_the_base_model_answers_where_the_query_wants_it(self) -> None:
        routing = self.routing("base")
        assert routing.adapter is None
        assert routing.reason.endswith("which is retired: the base model answers instead")

    def test_a_name_that_nobody_has_has_no_fallback(self) -> None:
        query = Query(id="q", prompt="x", adapter="legal-qa-v9", fallback="base")
        with pytest.raises(UnknownAdapter, match="There is no adapter"):
            explicit_routing(query, registry(LEGAL))
