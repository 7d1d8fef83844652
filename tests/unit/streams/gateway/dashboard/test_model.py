"""The whole state, from records to what is sent."""

import orjson

from schemas.topics import Topics
from streams.gateway.dashboard.lag import Backlog
from streams.gateway.dashboard.model import Model
from tests.unit.streams.gateway.dashboard.answered import NOW, after, response

TOPICS = Topics()


def model() -> Model:
    return Model(TOPICS, NOW, with_text=False)


def test_all_of_it_is_json_from_the_start() -> None:
    snapshot = model().snapshot(NOW)
    sections = orjson.loads(orjson.dumps(snapshot.sections))
    assert [topic["kind"] for topic in sections["flow"]["topics"]] == [
        "queries",
        "requests",
        "responses",
    ]
    assert (snapshot.latest, sections["letters"]["count"]) == ([], 0)


def test_lag_is_not_told_before_it_is_known() -> None:
    seen = model()
    seen.backlogs[TOPICS.requests][0] = Backlog(0, 0)
    seen.backlogs[TOPICS.requests][0].see(0)
    lags = [topic["lag"] for topic in seen.snapshot(NOW).sections["flow"]["topics"]]
    assert lags == [None, None, None]
    seen.know_lag(TOPICS.requests)
    lags = [topic["lag"] for topic in seen.snapshot(NOW).sections["flow"]["topics"]]
    assert lags == [None, 1, None]


def test_news_are_told_once_and_all_to_newcomers() -> None:
    seen = model()
    seen.answer(response(1), after(0))
    assert len(seen.snapshot(NOW).news) == 1
    seen.answer(response(2), after(1))
    snapshot = seen.snapshot(after(1))
    assert ([row["id"] for row in snapshot.news], len(snapshot.latest)) == (["q-2"], 2)


def test_of_too_many_answers_a_second_some_are_looked_into() -> None:
    seen = model()
    looked = sum(seen.has_room(NOW.timestamp()) for _ in range(1_000))
    assert 0 < looked < 1_000
    assert seen.snapshot(NOW).sections["reading"]["skipped"] == 1_000 - looked
    assert seen.has_room(after(1).timestamp())
