"""Records by second: late ones, wrong clocks, and what is not known."""

from streams.gateway.dashboard.flow import SECONDS, Flow

NOW = 1_000_000.5


def flow(since: float = NOW - SECONDS) -> Flow:
    return Flow(["queries"], since)


def test_a_rate_is_the_mean_of_the_seconds_that_are_over() -> None:
    counted = flow()
    for second in range(20):
        counted.add("queries", NOW - second, NOW - second, 3)
    assert counted.rate("queries", NOW) == 3.0


def test_the_newest_seconds_wait_for_what_is_still_being_fetched() -> None:
    counted = flow()
    counted.add("queries", NOW - 1, NOW, 100)
    assert counted.rate("queries", NOW) == 0.0
    assert counted.rate("queries", NOW + 2) == 10.0


def test_a_late_record_counts_in_its_own_second() -> None:
    counted = flow()
    counted.add("queries", NOW - 5, NOW)
    assert counted.series("queries", NOW)[-6:] == [0, 1, 0, 0, 0, 0]


def test_a_clock_that_is_wrong_is_not_believed() -> None:
    counted = flow()
    counted.add("queries", NOW - 7200, NOW - 1)
    counted.add("queries", NOW + 7200, NOW - 1)
    assert counted.series("queries", NOW)[-1] == 2


def test_what_was_there_before_counts_in_its_own_second() -> None:
    counted = flow()
    counted.add("queries", NOW - 60, NOW, is_old=True)
    assert counted.series("queries", NOW)[-60] == 1


def test_before_the_first_record_that_was_read_nothing_is_known() -> None:
    counted = flow()
    counted.begins("queries", NOW - 3)
    counted.add("queries", NOW - 3, NOW, is_old=True)
    series = counted.series("queries", NOW)
    assert len(series) == SECONDS
    assert series[-4:] == [None, None, 0, 0]
    assert counted.rate("queries", NOW) is None


def test_old_seconds_are_forgotten() -> None:
    counted = flow()
    counted.add("queries", NOW - 1, NOW)
    assert sum(count or 0 for count in counted.series("queries", NOW + SECONDS - 1)) == 1
    assert sum(count or 0 for count in counted.series("queries", NOW + 2 * SECONDS)) == 0
