"""Committed offsets that the log has nothing at: retention was quicker, or the log is another."""

from tests.integration.broker_faults.system import System
from tests.integration.worker.conftest import eventually


def test_what_retention_took_is_told_and_what_is_left_is_answered(system: System) -> None:
    system.create()
    system.start()
    system.await_ready()
    answered = system.ask(4)
    eventually(lambda: len(system.answered()) == 4 or None, "the first answers")
    assert system.end() == [0, 0]

    queries = system.topics.queries
    asked = system.ask(12)
    system.cluster.delete_records(queries, before=3, partition=0)
    end = system.cluster.log_range(queries, partition=1)[1]
    system.cluster.commit(f"{system.topics.prefix}router", queries, end + 100, partition=1)
    system.start()
    router, worker = system.members
    # In partition 0 two of three are gone; in partition 1 nothing is skipped that is not known.
    expected = answered + asked[8::4] + asked[2::4] + asked[3::4]
    eventually(lambda: len(system.answered()) == len(expected) or None, "what is left")
    assert sorted(system.answered()) == sorted(expected)
    system.await_reason(router, f"{queries}/1: committed offset {end + 100} is past the log's end")
    log = system.fleet.log("router").read_text()
    assert log.count("retention deleted 2 unfinished records below offset 3") == 1
    lost = f'lorelay_retention_lost_records_total{{topic="{queries}"}} 2.0'
    assert lost in system.metrics("router")
    assert system.fleet.waits_for(worker) == ""

    # An operator resets the group's offset, on purpose, while it has no members.
    assert system.end() == [0, 0]
    system.cluster.commit(f"{system.topics.prefix}router", queries, end - 3, partition=1)
    system.start()
    system.await_ready()
    eventually(lambda: len(system.answered()) == len(expected) + 3 or None, "the rest")
    assert sorted(system.answered()) == sorted(expected + asked[1::4])
    assert system.fleet.crashed() == []
