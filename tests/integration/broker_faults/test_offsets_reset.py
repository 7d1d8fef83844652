"""Committed offsets that the log has nothing at: retention was quicker, or the log is another."""

from tests.integration.broker_faults.system import System
from tests.integration.worker.conftest import eventually


def test_what_retention_took_is_told_and_what_is_left_is_answered(system: System) -> None:
    system.create()
    queries, group = system.topics.queries, f"{system.topics.prefix}router"
    asked = system.ask(12)
    system.cluster.commit(group, queries, 0, partition=0)
    system.cluster.delete_records(queries, before=2, partition=0)
    system.cluster.commit(group, queries, 103, partition=1)
    system.start()
    router, worker = system.members
    # In partition 0 two of three are gone; partition 1 is left alone.
    expected = asked[8::4] + asked[2::4] + asked[3::4]
    eventually(lambda: len(system.answered()) == len(expected) or None, "what is left")
    assert sorted(system.answered()) == sorted(expected)
    system.await_reason(router, f"{queries}/1: committed offset 103 is past the log's end 3")
    log = system.fleet.log("router").read_text()
    assert log.count("retention deleted 2 unfinished records below offset 2") == 1
    lost = f'lorelay_retention_lost_records_total{{topic="{queries}"}} 2.0'
    assert lost in system.fleet.page("router")
    assert system.fleet.waits_for(worker) == ""

    # An operator resets the group's offset, on purpose, while it has no members.
    assert system.end() == [0, 0]
    system.cluster.commit(group, queries, 0, partition=1)
    system.start()
    system.await_ready()
    eventually(lambda: len(system.answered()) == len(expected) + 3 or None, "the rest")
    assert sorted(system.answered()) == sorted(expected + asked[1::4])
    assert system.fleet.crashed() == []
