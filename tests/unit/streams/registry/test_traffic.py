from collections import Counter
from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.records import TrafficShare
from streams.registry.traffic import POINTS, Split, is_among, laid_out, moved

FAMILY = "legal-qa"
SESSIONS = 20_000
NAMES = ("a@1.0.0", "b@1.0.0", "c@1.0.0", "d@1.0.0")

weights = st.dictionaries(
    st.sampled_from(NAMES), st.floats(min_value=1e-3, max_value=1e6), min_size=1
)


def shares(**by_name: float) -> tuple[TrafficShare, ...]:
    return tuple(TrafficShare(f"{name}@1.0.0", weight) for name, weight in by_name.items())


def of(weights: dict[str, float]) -> tuple[TrafficShare, ...]:
    return tuple(TrafficShare(name, weight) for name, weight in weights.items())


def split(laid: Sequence[TrafficShare], family: str = FAMILY) -> Split:
    made = Split.of(family, laid)
    assert made is not None
    return made


def everybody(_: str) -> bool:
    return True


def assigned(made: Split, sessions: int = SESSIONS) -> list[str]:
    found = []
    for number in range(sessions):
        share = made.share_of(f"session-{number}", everybody)
        assert share is not None
        found.append(share.adapter)
    return found


def sizes(laid: Sequence[TrafficShare]) -> dict[str, int]:
    return {s.adapter: sum(s.ranges[1::2]) - sum(s.ranges[::2]) for s in laid}


class TestLayout:
    @given(weights)
    def test_every_point_has_one_owner_and_each_share_its_part(
        self, chosen: dict[str, float]
    ) -> None:
        laid = laid_out(of(chosen))
        ranges = sorted(
            (first, end)
            for share in laid
            for first, end in zip(share.ranges[::2], share.ranges[1::2], strict=True)
        )
        assert ranges[0][0] == 0
        assert ranges[-1][1] == POINTS
        assert all(one[1] == other[0] for one, other in pairwise(ranges))
        total = sum(chosen.values())
        for name, size in sizes(laid).items():
            assert abs(size - chosen[name] / total * POINTS) <= 1

    @given(st.lists(weights, min_size=2, max_size=8))
    def test_a_change_moves_no_point_more_than_it_must(
        self, changes: list[dict[str, float]]
    ) -> None:
        before = laid_out(of(changes[0]))
        for chosen in changes[1:]:
            after = laid_out(of(chosen), before)
            old, new = sizes(before), sizes(after)
            least = sum(max(0, size - old.get(name, 0)) for name, size in new.items())
            kept = sum(common(one, other) for one in before for other in after)
            assert POINTS - kept == least
            before = after

    def test_the_order_of_the_shares_decides_where_there_was_nothing_before(self) -> None:
        first, second = laid_out(shares(a=9, b=1))
        assert (first.ranges, second.ranges) == ((0, 900_000), (900_000, 1_000_000))

    def test_going_there_and_back_leaves_ranges_that_join_again(self) -> None:
        laid = laid_out(shares(a=9, b=1))
        for weight in (8, 7, 5, 7, 8, 9):
            laid = laid_out(shares(a=weight, b=10 - weight), laid)
        assert sum(len(share.ranges) for share in laid) <= 8
        (alone,) = laid_out(shares(a=1), laid)
        assert alone.ranges == (0, POINTS)


def common(one: TrafficShare, other: TrafficShare) -> int:
    """The points that one version has before and after."""
    if one.adapter != other.adapter:
        return 0
    pairs = [list(zip(s.ranges[::2], s.ranges[1::2], strict=True)) for s in (one, other)]
    return sum(
        max(0, min(end, late) - max(first, early))
        for first, end in pairs[0]
        for early, late in pairs[1]
    )


