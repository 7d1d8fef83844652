"""Exactly one response to every query, though the broker itself is killed and comes back."""

import asyncio
from collections import Counter
from collections.abc import Iterator

import pytest

from tests.chaos.broker import killable_broker
from tests.chaos.promise import Outcome, Plan, Run
from tests.chaos.storm import Act
from tests.conftest import Scale

pytestmark = pytest.mark.timeout(900)

ENGINE = {"LORELAY_ENGINE": "echo", "LORELAY_SERVICE_MS": "100", "LORELAY_MAX_NUM_SEQS": "8"}


def plan(scale: Scale, is_soak: bool) -> Plan:
    kills = 8 if is_soak else 2
    return Plan(
        scale.echo_queries // 4,
        seconds=30 * kills,
        burst=20,
        router={},
        worker={Act.KILL: kills - 1},
        broker_kills=kills,
        # A client's own transaction need not survive its broker: that is librdkafka's promise.
        in_transactions=False,
    )


@pytest.fixture(scope="module")
def outcome(
    scale: Scale, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Outcome]:
    folder = tmp_path_factory.mktemp("broker-storm")
    with (
        killable_broker(folder / "broker") as broker,
        Run(broker.address, folder, ENGINE, broker) as run,
    ):

        async def storm() -> Outcome:
            await run.prepare()
            return await run.through(plan(scale, request.config.getoption("--soak")))

        yield asyncio.run(storm())


def test_every_query_record_has_exactly_one_response(
    outcome: Outcome, capsys: pytest.CaptureFixture[str]
) -> None:
    with capsys.disabled():
        print(f"\nbroker killed: {outcome.summary}")
    expected = Counter(dict.fromkeys(outcome.sent.places, 1))
    assert outcome.answers - expected == Counter(), "doubled"
    assert expected - outcome.answers == Counter(), "lost"
    assert outcome.names == Counter(outcome.sent.places.values())


def test_no_offset_and_no_metric_is_left_behind(outcome: Outcome) -> None:
    assert set(outcome.unfinished.values()) == {0}, outcome.unfinished
    assert outcome.counted_by_metrics == len(outcome.responses)


def test_nobody_ended_without_being_told(outcome: Outcome) -> None:
    assert outcome.crashed == []
