"""Requests that the broker does not take, because the topic's limit is below ours."""

from schemas.records import Query
from tests.integration.router.conftest import RunningRouter

LIMIT = 100_000


def query(size: int) -> Query:
    return Query(prompt="x" * size, adapter="base")


def test_a_query_whose_request_is_refused_is_answered_and_kept_and_the_others_routed(
    router: RunningRouter,
) -> None:
    router.cluster.limit(router.topics.requests, LIMIT)
    places = [router.send(query(10)) for _ in range(8)]
    large = [router.send(query(size * LIMIT)) for size in (3, 2)]
    places += [router.send(query(10)) for _ in range(8)]
    for place in large:
        response, _ = router.response(place)
        assert response.error is not None
        assert response.error.code == "record_too_large"
        letter = router.dead_letter(place)
        assert letter is not None and len(letter.value() or b"") > 2 * LIMIT
    for place in places:
        assert router.request(place)[0].query.prompt == "x" * 10
    router.request(router.send(query(LIMIT // 2)))
    assert len(router.cluster.read(router.topics.requests)) == len(places) + 1
    assert len(router.cluster.read(router.topics.responses)) == len(large)


def test_a_query_that_fits_no_dead_letter_is_answered_all_the_same(router: RunningRouter) -> None:
    router.cluster.limit(router.topics.dead_letters, LIMIT)
    place = router.send(query(4 * LIMIT))
    response, _ = router.response(place)
    assert response.error is not None
    assert response.error.code == "record_too_large"
    assert router.dead_letter(place) is None
    router.request(router.send(query(10)))
