"""Which workers are shown, and as what."""

from datetime import timedelta

from streams.gateway.dashboard.workers import workers
from tests.unit.streams.registry.factories import NOW, worker


def test_a_worker_shows_what_it_holds() -> None:
    state = worker(
        resident_adapters=("legal-qa-v1@1.0.0",), failed_adapters={"x@1": "gone"}, in_flight=3
    )
    (row,) = workers([state], NOW)
    assert (row["worker"], row["resident"], row["in_flight"]) == ("w-1", ["legal-qa-v1@1.0.0"], 3)
    assert (row["failed"], row["places"]) == ({"x@1": "gone"}, 4)


def test_one_that_stopped_is_soon_forgotten_one_that_fell_silent_is_missed() -> None:
    states = [worker(worker_id="w-2", status="stopping"), worker(worker_id="w-1")]
    assert [row["worker"] for row in workers(states, NOW)] == ["w-1", "w-2"]
    assert [row["worker"] for row in workers(states, NOW + timedelta(minutes=5))] == ["w-1"]
    assert workers(states, NOW + timedelta(hours=2)) == []


def test_one_without_a_heartbeat_is_none() -> None:
    assert workers([worker(heartbeat_at=None)], NOW) == []
