"""Topics that are not there at the start, and topics that are deleted while all runs."""

from tests.integration.broker_faults.system import System
from tests.integration.worker.conftest import eventually


def test_a_missing_topic_is_waited_for_and_a_deleted_one_too(system: System) -> None:
    topics = system.topics
    system.create(topics.queries, topics.requests)
    system.start()
    router, worker = system.members
    system.await_reason(router, f"waiting for topics {topics.queries}, {topics.requests}")
    system.await_reason(worker, f"waiting for topics {topics.requests}")
    system.create()
    system.await_ready()
    first = system.ask(8)
    eventually(lambda: len(system.answered()) == 8 or None, "the first answers")

    # What a process reads is gone: it says so, and begins with the new topic's first record.
    system.cluster.delete(topics.queries)
    system.cluster.delete(topics.requests)
    system.await_reason(router, f"waiting for topics {topics.queries}")
    system.await_reason(worker, f"waiting for topics {topics.requests}")
    system.create()
    system.await_ready()
    second = system.ask(8)
    eventually(lambda: len(system.answered()) == 16 or None, "the second answers")
    assert sorted(system.answered()) == sorted(first + second)

    # What a process writes is gone: it keeps its answers, and writes them to the new topic.
    system.cluster.delete(topics.responses)
    third = system.ask(8)
    system.await_reason(worker, f"waiting for topics {topics.responses}")
    system.create()
    eventually(lambda: len(system.answered()) >= 8 or None, "the third answers")
    system.await_ready()
    assert sorted(system.answered()) == sorted(third)
    assert system.fleet.crashed() == []

    # Who is told to end ends, though there is nowhere to write to.
    system.cluster.delete(topics.responses)
    system.ask(8)
    assert system.end() == [0, 0]
