"""A real Prometheus scrapes a running stack."""

import re

from streams.telemetry.names import ALL, Metric
from tests.system.prometheus import Prometheus, until

#: What no stack shows in a minute, and why.
NOT_SEEN = {
    "lorelay_router_canary_evidence_ratio": "no canary is on trial",
    "lorelay_router_canary_verdicts_total": "no canary was on trial",
    "lorelay_router_traffic_share_ratio": "no family's traffic is split",
    "lorelay_router_traffic_revision": "no family's traffic is split",
    "lorelay_variant_responses_total": "no family's traffic is split",
    "lorelay_worker_shadow_requests_total": "no version is in shadow",
    "lorelay_retention_lost_records_total": "no retention has deleted anything",
    "lorelay_router_drift_psi": "it takes 100 queries that are above an adapter's threshold",
    "lorelay_router_drift_psi_by_chance": "as lorelay_router_drift_psi",
    "lorelay_worker_adapter_load_seconds": "the echo engine loads nothing",
    "lorelay_worker_adapter_fetch_seconds": "no adapter lies elsewhere",
    "lorelay_gateway_feedback_total": "nobody said what an answer was worth",
    "lorelay_worker_retries_total": "the echo engine never fails",
}


def scraped_as(metric: Metric) -> str:
    return f"{metric.name}_bucket" if metric.kind == "histogram" else metric.name


def test_every_rule_is_evaluated_without_an_error(prometheus: Prometheus) -> None:
    def evaluated() -> list[dict[str, str]] | None:
        groups = prometheus.get("rules")["groups"]
        rules = [rule for group in groups for rule in group["rules"]]
        return rules if all(rule["health"] != "unknown" for rule in rules) else None

    rules = until(evaluated, "rules that were evaluated")
    assert [(r["name"], r.get("lastError")) for r in rules if r["health"] != "ok"] == []
    assert len(rules) == len({rule["name"] for rule in rules}) > 15


def test_every_recorded_figure_is_there(prometheus: Prometheus) -> None:
    groups = prometheus.get("rules")["groups"]
    recorded = {
        rule["name"] for group in groups for rule in group["rules"] if rule["type"] == "recording"
    }
    until(lambda: recorded <= prometheus.names(), f"all of {sorted(recorded)}")
    shares = prometheus.query("adapter:lorelay_response_errors:ratio5m")
    assert all(0 <= float(sample["value"][1]) <= 1 for sample in shares), shares


def test_every_documented_metric_is_scraped_or_explained(prometheus: Prometheus) -> None:
    seen = prometheus.names()
    missing = {metric.name for metric in ALL if scraped_as(metric) not in seen}
    assert missing <= set(NOT_SEEN)


def test_everything_scraped_is_documented(prometheus: Prometheus) -> None:
    own = {name for name in prometheus.names() if name.startswith(("lorelay_", "gen_ai_"))}
    recorded = {rule["name"] for g in prometheus.get("rules")["groups"] for rule in g["rules"]}
    bare = {re.sub("_(bucket|sum|count|created)$", "", name) for name in own - recorded}
    # Beside each counter stands when it was made, by the counter's name without its ending.
    assert bare <= {metric.name for metric in ALL} | {m.name.removesuffix("_total") for m in ALL}


def test_a_healthy_stack_raises_no_alert_but_of_its_dead_letter(prometheus: Prometheus) -> None:
    def firing() -> set[str]:
        alerts = prometheus.get("alerts")["alerts"]
        return {a["labels"]["alertname"] for a in alerts if a["state"] == "firing"}

    assert until(firing, "the alert of the dead letter") == {"LorelayDeadLetters"}
