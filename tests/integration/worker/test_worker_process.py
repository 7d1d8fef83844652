"""What a running worker makes of requests that don't just get their answer."""

import signal
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from inference.worker.retries import MOST_DEATHS
from schemas.records import Query, Sampling
from tests.integration.worker.conftest import RunningWorker, Starter, eventually
from tests.unit.streams.registry.factories import write_weights

SLOW = {"LORELAY_SERVICE_MS": "600000", "LORELAY_MAX_NUM_SEQS": "1", "LORELAY_MAX_RUNNING": "1"}


def kill(worker: RunningWorker) -> None:
    (member,) = worker.fleet.of_role("worker")
    worker.fleet.send(member, signal.SIGKILL)
    assert member.process is not None
    member.process.wait(60)


def soon(seconds: float = 1.0) -> datetime:
    return datetime.now(UTC) + timedelta(seconds=seconds)


def test_a_deadline_ends_a_running_request_and_frees_its_place(start_worker: Starter) -> None:
    worker = start_worker(**SLOW)
    first = worker.request(Query(prompt="long", deadline=soon()))
    second = worker.request(Query(prompt="long", deadline=soon(2)))
    for origin in (first, second):
        response = worker.response(origin)
        assert response.error is not None
        assert (response.status, response.error.category) == ("error", "deadline_exceeded")
    assert worker.dead_letters() == []


def test_a_deadline_ends_a_request_that_waits_behind_others(start_worker: Starter) -> None:
    worker = start_worker(**SLOW)
    blocking = worker.request(Query(id="blocking", prompt="long"))
    waiting = worker.request(Query(prompt="short", deadline=soon()))
    response = worker.response(waiting)
    assert response.error is not None and response.error.category == "deadline_exceeded"
    assert blocking not in [found.origin for found in worker.responses()]


def test_a_cancel_ends_what_runs_what_waits_and_what_comes_later(start_worker: Starter) -> None:
    worker = start_worker(**SLOW)
    running = worker.request(Query(id="runs", prompt="long"))
    waiting = worker.request(Query(id="waits", prompt="long"))
    worker.cancel("waits")
    ended = worker.response(waiting)
    assert ended.error is not None
    assert (ended.error.category, ended.error.retryable) == ("cancelled", False)
    assert "the test says so" in ended.error.message
    worker.cancel("runs")
    worker.response(running)
    worker.cancel("later")
    # Both are on topics of their own: the cancel is read first, or ends the running request.
    later = worker.response(worker.request(Query(id="later", prompt="long")))
    assert later.error is not None and later.error.category == "cancelled"


def test_a_higher_priority_goes_first(start_worker: Starter) -> None:
    def ask(worker: RunningWorker) -> None:
        for priority in (1, 5, 9):
            worker.request(Query(id=str(priority), prompt="x", priority=priority))

    worker = start_worker(
        ask, LORELAY_SERVICE_MS="500", LORELAY_MAX_NUM_SEQS="1", LORELAY_MAX_RUNNING="1"
    )
    eventually(lambda: len(worker.responses()) == 3 or None, "all responses")
    ended = sorted((found.created_at, found.query_id) for found in worker.responses())
    # The first one has begun before the others are read.
    assert [query_id for _, query_id in ended] == ["1", "9", "5"]


