"""Answers that the broker does not take, because the topic's limit is below ours."""

from schemas.records import Query
from tests.integration.worker.conftest import RunningWorker, Starter

LIMIT = 100_000


def ask(worker: RunningWorker, size: int) -> tuple[str, str]:
    """How a query of that size ends: the status, and the error's code."""
    response = worker.response(worker.request(Query(prompt="x" * size)))
    return response.status, response.error.code if response.error else ""


def test_an_answer_that_its_topic_refuses_ends_as_an_error_that_names_its_query(
    start_worker: Starter,
) -> None:
    worker = start_worker(lambda w: w.cluster.limit(w.topics.responses, LIMIT))
    before = [worker.request(Query(prompt="short")) for _ in range(5)]
    large = worker.request(Query(id="large", prompt="x" * 2 * LIMIT))
    after = [worker.request(Query(prompt="short")) for _ in range(5)]
    response = worker.response(large)
    assert response.error is not None
    assert (response.query_id, response.error.code) == ("large", "record_too_large")
    for origin in (*before, *after):
        assert worker.response(origin).status == "ok"
    assert ask(worker, 3 * LIMIT) == ("error", "record_too_large")
    assert ask(worker, LIMIT // 2) == ("ok", "")
    assert len(worker.responses()) == 13
    letters = worker.dead_letters()
    assert [b"x" * 2 * LIMIT in (letter.value() or b"") for letter in letters] == [True, True]
    assert worker.fleet.crashed() == []


def test_a_request_that_fits_no_dead_letter_is_answered_all_the_same(
    start_worker: Starter,
) -> None:
    def limit(worker: RunningWorker) -> None:
        worker.cluster.limit(worker.topics.responses, LIMIT)
        worker.cluster.limit(worker.topics.dead_letters, LIMIT)

    worker = start_worker(limit)
    assert ask(worker, 2 * LIMIT) == ("error", "record_too_large")
    assert ask(worker, LIMIT // 2) == ("ok", "")
    assert (len(worker.responses()), worker.dead_letters()) == (2, [])
    assert worker.fleet.crashed() == []
