"""Dashboards are as the code has them, and ask for what is there."""

import json
import re
from typing import Any

import pytest
import yaml

from dashboards.__main__ import FOLDER, texts
from streams.telemetry.names import ALL

METRICS = {metric.name for metric in ALL}
RULES = FOLDER.parent / "prometheus" / "rules" / "recorded.yml"
RECORDED = {
    rule["record"]
    for group in yaml.safe_load(RULES.read_text())["groups"]
    for rule in group["rules"]
}
_NAME = re.compile(r"\b\w*:?lorelay_\w+(?::\w+)?\b")


def panels(page: dict[str, Any]) -> list[dict[str, Any]]:
    return [panel for panel in page["panels"] if panel["type"] != "row"]


def pages() -> list[Any]:
    return [pytest.param(json.loads(text), id=name) for name, text in texts().items()]


def test_the_files_are_as_the_code_has_them() -> None:
    there = {path.name: path.read_text("utf-8") for path in FOLDER.glob("*.json")}
    assert there == texts(), "docker/grafana is stale: run `make dashboards`"


@pytest.mark.parametrize("page", pages())
def test_every_query_names_metrics_that_are_there(page: dict[str, Any]) -> None:
    for panel in panels(page):
        assert panel["targets"], panel["title"]
        for target in panel["targets"]:
            names = {re.sub("_(bucket|sum|count)$", "", n) for n in _NAME.findall(target["expr"])}
            assert names
            assert names <= METRICS | RECORDED


@pytest.mark.parametrize("page", pages())
def test_every_panel_says_what_it_shows(page: dict[str, Any]) -> None:
    titles = [panel["title"] for panel in panels(page)]
    assert len(titles) == len(set(titles))
    for panel in panels(page):
        assert panel["description"]
        assert panel["fieldConfig"]["defaults"]["unit"]


@pytest.mark.parametrize("page", pages())
def test_panels_fill_their_rows_and_lie_beside_each_other(page: dict[str, Any]) -> None:
    taken: set[tuple[int, int]] = set()
    for panel in page["panels"]:
        place = panel["gridPos"]
        cells = {
            (place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])
        }
        assert not cells & taken, panel["title"]
        assert place["x"] + place["w"] <= 24
        taken |= cells