def test_a_broken_adapter_falls_back_as_the_query_says(
    start_worker: Starter, tmp_path: Path
) -> None:
    worker = start_worker()
    sound, broken = tmp_path / "sound", tmp_path / "broken"
    write_weights(sound)
    write_weights(broken)
    old = worker.register("1.0.0", sound)
    new = worker.register("1.1.0", broken)
    (broken / "adapter_model.safetensors").write_bytes(b"no weights at all")
    query = Query(prompt="What now?")
    previous = worker.request(replace(query, fallback="previous"), adapter=new.key)
    base = worker.request(replace(query, fallback="base"), adapter=new.key)
    none = worker.request(replace(query, fallback="none"), adapter=new.key)
    unsaid = worker.request(query, adapter=new.key)
    assert worker.response(previous).adapter == old.key
    assert worker.response(previous).status == "ok"
    assert worker.response(base).adapter is None
    assert worker.response(base).status == "ok"
    for origin in (none, unsaid):
        error = worker.response(origin).error
        assert error is not None and error.category == "adapter_unavailable"
    assert len(worker.dead_letters()) == 2
    failed = worker.state(lambda state: bool(state.failed_adapters)).failed_adapters
    assert failed.keys() == {new.key}


def test_the_first_answers_of_a_new_version_count_under_its_name(
    start_worker: Starter, tmp_path: Path
) -> None:
    worker = start_worker()
    write_weights(tmp_path)
    for number in ("1.0.0", "1.1.0", "1.2.0"):
        adapter = worker.register(number, tmp_path)
        assert worker.response(worker.request(Query(prompt="x"), adapter=adapter.key)).text
        labels = {"adapter": adapter.key, "status": "ok", "category": ""}
        eventually(
            lambda labels=labels: (  # type: ignore[misc]
                worker.fleet.metric("worker", "lorelay_responses_total", **labels)
            ),
            f"the count of {adapter.key}",
        )


def test_the_request_that_kills_the_engine_is_found_and_the_others_are_answered(
    start_worker: Starter,
) -> None:
    worker = start_worker(
        LORELAY_CRASH_ON="poison", LORELAY_SERVICE_MS="300", LORELAY_MAX_NUM_SEQS="8"
    )
    before = [worker.request(Query(prompt=f"innocent {n}")) for n in range(4)]
    culprit = worker.request(Query(id="culprit", prompt="poison"))
    after = [worker.request(Query(prompt=f"innocent {n}")) for n in range(4, 8)]
    ended = worker.response(culprit)
    assert ended.error is not None
    assert (ended.error.code, ended.attempt) == ("engine_crashed", 2)
    for origin in (*before, *after):
        assert worker.response(origin).status == "ok"
    (letter,) = worker.dead_letters()
    assert b"engine" in dict(letter.headers() or [])["__connect.errors.exception.message"]
    assert len(worker.responses()) == 9
    assert worker.fleet.crashed() == []


def test_one_whose_adapter_went_with_the_engine_before_its_turn_loses_no_attempt_by_it(
    start_worker: Starter, tmp_path: Path
) -> None:
    worker = start_worker(
        LORELAY_LOAD_MS="500",
        LORELAY_STALL_SECONDS="2",
        **SLOW,
    )
    write_weights(tmp_path / "adapter")
    adapter = worker.register("1.0.0", tmp_path / "adapter")
    # It has the only place back when its adapter is loaded: that is when the engine ends.
    cold = worker.request(Query(prompt="cold"), adapter=adapter.key)
    worker.request(Query(prompt="long"))
    retries = eventually(
        lambda: [r for r in worker.requests() if r.origin == cold and r.attempt > 1] or None,
        "a retry",
    )
    # That is the engine that it ran in, which makes no token either.
    assert [(retry.attempt, retry.crashes) for retry in retries] == [(2, 1)]


def test_an_adapter_that_the_engine_never_loads_is_found_and_the_others_are_answered(
    start_worker: Starter, tmp_path: Path
) -> None:
    worker = start_worker(LORELAY_LOAD_MS="600000", LORELAY_STALL_SECONDS="1")
    write_weights(tmp_path / "adapter")
    adapter = worker.register("1.0.0", tmp_path / "adapter")
    stuck = worker.request(Query(prompt="stuck"), adapter=adapter.key)
    ended = worker.response(stuck)
    assert ended.error is not None
    assert (ended.error.code, ended.attempt) == ("engine_crashed", 2)
    assert worker.response(worker.request(Query(prompt="innocent"))).status == "ok"
    assert worker.fleet.crashed() == []


