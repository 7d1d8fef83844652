"""A broker that comes after the processes, and goes before them."""

from pathlib import Path

from tests.chaos.broker import KillableBroker
from tests.integration.broker_faults.system import System
from tests.integration.worker.conftest import eventually


def test_processes_wait_for_a_broker_and_end_without_one(tmp_path: Path) -> None:
    broker = KillableBroker(tmp_path / "broker")
    system = System(broker.address, tmp_path)
    try:
        system.start()
        for member in system.members:
            system.await_reason(member, f"waiting for Kafka at {broker.address}")
        broker.start()
        for member in system.members:
            system.await_reason(member, "waiting for topics")
        system.create()
        system.await_ready()
        asked = system.ask(8)
        eventually(lambda: len(system.answered()) == 8 or None, "the answers")
        assert sorted(system.answered()) == sorted(asked)
        assert system.fleet.crashed() == []
        broker.stop()
        for member in system.members:
            system.await_reason(member, f"waiting for Kafka at {broker.address}")
        assert system.end() == [0, 0]
    finally:
        system.fleet.close()
        broker.stop()
