"""A trial's verdicts, on windows as the metrics agent writes them."""

import random
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from schemas.records import (
    AdapterMetrics,
    Canary,
    ErrorInfo,
    Feedback,
    Origin,
    Response,
    Routing,
    Timing,
)
from streams.canary.measures import Measure
from streams.canary.trial import Outcome, Trial, Verdict
from streams.telemetry.tally import Tally
from tests.unit.memory import kept

START = datetime(2026, 3, 1, 12, tzinfo=UTC)
OLD, NEW = "legal-qa-v1@1.0.0", "legal-qa-v2@2.0.0"
PLAN = Canary(adapter=NEW, share=20.0, started_at=START, ends_at=START + timedelta(minutes=10))
FAILED = ErrorInfo("engine", "engine_failed", "It broke.")


def after(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def response(
    adapter: str,
    total_ms: float = 100.0,
    *,
    ok: bool = True,
    created_at: datetime = START,
    load_ms: float | None = None,
) -> Response:
    return Response(
        query_id="q",
        status="ok" if ok else "error",
        adapter=adapter,
        routing=Routing(adapter=adapter, variant="v"),
        timing=Timing(total_ms=total_ms, load_ms=load_ms),
        error=None if ok else FAILED,
        origin=Origin("queries", 0, 0),
        created_at=created_at,
    )


def window(
    start: float,
    adapter: str,
    durations: Iterable[float],
    *,
    errors: int = 0,
    rejects: int = 0,
    waited: Iterable[float] = (),
    variant: str | None = "v",
    partition: int = 0,
) -> AdapterMetrics:
    """Ten seconds of answers with these durations, and some errors.

    Those that ``waited`` did so for their adapter to be loaded.
    """
    tally = Tally(num_rejects=rejects)
    for ms in durations:
        tally.add(response(adapter, ms))
    for ms in waited:
        tally.add(response(adapter, ms, load_ms=ms))
    for _ in range(errors):
        tally.add(response(adapter, 100.0, ok=False))
    made = tally.record(adapter, partition, after(start), after(start + 10))
    return replace(made, variant=variant)


class Traffic:
    """Ten minutes of queries to both, and before them five to the old version."""

    def __init__(self, *, slower: float = 1.0, errors: float = 0.0, rejects: float = 0.0) -> None:
        self._random = random.Random(5)
        self._slower = slower
        self._errors = errors
        self._rejects = rejects

    def windows(self, start: float, end: float) -> Iterable[AdapterMetrics]:
        for second in range(int(start), int(end), 10):
            yield window(second, OLD, self._durations(40))
            if second >= 0:
                answers = 10
                failed = sum(self._random.random() < self._errors for _ in range(answers))
                given_away = sum(self._random.random() < self._rejects for _ in range(answers))
                mine = [ms * self._slower for ms in self._durations(answers - failed - given_away)]
                yield window(second, NEW, mine, errors=failed, rejects=given_away)

    def _durations(self, count: int) -> list[float]:
        return [self._random.lognormvariate(5, 0.5) for _ in range(count)]


def tried(trial: Trial, traffic: Traffic, until: float = 600) -> tuple[Verdict | None, float]:
    """The verdict and when it fell, in seconds; windows come two seconds after their ends."""
    for record in traffic.windows(-300, 0):
        trial.add_window(record)
    for second in range(0, int(until), 10):
        for record in traffic.windows(second, second + 10):
            trial.add_window(record)
        if verdict := trial.look(after(second + 12)):
            return verdict, second + 12
    return trial.look(after(until + 5)), until + 5


def test_a_good_version_is_promoted_when_its_time_is_over_and_not_before() -> None:
    verdict, at = tried(Trial(PLAN, {OLD}), Traffic())
    assert verdict is not None
    assert (verdict.outcome, at) == (Outcome.PROMOTE, 605)
    assert "In 600 answers it is shown to be fine" in verdict.reason
    figures = verdict.figures
    assert (figures["canary_requests"], figures["others_requests"]) == (600, 2400)
    assert figures["canary_error_rate"] == 0
    assert figures["canary_p95_latency_ms"] == pytest.approx(338, rel=0.15)
    assert figures["evidence_errors_fine"] >= figures["evidence_needed_fine"] == pytest.approx(20)


def test_one_that_fails_is_rolled_back_at_once_with_the_figures_that_say_so() -> None:
    verdict, at = tried(Trial(PLAN, {OLD}), Traffic(errors=0.5))
    assert verdict is not None
    assert verdict.outcome is Outcome.ROLL_BACK
    assert at <= 60
    assert verdict.reason.startswith(
        "Its share of errors is worse than the others' by more than 2 points: "
    )
    assert "against 0.0%" in verdict.reason
    assert verdict.figures["evidence_errors_worse"] >= verdict.figures["evidence_needed_worse"]


def test_one_that_is_slower_is_rolled_back_by_the_others_95th_percentile() -> None:
    verdict, at = tried(Trial(PLAN, {OLD}), Traffic(slower=2.0))
    assert verdict is not None
    assert verdict.outcome is Outcome.ROLL_BACK
    assert at <= 200
    assert "slower than the others' 95th percentile" in verdict.reason
    assert verdict.figures["canary_bad_slow"] > 0.3
    assert verdict.figures["others_bad_slow"] == pytest.approx(0.05, abs=0.03)
    assert verdict.figures["slow_above_ms"] == pytest.approx(338, rel=0.15)


@pytest.mark.parametrize("when", [0, 300], ids=["at the start", "after a restart"])
def test_answers_that_waited_for_a_load_are_none_of_its_slow_ones(when: int) -> None:
    """All who wait for one load are slow together: one outcome, and not many."""

    class Loading(Traffic):
        def windows(self, start: float, end: float) -> Iterable[AdapterMetrics]:
            for record in super().windows(start, end):
                is_cold = record.window_start == after(when)
                adapter = f"{record.adapter_id}@{record.adapter_version}"
                yield window(when, adapter, [], waited=[2e4] * 10) if is_cold else record

    verdict, at = tried(Trial(PLAN, {OLD}), Loading())
    assert verdict is not None
    assert (verdict.outcome, at) == (Outcome.PROMOTE, 605)
    figures = verdict.figures
    assert (figures["canary_requests"], figures["canary_waited_for_load"]) == (600, 10)
    assert figures["canary_bad_slow"] < 0.1
    assert figures["slow_above_ms"] < 1000


def test_one_that_leaves_its_queries_to_fallbacks_is_rolled_back() -> None:
    verdict, _ = tried(Trial(PLAN, {OLD}), Traffic(rejects=0.5))
    assert verdict is not None
    assert verdict.outcome is Outcome.ROLL_BACK
    assert "share of queries that a fallback answered" in verdict.reason


def test_when_both_are_down_nobody_is_blamed() -> None:
    trial = Trial(PLAN, {OLD})
    for second in range(0, 600, 10):
        down = 200 <= second < 300
        trial.add_window(window(second, OLD, [] if down else [100.0] * 40, errors=40 * down))
        trial.add_window(window(second, NEW, [] if down else [100.0] * 10, errors=10 * down))
        assert trial.look(after(second + 12)) is None
    verdict = trial.look(after(605))
    assert verdict is not None
    assert verdict.outcome is not Outcome.ROLL_BACK


def test_too_few_answers_leave_it_undecided_and_say_what_is_missing() -> None:
    trial = Trial(PLAN, {OLD})
    trial.add_window(window(0, OLD, [100.0] * 40))
    trial.add_window(window(0, NEW, [100.0] * 10))
    assert trial.look(after(604)) is None
    verdict = trial.look(after(605))
    assert verdict is not None
    assert verdict.outcome is Outcome.UNDECIDED
    assert verdict.reason.startswith("After 10 answers it is not shown that its share of errors")
    assert "give it more share or time" in verdict.reason


def test_what_is_tolerated_is_the_plans_to_say() -> None:
    lenient = replace(PLAN, tolerated={"errors": 0.6, "slow": 0.6})
    verdict, _ = tried(Trial(lenient, {OLD}), Traffic(errors=0.3))
    assert verdict is not None
    assert verdict.outcome is Outcome.PROMOTE


def test_queries_that_named_the_version_are_no_part_of_it() -> None:
    trial = Trial(PLAN, {OLD})
    for second in range(0, 100, 10):
        trial.add_window(window(second, OLD, [100.0] * 40))
        trial.add_window(window(second, NEW, [], errors=10, variant=None))
        trial.add_window(window(second, "tax-qa-v1@1.0.0", [], errors=10))
    assert trial.look(after(120)) is None
    assert trial.figures()["canary_requests"] == 0


def test_a_judge_that_takes_over_comes_to_the_same_evidence() -> None:
    first, second = Trial(PLAN, {OLD}), Trial(PLAN, {OLD})
    records = [*Traffic(errors=0.02).windows(-300, 0), *Traffic(errors=0.02).windows(0, 300)]
    for record in records:
        first.add_window(record)
        first.look(record.window_end + timedelta(seconds=2))
    for record in records:
        second.add_window(record)
    for trial in (first, second):
        assert trial.look(after(400)) is None
    assert first.figures() == second.figures()


def test_one_that_catches_up_does_not_miss_what_would_have_been_seen() -> None:
    trial = Trial(PLAN, {OLD})
    for second in range(0, 500, 10):
        failing = 100 <= second < 140
        trial.add_window(window(second, OLD, [100.0] * 40))
        trial.add_window(window(second, NEW, [100.0] * (0 if failing else 10), errors=10 * failing))
    verdict = trial.look(after(520))
    assert verdict is not None
    assert verdict.outcome is Outcome.ROLL_BACK


def test_windows_weighed_a_few_at_a_time_come_to_the_same_evidence() -> None:
    at_once, in_pieces = Trial(PLAN, {OLD}), Trial(PLAN, {OLD})
    for record in [*Traffic(errors=0.02).windows(-300, 0), *Traffic(errors=0.02).windows(0, 300)]:
        at_once.add_window(record)
        in_pieces.add_window(record)
    pieces = 1
    while not in_pieces.weigh(after(400), 7):
        pieces += 1
    assert pieces == 9  # 60 windows, and what is left of them
    assert at_once.look(after(400)) is in_pieces.look(after(400)) is None
    assert at_once.figures() == in_pieces.figures()


def test_a_second_with_a_rating_or_an_answer_in_shadow_takes_next_to_nothing() -> None:
    rated, shadowed = Trial(PLAN, {OLD}), Trial(replace(PLAN, shadow=True), {OLD})
    with kept() as in_bytes:
        for second in range(500):
            rated.add_feedback(Feedback(f"{second}", OLD, 0.9), after(second))
            shadowed.add_shadow(response(NEW), after(second))
    assert in_bytes() / 1000 < 1000


def test_the_partitions_of_a_window_count_together_and_late_ones_later() -> None:
    trial = Trial(PLAN, {OLD})
    for partition in range(4):
        trial.add_window(window(0, OLD, [100.0] * 10, partition=partition))
        trial.add_window(window(0, NEW, [100.0] * 5, partition=partition))
    trial.look(after(20))
    trial.add_window(window(0, NEW, [100.0] * 7, partition=5))
    trial.look(after(60))
    assert trial.figures()["canary_requests"] == 27


class TestRatings:
    def rated(self, trial: Trial, adapter: str, rating: float, count: int) -> None:
        for number in range(count):
            name = f"{adapter}-{rating}-{number}"
            trial.add_feedback(Feedback(name, adapter, rating), after(number))

    def test_one_that_people_like_less_is_rolled_back(self) -> None:
        trial = Trial(PLAN, {OLD})
        self.rated(trial, OLD, 0.9, 100)
        self.rated(trial, NEW, 0.2, 40)
        verdict = trial.look(after(120))
        assert verdict is not None
        assert verdict.outcome is Outcome.ROLL_BACK
        assert verdict.reason.startswith("Its mean rating is worse than the others' by more than")
        assert "0.20 against 0.90" in verdict.reason
        assert verdict.figures["canary_mean_rating"] == pytest.approx(0.2)

    def test_a_query_is_rated_once_and_only_within_the_trial(self) -> None:
        trial = Trial(PLAN, {OLD})
        for _ in range(50):
            trial.add_feedback(Feedback("the same", NEW, 0.0), after(1))
        trial.add_feedback(Feedback("before", NEW, 0.0), after(-1))
        trial.add_feedback(Feedback("no rating", NEW, None, "So instead."), after(1))
        trial.add_feedback(Feedback("of another", "tax-qa-v1@1.0.0", 0.0), after(1))
        trial.add_feedback(Feedback("out of range", NEW, 7.0), after(1))
        trial.add_feedback(Feedback("no number", NEW, float("nan")), after(1))
        trial.look(after(60))
        figures = trial.figures()
        assert (figures["canary_ratings"], figures["canary_mean_rating"]) == (2, 0.5)

    def test_no_ratings_hold_no_promotion_up(self) -> None:
        verdict, _ = tried(Trial(PLAN, {OLD}), Traffic())
        assert verdict is not None
        assert "canary_ratings" not in verdict.figures


class TestShadow:
    SHADOW = replace(PLAN, shadow=True)

    def shadowed(self, errors: int) -> Verdict | None:
        """The verdict on 300 answers in shadow, so many of them errors."""
        trial = Trial(self.SHADOW, {OLD})
        for second in range(0, 600, 10):
            trial.add_window(window(second, OLD, [100.0] * 40))
        for number in range(300):
            trial.add_shadow(response(NEW, ok=number >= errors), after(1.9 * number))
        return trial.look(after(605))

    def test_errors_alone_decide(self) -> None:
        good, bad = self.shadowed(0), self.shadowed(100)
        assert good is not None and bad is not None
        assert good.outcome is Outcome.PROMOTE
        assert bad.outcome is Outcome.ROLL_BACK
        assert good.figures["canary_requests"] == 300
        assert not [name for name in good.figures if "slow" in name]

    def test_answers_of_a_trial_without_shadow_are_none_of_it(self) -> None:
        trial = Trial(PLAN, {OLD})
        trial.add_shadow(response(NEW, ok=False), after(1))
        trial.look(after(60))
        assert trial.figures()["canary_requests"] == 0


def test_the_progress_of_each_measure_can_be_watched() -> None:
    trial = Trial(PLAN, {OLD})
    assert {(m, towards) for m, towards, _ in trial.progress()} == {
        (measure, towards) for measure in Measure for towards in ("worse", "fine")
    }
    assert all(abs(part) < 1e-9 for _, _, part in trial.progress())
    tried(trial, Traffic(errors=0.5))
    parts = {(m, towards): part for m, towards, part in trial.progress()}
    assert parts[Measure.ERRORS, "worse"] >= 1
