"""A judge's hearing: from records to a verdict, without a broker."""

from dataclasses import replace

from schemas.codec import Codec
from schemas.records import Feedback, Traffic, TrafficShare
from schemas.topics import Topics
from streams.canary.trial import Outcome
from streams.kafka.settings import KafkaSettings
from streams.router.judge import Hearing
from tests.unit.memory import kept
from tests.unit.streams.canary.test_trial import NEW, OLD, PLAN, after, response, window

CODEC = Codec()
TOPICS = Topics()
SHARES = (TrafficShare(OLD, 80.0, "v1"), TrafficShare(NEW, 20.0, "v2"))
TRAFFIC = Traffic("legal-qa", 3, SHARES, canary=PLAN)
IN_SHADOW = Traffic("legal-qa", 3, SHARES[:1], canary=replace(PLAN, shadow=True))


def hearing(traffic: Traffic, at: float = 20.0) -> Hearing:
    return Hearing(KafkaSettings(), CODEC, traffic, lambda: after(at))


async def hear(hearing: Hearing, start: float, *, errors: int) -> None:
    """Ten seconds of both, so many of the canary's ten answers errors."""
    for record in (
        window(start, OLD, [100.0] * 40),
        window(start, NEW, [100.0] * (10 - errors), errors=errors),
    ):
        key = f"{record.adapter_id}@{record.adapter_version}".encode()
        hearing.receive(TOPICS.metrics, key, CODEC.encode(record), 0)
    await hearing.take()


async def test_what_arrives_is_weighed_at_the_next_look() -> None:
    heard = hearing(TRAFFIC)
    await hear(heard, 0, errors=10)
    assert await heard.look(after(12)) is None  # not all of its records need be there yet
    verdict = await heard.look(after(20))
    assert verdict is not None
    assert verdict.outcome is Outcome.ROLL_BACK


async def test_one_begun_by_a_clock_that_is_ahead_is_watched_from_the_first_moment() -> None:
    ahead = replace(PLAN, started_at=after(600), ends_at=after(1200))
    heard = hearing(replace(TRAFFIC, canary=ahead), at=0)
    await hear(heard, 0, errors=10)
    verdict = await heard.look(after(20))
    assert verdict is not None
    assert verdict.outcome is Outcome.ROLL_BACK


async def test_in_shadow_and_by_ratings_it_is_watched_too_where_that_clock_is_ahead() -> None:
    ahead = replace(PLAN, started_at=after(600), ends_at=after(1200))
    in_shadow = replace(IN_SHADOW, canary=replace(ahead, shadow=True))
    shadowed, rated = hearing(in_shadow, at=0), hearing(replace(TRAFFIC, canary=ahead), at=0)
    await hear(shadowed, 0, errors=0)
    for number in range(30):
        failed = response(NEW, ok=False, created_at=after(0))
        shadowed.receive(TOPICS.shadow, b"", CODEC.encode(failed), number)
        for adapter, rating in ((OLD, 0.9), (NEW, 0.0)):
            said = Feedback(f"{adapter}{number}", adapter, rating, created_at=after(0))
            rated.receive(TOPICS.feedback, b"", CODEC.encode(said), number)
    for each in (shadowed, rated):
        verdict = await each.look(after(20))
        assert verdict is not None
        assert verdict.outcome is Outcome.ROLL_BACK


async def test_what_came_before_it_is_heard_is_history_where_that_clock_is_ahead() -> None:
    """The version may have had a share until lately, in a trial that it has failed."""
    heard = hearing(replace(TRAFFIC, canary=replace(PLAN, started_at=after(600))), at=10)
    await hear(heard, 0, errors=10)
    assert await heard.look(after(20)) is None


async def test_one_that_cannot_be_read_counts_for_nothing() -> None:
    heard = hearing(TRAFFIC)
    heard.receive(TOPICS.feedback, b"q", b"no record", 0)
    heard.receive(TOPICS.feedback, b"q", None, 1)
    await hear(heard, 0, errors=10)
    assert await heard.look(after(20)) is not None


async def test_a_day_of_windows_is_weighed_piece_by_piece() -> None:
    heard = hearing(replace(TRAFFIC, canary=replace(PLAN, ends_at=after(86_400))))
    for start in range(0, 1000, 10):
        await hear(heard, start, errors=0)
    assert await heard.look(after(1100)) is None
    figures = [part for _, _, part in heard.progress()]
    assert max(figures) > 1  # fine, as far as that


async def test_of_an_answer_in_shadow_nothing_is_kept_but_that_it_came() -> None:
    heard = hearing(IN_SHADOW)
    text = "Three months to the end of a month. " * 40
    ours = replace(response(NEW, created_at=after(1)), text=text)
    others = replace(response("tax-qa-v1@1.0.0", created_at=after(1)), text=text)
    with kept() as in_bytes:
        for number in range(1000):
            answer = ours if number % 2 else others
            value = CODEC.encode(replace(answer, query_id=f"{number}"))
            heard.receive(TOPICS.shadow, b"%d" % number, value, number)
            if number % 100 == 99:
                await heard.take()
    assert in_bytes() < 200_000  # of 1.5 MB
    await heard.look(after(20))


async def test_of_feedback_that_is_none_of_the_trial_nothing_is_kept() -> None:
    heard = hearing(TRAFFIC)
    said = Feedback("q", "tax-qa-v1@1.0.0", 0.5, comment="Too long. " * 100, created_at=after(1))
    with kept() as in_bytes:
        for number in range(1000):
            value = CODEC.encode(replace(said, query_id=f"{number}"))
            heard.receive(TOPICS.feedback, b"%d" % number, value, number)
            if number % 100 == 99:
                await heard.take()
    assert in_bytes() < 200_000  # of 1 MB
