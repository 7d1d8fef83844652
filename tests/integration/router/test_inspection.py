"""What becomes of unreadable records on the topics that every process reads whole."""

import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from confluent_kafka import Message

from schemas.records import Query
from tests.integration.router.conftest import LEGAL, RunningRouter

_SECONDS = 60.0


@pytest.fixture
def router(kafka: str, tmp_path: Path) -> Iterator[RunningRouter]:
    """Not the one that others use, which is not restarted."""
    running = RunningRouter(kafka, tmp_path)
    try:
        running.start()
        yield running
    finally:
        running.stop()


def letters(router: RunningRouter, count: int) -> dict[str, Message]:
    """All dead letters by their origin, each written once; waits until there are so many."""
    deadline = time.monotonic() + _SECONDS
    while len(found := router.cluster.read(router.topics.dead_letters)) < count:
        assert time.monotonic() < deadline, f"{len(found)} of {count} dead letters came"
        time.sleep(0.1)
    by_key = {(message.key() or b"").decode(): message for message in found}
    assert len(by_key) == len(found) == count
    return by_key


def test_each_is_one_dead_letter_however_many_routers_read_it_and_start_again(
    router: RunningRouter,
) -> None:
    topics, produce = router.topics, router.cluster.produce
    unversioned = router.codec.encode(LEGAL).replace(b"\x0a1.0.0", b"\x0aone.0")
    broken = {
        topics.cancels: [b"no cancel", b"{}", b"\xc3\x01 of unknown schema"],
        topics.adapters: [b"\xc3\x01", unversioned],
        topics.examples: [b'{"adapter_id": 5}'],
        topics.workers: [b"\0\0\0\0\1 of no registry"],
        topics.schemas: [b"\xff", b'{"type": "string"}', b"[" * 100_000],
        topics.responses: [b"no response"],
    }
    expected: Counter[str] = Counter()
    for topic, values in broken.items():
        for value in values:
            (offset,) = produce(topic, [value], key=b"its key", headers=[("theirs", b"1")])
            expected[f"{topic}/0/{offset}"] += 1
    # A tombstone and what can be read are none.
    produce(topics.cancels, [None, b'{"query_id": "q"}'], key=b"q")
    found = letters(router, expected.total())
    assert Counter(found.keys()) == expected
    for key, letter in found.items():
        topic, _, _ = key.rsplit("/", 2)
        headers = dict(letter.headers() or [])
        assert (letter.value() or b"") in broken[topic]
        assert headers["theirs"] == b"1"
        assert headers["lorelay.original.key"] == b"its key"
        assert headers["lorelay.error.category"] == b"invalid_request"
        assert headers["lorelay.query.id"] == b""

    router.start_again("router", "router-2")
    (offset,) = produce(topics.cancels, [b"no cancel either"])
    expected[f"{topics.cancels}/0/{offset}"] += 1
    assert Counter(letters(router, expected.total()).keys()) == expected
    # None of it has stopped anything.
    request, _ = router.request(router.send(Query(prompt="?", adapter=LEGAL.key)))
    assert request.routing.adapter == LEGAL.key