def test_a_crash_is_counted_though_the_worker_dies_after_it(start_worker: Starter) -> None:
    worker = start_worker(
        LORELAY_CRASH_ON="poison",
        LORELAY_SERVICE_MS="6000",
        LORELAY_MAX_NUM_SEQS="1",
        LORELAY_MAX_RUNNING="1",
    )
    culprit = worker.request(Query(id="culprit", prompt="poison"))
    # It has its turn when the engine is back, and the suspect, which runs alone, waits for it.
    innocent = worker.request(Query(prompt="innocent"))
    retry = eventually(lambda: next((r for r in worker.requests() if r.crashes), None), "a retry")
    assert (retry.origin, retry.attempt, retry.crashes) == (culprit, 2, 1)
    kill(worker)
    assert worker.responses() == []
    worker.start("worker-2")
    ended = worker.response(culprit)
    assert ended.error is not None
    # It was convicted by its second crash in all: the next worker had gone on counting.
    assert (ended.error.code, ended.attempt) == ("engine_crashed", 2)
    assert worker.response(innocent).status == "ok"
    assert (len(worker.responses()), len(worker.dead_letters())) == (2, 1)


@pytest.mark.parametrize("have_adapter", [False, True], ids=["base", "adapter"])
def test_the_request_that_kills_the_whole_worker_is_found_and_the_others_are_answered(
    start_worker: Starter, tmp_path: Path, have_adapter: bool
) -> None:
    worker = start_worker(
        LORELAY_KILL_ON="poison",
        LORELAY_JOURNAL=str(tmp_path / "journal"),
        LORELAY_INSTANCE="worker",
        LORELAY_SERVICE_MS="300",
        LORELAY_LOAD_MS="1000",
        LORELAY_MAX_NUM_SEQS="8",
    )
    write_weights(tmp_path / "adapter")
    # Innocents with an adapter are loading it, in each new worker, as the other one runs.
    adapter = worker.register("1.0.0", tmp_path / "adapter").key if have_adapter else None
    worker.request(Query(prompt="innocent"), adapter=adapter)
    worker.request(Query(prompt="poison"))
    worker.request(Query(prompt="innocent"), adapter=adapter)
    (member,) = worker.fleet.of_role("worker")
    assert member.process is not None
    for _ in range(MOST_DEATHS):
        assert member.process.wait(60) == -signal.SIGKILL
        worker.fleet.start(member.name, "worker")
    responses = eventually(
        lambda: found if len(found := worker.responses()) == 3 else None, "all responses"
    )
    by_query = {response.query_id: response for response in responses}
    error = by_query["q2"].error
    assert error is not None and error.code == "engine_crashed"
    assert "died 3 times" in error.message
    assert [by_query[query].status for query in ("q1", "q3")] == ["ok", "ok"]
    assert len(worker.dead_letters()) == 1
    assert member.is_alive


def test_sigterm_hands_back_what_waits_and_finishes_what_runs(start_worker: Starter) -> None:
    worker = start_worker(
        LORELAY_SERVICE_MS="1500", LORELAY_MAX_NUM_SEQS="1", LORELAY_MAX_RUNNING="1"
    )
    origins = [worker.request(Query(prompt=f"number {n}")) for n in range(6)]
    worker.state(lambda state: state.in_flight == 6)
    (first,) = worker.fleet.of_role("worker")
    worker.fleet.send(first, signal.SIGTERM)
    assert first.process is not None
    assert first.process.wait(60) == 0
    # It did not wait for all of them to have their turn.
    assert len(worker.responses()) < len(origins)
    worker.start("worker-2")
    for origin in origins:
        assert worker.response(origin).status == "ok"
    assert len(worker.responses()) == len(origins)


