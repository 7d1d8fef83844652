"""Exactly one response to every query, though vLLM is killed in the middle of its work."""

import asyncio
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.chaos.fleet import ROOT
from tests.chaos.promise import Outcome, Plan, Run
from tests.chaos.storm import Act
from tests.conftest import Scale

pytestmark = pytest.mark.timeout(900)

#: Holds `base` and `adapters/ID`; `make models` trains them.
MODELS = Path(os.environ.get("CHAOS_MODELS", ROOT / ".lorelay" / "models" / "demo"))

ENGINE = {
    "LORELAY_ENGINE": "vllm",
    "LORELAY_MODEL": str(MODELS / "base"),
    "LORELAY_MAX_NUM_SEQS": "8",
}


def plan(scale: Scale, adapters: list[Path], is_soak: bool) -> Plan:
    names = tuple(folder.name for folder in adapters)
    if is_soak:
        return Plan(
            scale.vllm_queries,
            seconds=600,
            burst=20,
            router={Act.JOIN: 1, Act.KILL: 3},
            worker={Act.JOIN: 1, Act.KILL: 6, Act.TERM: 2, Act.STOP: 2, Act.ENGINE: 1},
            adapters=names,
        )
    return Plan(
        scale.vllm_queries,
        seconds=60,
        burst=15,
        router={Act.KILL: 1},
        worker={Act.KILL: 2, Act.ENGINE: 1},
        adapters=names,
    )


@pytest.fixture(scope="module")
def outcome(
    kafka: str,
    scale: Scale,
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Outcome]:
    if not (MODELS / "base").is_dir():
        pytest.skip(f"there are no models in {MODELS}: run `make models`")
    adapters = sorted((MODELS / "adapters").iterdir())
    with Run(kafka, tmp_path_factory.mktemp("vllm-logs"), ENGINE) as run:

        async def storm() -> Outcome:
            await run.prepare()
            run.register(adapters)
            return await run.through(plan(scale, adapters, request.config.getoption("--soak")))

        yield asyncio.run(storm())


def test_every_query_record_has_exactly_one_response(
    outcome: Outcome, capsys: pytest.CaptureFixture[str]
) -> None:
    with capsys.disabled():
        print(f"\nvLLM: {outcome.summary}")
    expected = Counter(dict.fromkeys(outcome.sent.places, 1))
    assert outcome.answers - expected == Counter(), "doubled"
    assert expected - outcome.answers == Counter(), "lost"
    assert outcome.names == Counter(outcome.sent.places.values())


def test_only_what_nobody_can_answer_has_an_error_for_a_response(outcome: Outcome) -> None:
    categories = {r["error"]["category"] for r in outcome.responses if r["error"]}
    assert categories <= {"invalid_request", "unknown_adapter"}


def test_every_adapter_has_answered(outcome: Outcome) -> None:
    served = {r["adapter"].partition("@")[0] for r in outcome.responses if r["adapter"]}
    assert served >= {folder.name for folder in (MODELS / "adapters").iterdir()}


def test_no_offset_and_no_metric_is_left_behind(outcome: Outcome) -> None:
    assert set(outcome.unfinished.values()) == {0}, outcome.unfinished
    assert outcome.counted_by_metrics == len(outcome.responses)


def test_a_killed_worker_takes_its_engine_with_it(outcome: Outcome) -> None:
    assert outcome.acts["worker"][Act.KILL] >= 2
    assert outcome.left_behind == []


def test_a_worker_outlives_its_engine(outcome: Outcome) -> None:
    assert outcome.acts["worker"][Act.ENGINE] >= 1
    # One kill convicts nobody: what ran in the engine was answered by the next one.
    assert not any("requests" in origin for origin in outcome.dead_letters)


def test_nobody_ended_without_being_told(outcome: Outcome) -> None:
    assert outcome.crashed == []
