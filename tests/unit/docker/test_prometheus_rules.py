"""Rules name metrics and labels that are there."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from streams.telemetry.names import ALL

PROMETHEUS = Path(__file__).parents[3] / "docker" / "prometheus"
METRICS = {metric.name: metric for metric in ALL}
_NAME = re.compile(r"\blorelay_\w+")
_RECORDED = re.compile(r"\b\w+(?::\w+)+\b")
_GROUPING = re.compile(r"\bby \(([^)]*)\)")


def rules(kind: str) -> list[Any]:
    return [
        pytest.param(rule, id=rule[kind])
        for file in sorted((PROMETHEUS / "rules").glob("*.yml"))
        for group in yaml.safe_load(file.read_text())["groups"]
        for rule in group["rules"]
        if kind in rule
    ]


ALERTS, RECORDED = rules("alert"), rules("record")


def metrics_of(expression: str) -> set[str]:
    names = _NAME.findall(_RECORDED.sub("", expression))
    return {re.sub("_(bucket|sum|count)$", "", name) for name in names}


@pytest.mark.parametrize("rule", [*ALERTS, *RECORDED])
def test_every_metric_of_a_rule_is_one_of_ours(rule: dict[str, Any]) -> None:
    found = metrics_of(rule["expr"])
    assert found
    assert found <= set(METRICS)


@pytest.mark.parametrize("rule", RECORDED)
def test_what_is_recorded_is_named_by_the_labels_that_it_keeps(rule: dict[str, Any]) -> None:
    level, _, _ = rule["record"].rpartition(":lorelay_")
    kept = [names.replace(", le", "") for names in _GROUPING.findall(rule["expr"])]
    assert {names.replace(", ", "_") for names in kept} <= {level}


@pytest.mark.parametrize("rule", ALERTS)
def test_every_label_that_an_alert_groups_by_or_names_is_one_of_its_metrics(
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


@pytest.mark.parametrize("rule", ALERTS)
def test_every_alert_says_how_bad_it_is_and_what_to_do(rule: dict[str, Any]) -> None:
    assert rule["labels"]["severity"] in ("warning", "critical")
    assert {"summary", "description"} <= set(rule["annotations"])


def test_every_alert_is_tried_out() -> None:
    trials = yaml.safe_load((PROMETHEUS / "tests" / "alerts.yml").read_text())["tests"]
    tried = {
        expectation["alertname"]
        for trial in trials
        for expectation in trial["alert_rule_test"]
        if expectation.get("exp_alerts")
    }
    assert tried == {param.id for param in ALERTS}
