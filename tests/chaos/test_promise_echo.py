"""Exactly one response to every query, whatever is killed: echo engine, every kind of kill."""

import asyncio
from collections import Counter
from collections.abc import Iterator

import pytest

from tests.chaos.promise import Outcome, Plan, Run
from tests.chaos.storm import Act
from tests.conftest import Scale

pytestmark = pytest.mark.timeout(900)

#: Little more than the queries need, so that workers are nearly always at it when killed.
ENGINE = {
    "LORELAY_ENGINE": "echo",
    "LORELAY_SERVICE_MS": "100",
    "LORELAY_MAX_NUM_SEQS": "8",
}


def plan(scale: Scale, is_soak: bool) -> Plan:
    if is_soak:
        return Plan(
            scale.echo_queries,
            seconds=scale.echo_queries / 60,
            burst=60,
            router={Act.JOIN: 5, Act.KILL: 12, Act.TERM: 4, Act.STOP: 5},
            worker={Act.JOIN: 10, Act.KILL: 25, Act.TERM: 8, Act.STOP: 10},
        )
    return Plan(
        scale.echo_queries,
        seconds=50,
        burst=40,
        router={Act.JOIN: 1, Act.KILL: 3, Act.TERM: 1},
        worker={Act.JOIN: 2, Act.KILL: 4, Act.TERM: 1, Act.STOP: 1},
    )


@pytest.fixture(scope="module")
def outcome(
    kafka: str,
    scale: Scale,
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Outcome]:
    with Run(kafka, tmp_path_factory.mktemp("echo-logs"), ENGINE) as run:

        async def storm() -> Outcome:
            await run.prepare()
            return await run.through(plan(scale, request.config.getoption("--soak")))

        yield asyncio.run(storm())


def test_every_query_record_has_exactly_one_response(
    outcome: Outcome, capsys: pytest.CaptureFixture[str]
) -> None:
    with capsys.disabled():
        print(f"\necho: {outcome.summary}")
    expected = Counter(dict.fromkeys(outcome.sent.places, 1))
    assert outcome.answers - expected == Counter(), "doubled"
    assert expected - outcome.answers == Counter(), "lost"


def test_every_response_bears_the_id_of_its_query(outcome: Outcome) -> None:
    assert outcome.names == Counter(outcome.sent.places.values())
    for response in outcome.responses:
        origin = response["origin"]
        place = origin["partition"], origin["offset"]
        assert response["query_id"] == outcome.sent.places[place]


def test_aborted_queries_are_not_answered(outcome: Outcome) -> None:
    assert outcome.sent.aborted
    assert not outcome.sent.aborted & outcome.names.keys()


def test_queries_that_nobody_can_answer_have_an_error_for_a_response(outcome: Outcome) -> None:
    categories = Counter(
        response["error"]["category"] for response in outcome.responses if response["error"]
    )
    assert categories.keys() == {"invalid_request", "unknown_adapter"}
    assert categories["invalid_request"] == len(outcome.sent.unreadable)


def test_every_unreadable_query_is_one_dead_letter(outcome: Outcome) -> None:
    places = {name: place for place, name in outcome.sent.places.items()}
    topic = next(iter(outcome.responses))["origin"]["topic"]
    expected = [f"{topic}/{places[name][0]}/{places[name][1]}" for name in outcome.sent.unreadable]
    assert sorted(outcome.dead_letters) == sorted(expected)


def test_a_copy_that_was_asked_for_is_sent_exactly_once(outcome: Outcome) -> None:
    copies = Counter(response["query_id"] for response in outcome.copies)
    assert copies == Counter(dict.fromkeys(outcome.sent.with_copy, 1))


def test_no_offset_is_left_behind_by_markers_or_aborted_records(outcome: Outcome) -> None:
    assert set(outcome.unfinished.values()) == {0}, outcome.unfinished


def test_the_metrics_count_every_response_exactly_once(outcome: Outcome) -> None:
    assert outcome.counted_by_metrics == len(outcome.responses)


def test_whoever_was_told_to_stop_ended_cleanly(outcome: Outcome) -> None:
    assert outcome.unclean_exits == []


def test_nobody_left_a_process_behind(outcome: Outcome) -> None:
    assert outcome.left_behind == []


def test_nobody_ended_without_being_told(outcome: Outcome) -> None:
    assert outcome.crashed == []
