"""Partitions whose leaders move while queries come in, the coordinators' own among them."""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from tests.chaos.promise import Outcome, Plan, Run, next_burst
from tests.chaos.traffic import Traffic
from tests.integration.broker_faults.conftest import ENGINE, assert_promise_kept
from tests.integration.broker_faults.three_brokers import ThreeBrokers, three_brokers

pytestmark = pytest.mark.timeout(600)

_SECONDS = 60.0
_COORDINATORS = ("__consumer_offsets", "__transaction_state")


@dataclass(slots=True)
class Moves:
    """Kills a node, starts it again and gives its leaders back; so for two of the three."""

    brokers: ThreeBrokers
    #: How many leaders of each coordinators' topic have moved, in all.
    moved: dict[str, int] = field(default_factory=lambda: dict.fromkeys(_COORDINATORS, 0))

    async def __call__(self, traffic: Traffic) -> None:
        for node in (2, 3):
            await next_burst(traffic)
            before = self._leaders()
            self.brokers.kill(node)
            async with asyncio.timeout(_SECONDS):
                await self._until_moved(node)
            self._count(before)
            await next_burst(traffic)
            # In this thread: a broker ends with the thread that has started it.
            self.brokers.restart(node)
            await next_burst(traffic)
            before = self._leaders()
            self.brokers.elect_preferred()
            self._count(before)
            await next_burst(traffic)

    async def _until_moved(self, node: int) -> None:
        while any({node, -1} & set(leaders) for leaders in self._leaders().values()):  # noqa: ASYNC110
            await asyncio.sleep(0.2)

    def _leaders(self) -> dict[str, list[int]]:
        return {topic: self.brokers.leaders(topic) for topic in _COORDINATORS}

    def _count(self, before: dict[str, list[int]]) -> None:
        for topic, leaders in self._leaders().items():
            self.moved[topic] += sum(a != b for a, b in zip(before[topic], leaders, strict=True))


@pytest.fixture(scope="module")
def brokers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ThreeBrokers]:
    with three_brokers(tmp_path_factory.mktemp("three")) as made:
        yield made


def test_every_query_has_one_response_wherever_the_leaders_are(
    brokers: ThreeBrokers,
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    capsys: pytest.CaptureFixture[str],
) -> None:
    moves = Moves(brokers)
    plan = Plan(600, seconds=30.0, burst=10, router={}, worker={}, in_transactions=False)
    with Run(brokers.address, tmp_path_factory.mktemp("moved"), ENGINE) as run:

        async def storm() -> Outcome:
            await run.prepare()
            return await run.through(plan, moves)

        outcome = asyncio.run(storm())
    with capsys.disabled():
        print(f"\nleaders moved: {outcome.summary}; {moves.moved}")
    assert all(count >= 4 for count in moves.moved.values()), moves.moved
    assert_promise_kept(outcome)
