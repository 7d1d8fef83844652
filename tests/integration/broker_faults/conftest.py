"""What the faults have in common: a run of queries, and how it is judged."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.chaos.promise import Outcome
from tests.integration.broker_faults.system import System

ENGINE = {
    "LORELAY_ENGINE": "echo",
    "LORELAY_SERVICE_MS": "100",
    "LORELAY_MAX_NUM_SEQS": "8",
    # Every fault lasts longer than a request may take, a member may be silent (6 s), and a
    # transaction may be open (10 s).
    "LORELAY_REQUEST_TIMEOUT_MS": "5000",
}


def assert_promise_kept(outcome: Outcome) -> None:
    """One response to each query record, every offset committed, nobody ended by itself."""
    expected = Counter(dict.fromkeys(outcome.sent.places, 1))
    assert outcome.answers - expected == Counter(), [
        (r["origin"], r["created_at"], r["attempt"], r["routing"])
        for r in outcome.responses
        if outcome.answers[r["origin"]["partition"], r["origin"]["offset"]] > 1
    ]
    assert expected - outcome.answers == Counter(), "lost"
    assert outcome.names == Counter(outcome.sent.places.values())
    assert set(outcome.unfinished.values()) == {0}, outcome.unfinished
    assert outcome.counted_by_metrics == len(outcome.responses)
    assert outcome.crashed == []


@pytest.fixture
def system(kafka: str, tmp_path: Path) -> Iterator[System]:
    made = System(kafka, tmp_path)
    try:
        yield made
    finally:
        made.stop()
