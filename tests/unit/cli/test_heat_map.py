"""Adapters against each other, as a picture."""

import struct
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from cli.heat_map import HeatMap, check_writable, draw
from schemas.errors import ConfigurationError


def heat_map(count: int, **shares: float) -> HeatMap:
    """``shares`` are those of single cells, ``r0c1=0.5``."""
    found = np.zeros((count, count))
    for cell, share in shares.items():
        row, column = cell.removeprefix("r").split("c")
        found[int(row), int(column)] = share
    names = [f"domain-task-v{number}@1.0.0" for number in range(count)]
    return HeatMap(names, found, "The title", "examples of", "lie nearer to", "share (%)")


def texts(svg: Path) -> list[str]:
    return [
        "".join(element.itertext()).strip()
        for element in ElementTree.parse(svg).iter("{http://www.w3.org/2000/svg}text")
    ]


def size(png: Path) -> tuple[int, int]:
    content = png.read_bytes()
    assert content.startswith(b"\x89PNG\r\n\x1a\n")
    width, height = struct.unpack(">II", content[16:24])
    return width, height


def test_both_formats_are_drawn_by_the_files_ending(tmp_path: Path) -> None:
    files = [tmp_path / "a.png", tmp_path / "a.svg"]
    draw(heat_map(3, r0c1=0.5), files)
    width, height = size(files[0])
    assert min(width, height) > 300
    assert ElementTree.parse(files[1]).getroot().tag.endswith("svg")


def test_names_title_axes_and_colour_bar_are_labelled(tmp_path: Path) -> None:
    draw(heat_map(3, r0c1=0.5, r2c0=0.25), [tmp_path / "a.svg"])
    shown = texts(tmp_path / "a.svg")
    for name in ("domain-task-v0@1.0.0", "domain-task-v2@1.0.0"):
        assert shown.count(name) == 2
    assert {"The title", "examples of", "lie nearer to", "share (%)"} <= set(shown)
    assert {"50", "25"} <= set(shown)


def test_a_hundred_adapters_are_all_named_and_the_picture_grows(tmp_path: Path) -> None:
    draw(heat_map(30), [tmp_path / "small.png"])
    draw(heat_map(100), [tmp_path / "a.svg", tmp_path / "a.png"])
    assert texts(tmp_path / "a.svg").count("domain-task-v99@1.0.0") == 2
    assert size(tmp_path / "a.png")[1] > 2 * size(tmp_path / "small.png")[1]


def test_of_more_than_a_hundred_those_that_overlap_are_drawn(tmp_path: Path) -> None:
    draw(heat_map(130, r120c7=0.5), [tmp_path / "a.svg"])
    shown = texts(tmp_path / "a.svg")
    assert shown.count("domain-task-v120@1.0.0") == 2
    assert sum(text.startswith("domain-task-v") for text in shown) == 200
    assert any("100 of 130" in text for text in shown)


def test_one_adapter_is_a_picture_too(tmp_path: Path) -> None:
    draw(heat_map(1), [tmp_path / "a.svg"])
    assert texts(tmp_path / "a.svg").count("domain-task-v0@1.0.0") == 2


def test_the_same_figures_make_the_same_file(tmp_path: Path) -> None:
    files = [tmp_path / "a.svg", tmp_path / "b.svg"]
    for file in files:
        draw(heat_map(4, r0c1=0.5), [file])
    assert files[0].read_bytes() == files[1].read_bytes()


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("a.jpg", r"\.png or \.svg"),
        ("a", r"\.png or \.svg"),
        ("missing/a.png", "there is no folder"),
    ],
)
def test_a_file_that_could_not_be_drawn_is_told_beforehand(
    name: str, problem: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigurationError, match=problem):
        check_writable([tmp_path / name])


def test_a_file_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "a.png").mkdir()
    with pytest.raises(ConfigurationError, match="can't be written"):
        draw(heat_map(2), [tmp_path / "a.png"])
