"""What is counted of selections."""

import pytest

from streams.router.observation import Observation
from streams.selection.drift import MIN_QUERIES, DriftWatch
from tests.unit.streams.router.selecting import LAW, MEDICINE, Deciding

COUNTED = "lorelay_router_nearest_queries_total"
SCORES = "lorelay_router_nearest_score"
DRIFT = "lorelay_router_drift_psi"


class Clock:
    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def deciding() -> Deciding:
    return Deciding()


@pytest.fixture
def observation(deciding: Deciding, clock: Clock) -> Observation:
    return Observation(
        deciding.knowledge, deciding.metrics.selection, DriftWatch(60.0), clock=clock
    )


async def test_rejects_count_for_the_adapter_that_was_nearest(
    deciding: Deciding, observation: Observation
) -> None:
    await deciding.know("law", "medicine")
    selections = deciding.decided(["law new", "medicine new", "medicine newer", "cooking 1"])
    assert [s.routing.adapter for s in selections] == [LAW, MEDICINE, MEDICINE, None]
    observation.observe(selections)
    assert deciding.value(COUNTED, adapter=LAW, language="en", choice="selected") == 1
    assert deciding.value(COUNTED, adapter=MEDICINE, language="en", choice="selected") == 2
    nearest = selections[3].routing.candidates[0].adapter
    assert deciding.value(COUNTED, adapter=nearest, language="en", choice="below_threshold") == 1
    scored = [deciding.value(f"{SCORES}_sum", adapter=a, language="en") for a in (LAW, MEDICINE)]
    assert sum(scored) == pytest.approx(sum(s.routing.score or 0 for s in selections))


async def test_languages_without_examples_are_not_told_apart(
    deciding: Deciding, observation: Observation
) -> None:
    await deciding.know("law")
    for language in ("sw", "yo", "qu"):
        observation.observe(deciding.decided(["law new"], language))
    counted = sum(
        deciding.value(COUNTED, adapter=LAW, language="other", choice=choice)
        for choice in ("selected", "below_threshold")
    )
    assert counted == 3


async def test_without_adapters_there_is_nothing_to_count(
    deciding: Deciding, observation: Observation
) -> None:
    observation.observe(deciding.decided(["law 1"]))
    assert deciding.value(COUNTED, adapter="base", language="en", choice="uncompared") == 0


async def test_an_adapter_that_nobody_can_calibrate_is_counted_all_the_same(
    deciding: Deciding, observation: Observation
) -> None:
    await deciding.know("law", count=1)
    observation.observe(deciding.decided(["law 0"]))
    assert deciding.value(COUNTED, adapter=LAW, language="other", choice="below_threshold") == 1


async def test_drift_is_shown_as_soon_as_there_are_queries_enough_and_as_long(
    deciding: Deciding, observation: Observation, clock: Clock
) -> None:
    await deciding.know("law", "medicine", count=300)
    observation.observe(deciding.decided([f"law new {n}" for n in range(400)]))
    memorised = deciding.decided([f"medicine {n}" for n in range(MIN_QUERIES + 50)])
    observation.observe(memorised)
    like_before = deciding.value(DRIFT, adapter=LAW, language="en")
    assert 0 < like_before < deciding.value(f"{DRIFT}_by_chance", adapter=LAW, language="en")
    assert deciding.value(DRIFT, adapter=MEDICINE, language="en") > 0.25
    assert deciding.value(DRIFT, adapter=MEDICINE, language="all") > 0.25
    clock.seconds = 300.0
    assert deciding.value(DRIFT, adapter=LAW, language="en") == 0


async def test_what_is_off_every_topic_is_no_drift(
    deciding: Deciding, observation: Observation
) -> None:
    await deciding.know("law", count=300)
    observation.observe(deciding.decided([f"law new {n}" for n in range(400)]))
    before = deciding.value(DRIFT, adapter=LAW, language="en")
    off_topic = deciding.decided([f"cooking {n}" for n in range(4000)])
    rejected = [s for s in off_topic if s.routing.adapter is None]
    assert len(rejected) > 3000
    observation.observe(rejected)
    assert deciding.value(DRIFT, adapter=LAW, language="en") == before
