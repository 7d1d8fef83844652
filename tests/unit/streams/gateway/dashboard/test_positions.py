"""Where reading begins."""

from streams.gateway.dashboard.positions import Position, position


def test_it_begins_with_what_came_since_then() -> None:
    assert position(0, 900, 800) == Position(800, 900, is_late=False)
    assert position(0, 900, None) == Position(900, 900, is_late=False)


def test_of_too_much_only_the_end_is_read() -> None:
    assert position(0, 9_000, 800, most=2_000) == Position(7_000, 9_000, is_late=True)


def test_a_little_is_read_however_old() -> None:
    assert position(0, 900, None, least=200) == Position(700, 900, is_late=False)
    assert position(0, 900, 850, least=200) == Position(700, 900, is_late=False)


def test_nothing_is_read_that_is_gone() -> None:
    assert position(850, 900, 850, least=200) == Position(850, 900, is_late=False)
    assert position(850, 900, None, least=200, most=20) == Position(880, 900, is_late=False)
