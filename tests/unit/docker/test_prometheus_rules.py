"""Alert rules name metrics and labels that are there."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from streams.telemetry.names import ALL

RULES = Path(__file__).parents[3] / "docker" / "prometheus" / "rules"
METRICS = {metric.name: metric for metric in ALL}
_NAME = re.compile(r"\blorelay_\w+")
_GROUPING = re.compile(r"\bby \(([^)]*)\)")


def rules() -> list[Any]:
    return [
        pytest.param(rule, id=rule["alert"])
        for file in sorted(RULES.glob("*.yml"))
        for group in yaml.safe_load(file.read_text())["groups"]
        for rule in group["rules"]
    ]


def metrics_of(expression: str) -> set[str]:
    return {re.sub("_(bucket|sum|count)$", "", name) for name in _NAME.findall(expression)}


@pytest.mark.parametrize("rule", rules())
def test_every_metric_of_a_rule_is_one_of_ours(rule: dict[str, Any]) -> None:
    found = metrics_of(rule["expr"])
    assert found
    assert found <= set(METRICS)


@pytest.mark.parametrize("rule", rules())
def test_every_label_that_a_rule_groups_by_or_names_is_one_of_its_metrics(
    rule: dict[str, Any],
) -> None:
    labels = {
        label for name in metrics_of(rule["expr"]) & set(METRICS) for label in METRICS[name].labels
    }
    grouped = {
        label.strip() for group in _GROUPING.findall(rule["expr"]) for label in group.split(",")
    }
    named = set(re.findall(r"\$labels\.(\w+)", str(rule["annotations"])))
    assert grouped <= labels
    assert named <= grouped


@pytest.mark.parametrize("rule", rules())
def test_every_rule_says_how_bad_it_is_and_what_to_do(rule: dict[str, Any]) -> None:
    assert rule["labels"]["severity"] in ("warning", "critical")
    assert {"summary", "description"} <= set(rule["annotations"])
