"""How figures are put together and shown."""

from math import nan

import pytest
from rich.console import Console

from benchmarks.selection.tables import Cell, Column, Table


def table() -> Table:
    made = Table("t", "A title", ("examples", "router"), (Column("right"), Column("rate", "/s")))
    made.add(("10", "one"), [{"right": 90.0, "rate": 1_234.0}, {"right": 92.0, "rate": 1_234.0}])
    made.add(("10", "other"), [{"right": 50.0}, {"right": nan}])
    return made


def test_draws_are_averaged_with_half_of_their_spread() -> None:
    assert Cell.of([1.0, 2.0, 6.0]) == Cell(3.0, 2.5)


def test_a_figure_that_a_draw_lacks_is_left_out() -> None:
    (_, first), (_, second) = table().rows
    assert first == {"right": Cell(91.0, 1.0), "rate": Cell(1_234.0, 0.0)}
    assert second == {}


def test_a_table_is_printed_with_units_and_spreads() -> None:
    console = Console(width=100)
    with console.capture() as printed:
        console.print(table().rich())
    text = printed.get()
    assert "right, %" in text
    assert "91.0 ± 1.0" in text
    assert "1234 " in text
    assert text.count("10 ") == 1


def test_a_routers_name_stands_above_what_is_measured_of_it() -> None:
    made = Table("t", "A title", ("queries",), (Column("long-name+other-name: accuracy"),))
    made.add(("none",), [{"long-name+other-name: accuracy": 1.0}])
    console = Console(width=60)
    with console.capture() as printed:
        console.print(made.rich())
    heading = [line.strip("┃ \n").split("┃")[-1].strip() for line in printed.get().splitlines()]
    assert heading[2:5] == ["long-name+", "other-name", "accuracy, %"]


def test_json_has_every_figure_unrounded() -> None:
    written = table().as_json()
    assert written["rows"][0] == {
        "examples": "10",
        "router": "one",
        "right": {"mean": pytest.approx(91.0), "spread": 1.0},
        "rate": {"mean": 1_234.0, "spread": 0.0},
    }
    assert written["units"] == {"right": "%", "rate": "/s"}
