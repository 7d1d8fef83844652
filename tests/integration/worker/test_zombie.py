"""A worker that stands still for longer than its session, and then goes on."""

import asyncio
import signal

from schemas.records import Query
from tests.integration.worker.conftest import RunningWorker, Starter, eventually

_REQUESTS = 8


def test_a_worker_that_wakes_up_after_its_session_writes_nothing_and_joins_again(
    start_worker: Starter,
) -> None:
    worker = start_worker(LORELAY_SERVICE_MS="1500", LORELAY_MAX_NUM_SEQS=str(_REQUESTS))
    (zombie,) = worker.fleet.of_role("worker")
    zombie_name = worker.state(lambda state: state.status == "ready").worker_id
    origins = [worker.request(Query(prompt=f"number {n}")) for n in range(_REQUESTS)]
    worker.state(lambda state: state.in_flight == _REQUESTS)
    worker.fleet.send(zombie, signal.SIGSTOP)
    worker.start("worker-2")
    for origin in origins:
        assert worker.response(origin).status == "ok"
    written = _written(worker)

    worker.fleet.send(zombie, signal.SIGCONT)
    worker.state(lambda state: state.worker_id == zombie_name)
    asyncio.run(worker.fleet.until_ready(zombie))
    # What it had in work when it was stopped has long been answered; it knows by now.
    assert worker.state(lambda s: s.worker_id == zombie_name and not s.in_flight)
    assert _written(worker) == written
    assert zombie_name not in {writer for _, writer in written}

    later = [worker.request(Query(prompt=f"number {n}")) for n in range(_REQUESTS)]
    eventually(lambda: len(worker.responses()) >= 2 * _REQUESTS or None, "all responses")
    assert sorted(r.origin.offset for r in worker.responses()) == [
        origin.offset for origin in (*origins, *later)
    ]


def _written(worker: RunningWorker) -> list[tuple[tuple[int, int], str]]:
    """Each response's place and who has written it, those of aborted transactions included."""
    records = worker.cluster.read(worker.topics.responses, isolation="read_uncommitted")
    return [
        (
            (record.partition() or 0, record.offset() or 0),
            (dict(record.headers() or [])["ce_source"] or b"").decode(),
        )
        for record in records
    ]