class TestSessions:
    def test_a_session_stays_where_it_is(self) -> None:
        made = split(laid_out(shares(a=9, b=1)))
        again = split(laid_out(shares(a=9, b=1)))
        assert assigned(made, 500) == assigned(again, 500)

    def test_routers_of_other_versions_must_agree_so_the_hash_never_changes(self) -> None:
        made = split(laid_out(shares(a=1, b=1)))
        assert "".join(name[0] for name in assigned(made, 24)) == "babaabababbbbabbbaababab"

    def test_the_sessions_are_shared_out_by_weight(self) -> None:
        counts = Counter(assigned(split(laid_out(shares(a=70, b=20, c=10)))))
        for name, part in (("a@1.0.0", 0.7), ("b@1.0.0", 0.2), ("c@1.0.0", 0.1)):
            assert counts[name] / SESSIONS == pytest.approx(part, abs=deviations(part))

    @pytest.mark.parametrize(
        ("before", "after"),
        [
            ({"a": 90, "b": 10}, {"a": 80, "b": 20}),
            ({"a": 90, "b": 10}, {"b": 100}),
            ({"a": 50, "b": 50}, {"a": 50, "c": 50}),
            ({"a": 50, "b": 30, "c": 20}, {"a": 20, "b": 50, "c": 30}),
            ({"a": 98, "b": 1, "c": 1}, {"a": 25, "b": 25, "c": 25, "d": 25}),
        ],
    )
    def test_a_change_moves_as_many_sessions_as_it_must_and_no_more(
        self, before: dict[str, float], after: dict[str, float]
    ) -> None:
        old = laid_out(shares(**before))
        new = laid_out(shares(**after), old)
        pairs = list(zip(assigned(split(old)), assigned(split(new)), strict=True))
        least = moved(old, new)
        seen = sum(was != now for was, now in pairs) / SESSIONS
        assert seen == pytest.approx(least, abs=deviations(least))
        growing = {s.adapter for s in new if s.weight / total(new) > weight_of(old, s.adapter)}
        assert {now for was, now in pairs if was != now} <= growing

    def test_two_families_are_split_independently(self) -> None:
        laid = laid_out(shares(a=1, b=1))
        one, other = assigned(split(laid)), assigned(split(laid, "tax-advice"))
        same = sum(first == second for first, second in zip(one, other, strict=True))
        assert same / SESSIONS == pytest.approx(0.5, abs=deviations(0.5))

    def test_what_falls_to_one_that_may_not_answer_goes_to_the_others_by_weight(self) -> None:
        made = split(laid_out(shares(a=60, b=30, c=10)))
        found: Counter[str] = Counter()
        for number, owner in enumerate(assigned(made)):
            share = made.share_of(f"session-{number}", lambda key: key != "a@1.0.0")
            assert share is not None
            assert owner in (share.adapter, "a@1.0.0")
            found[share.adapter] += 1
        assert found["b@1.0.0"] / SESSIONS == pytest.approx(0.75, abs=deviations(0.75))
        assert made.share_of("x", lambda _: False) is None

    def test_any_text_may_name_a_session(self) -> None:
        made = split(laid_out(shares(a=1, b=1)))
        for name in ("", "\0", "ß", "\ud800", "x" * 100_000):
            assert made.share_of(name, everybody) is not None


def test_a_session_that_is_among_a_few_is_among_more() -> None:
    sessions = [f"session-{number}" for number in range(SESSIONS)]
    few, many = ({s for s in sessions if is_among(FAMILY, s, part)} for part in (10.0, 30.0))
    assert few < many
    assert len(few) / SESSIONS == pytest.approx(0.1, abs=deviations(0.1))
    assert all(is_among(FAMILY, s, 100.0) for s in sessions[:100])
    assert not any(is_among(FAMILY, s, 0.0) for s in sessions[:100])


class TestRecords:
    def test_a_record_without_ranges_is_laid_out_by_its_weights(self) -> None:
        assert split(shares(a=9, b=1)).shares == laid_out(shares(a=9, b=1))

    @pytest.mark.parametrize(
        "ranges",
        [
            ((0, 500_000), (600_000, 1_000_000)),
            ((0, 600_000), (500_000, 1_000_000)),
            ((0, 500_000), (500_000, 2_000_000)),
            ((-5, 500_000), (500_000, 1_000_000)),
            ((0, 500_000, 7), (500_000, 1_000_000)),
            ((500_000, 0), (500_000, 1_000_000)),
            ((), ()),
        ],
    )
    def test_ranges_that_are_no_split_are_laid_out_anew(
        self, ranges: tuple[tuple[int, ...], ...]
    ) -> None:
        broken = tuple(
            TrafficShare(f"{name}@1.0.0", 1.0, ranges=given)
            for name, given in zip("ab", ranges, strict=True)
        )
        assert sizes(split(broken).shares) == {"a@1.0.0": POINTS // 2, "b@1.0.0": POINTS // 2}

    @pytest.mark.parametrize("weight", [0.0, -1.0, float("nan"), float("inf")])
    def test_a_weight_that_is_none_gets_nothing(self, weight: float) -> None:
        assert Split.of(FAMILY, [TrafficShare("a@1.0.0", weight)]) is None
        mixed = [TrafficShare("a@1.0.0", weight), TrafficShare("b@1.0.0", 1.0)]
        assert set(assigned(split(mixed), 100)) == {"b@1.0.0"}

    def test_weights_near_the_largest_number_are_weights_as_any_other(self) -> None:
        assert sizes(split(shares(a=1.5e308, b=1.5e308, c=5e-324)).shares) == {
            "a@1.0.0": POINTS // 2,
            "b@1.0.0": POINTS // 2,
            "c@1.0.0": 0,
        }

    def test_no_share_is_no_split(self) -> None:
        assert Split.of(FAMILY, ()) is None


def total(laid: Sequence[TrafficShare]) -> float:
    return sum(share.weight for share in laid)


def weight_of(laid: Sequence[TrafficShare], adapter: str) -> float:
    return next((s.weight for s in laid if s.adapter == adapter), 0.0) / total(laid)


def deviations(part: float) -> float:
    """Five standard deviations of a share of the sessions."""
    return max(5 * (part * (1 - part) / SESSIONS) ** 0.5, 1e-6)