def test_all_who_waited_for_one_load_say_so_and_nobody_later(
    start_worker: Starter, tmp_path: Path
) -> None:
    worker = start_worker(LORELAY_LOAD_MS="2000", LORELAY_MAX_NUM_SEQS="4")
    write_weights(tmp_path / "adapter")
    adapter = worker.register("1.0.0", tmp_path / "adapter")
    waiting = [worker.request(Query(prompt="cold"), adapter=adapter.key) for _ in range(6)]
    base = worker.request(Query(prompt="nobody's"))
    for origin in waiting:
        timing = worker.response(origin).timing
        assert timing.load_ms is not None and timing.total_ms is not None
        assert 0 < timing.load_ms <= timing.total_ms
    later = worker.request(Query(prompt="warm"), adapter=adapter.key)
    for origin in (base, later):
        assert worker.response(origin).timing.load_ms is None


def test_sigterm_hands_back_what_waits_for_its_adapter(
    start_worker: Starter, tmp_path: Path
) -> None:
    worker = start_worker(LORELAY_LOAD_MS="4000")
    write_weights(tmp_path / "adapter")
    adapter = worker.register("1.0.0", tmp_path / "adapter")
    origin = worker.request(Query(prompt="cold"), adapter=adapter.key)
    worker.state(lambda state: state.in_flight == 1)
    (first,) = worker.fleet.of_role("worker")
    worker.fleet.send(first, signal.SIGTERM)
    assert first.process is not None
    assert first.process.wait(60) == 0
    assert worker.responses() == []
    worker.start("worker-2")
    assert worker.response(origin).status == "ok"
    assert [(found.origin, found.attempt) for found in worker.responses()] == [(origin, 1)]


def test_a_worker_that_is_killed_with_much_read_ahead_loses_and_doubles_nothing(
    start_worker: Starter,
) -> None:
    worker = start_worker(LORELAY_SERVICE_MS="20", LORELAY_MAX_NUM_SEQS="4")
    query = Query(prompt="x", sampling=Sampling(max_tokens=4))
    origins = [worker.request(query) for _ in range(200)]
    eventually(lambda: worker.responses() or None, "a first response")
    kill(worker)
    worker.start("worker-2")
    eventually(lambda: len(worker.responses()) >= len(origins) or None, "all responses")
    assert sorted(r.origin.offset for r in worker.responses()) == [o.offset for o in origins]


def test_a_generation_longer_than_the_session_costs_no_session(start_worker: Starter) -> None:
    worker = start_worker(LORELAY_SERVICE_MS="9000")
    origins = [worker.request(Query(prompt="long")) for _ in range(4)]
    for origin in origins:
        response = worker.response(origin)
        assert (response.status, response.attempt) == ("ok", 1)
    (member,) = worker.fleet.of_role("worker")
    log = worker.fleet.log(member.name).read_text()
    assert not any(word in log for word in ("rebalanc", "expired", "owner", "assignment")), log
    assert len(worker.responses()) == len(origins)


def test_an_adapter_outside_the_allowed_folders_is_not_loaded(
    start_worker: Starter, tmp_path: Path
) -> None:
    worker = start_worker(LORELAY_ADAPTER_ROOTS=str(tmp_path / "allowed"), LORELAY_MAX_ATTEMPTS="1")
    write_weights(tmp_path / "allowed" / "inside")
    write_weights(tmp_path / "outside")
    (tmp_path / "allowed" / "link").symlink_to(tmp_path / "outside")
    inside = worker.register("1.0.0", tmp_path / "allowed" / "inside")
    linked = worker.register("1.1.0", tmp_path / "allowed" / "link")
    assert worker.response(worker.request(Query(prompt="x"), adapter=inside.key)).status == "ok"
    error = worker.response(worker.request(Query(prompt="x"), adapter=linked.key)).error
    assert error is not None and error.code == "adapter_unavailable"
    assert "outside LORELAY_ADAPTER_ROOTS" in error.message
