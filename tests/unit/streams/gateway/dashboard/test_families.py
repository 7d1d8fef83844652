"""Splits and canaries, as the registry has them."""

from datetime import timedelta

from schemas.records import Canary, Traffic, TrafficShare
from streams.gateway.dashboard.families import families
from streams.registry.reader import Registry
from tests.unit.streams.registry.factories import NOW, version


def registry(traffic: Traffic | None = None) -> Registry:
    made = Registry()
    versions = [
        version("legal-qa-v1"),
        version("legal-qa-v2", "2.0.0", status="canary"),
        version("legal-qa-v1", "0.9.0", status="retired"),
        version("medical-qa-v1", status="failed"),
    ]
    for offset, each in enumerate(versions):
        made.apply_version(each.key, each, offset)
    made.apply_traffic("legal-qa", traffic)
    return made


def test_a_split_shows_percent_state_and_trial() -> None:
    shares = (
        TrafficShare("legal-qa-v1@1.0.0", 3.0, "v1"),
        TrafficShare("legal-qa-v2@2.0.0", 1.0, "v2"),
    )
    canary = Canary(
        adapter="legal-qa-v2@2.0.0", share=25, started_at=NOW, ends_at=NOW + timedelta(minutes=30)
    )
    traffic = Traffic("legal-qa", 4, shares, "anna", NOW, canary=canary)
    legal, medical = families(registry(traffic))
    assert [(share["percent"], share["status"]) for share in legal["shares"]] == [
        (75.0, "active"),
        (25.0, "canary"),
    ]
    assert (legal["revision"], legal["updated_by"], legal["others"]) == (4, "anna", {"retired": 1})
    assert legal["canary"]["adapter"] == "legal-qa-v2@2.0.0"
    assert legal["canary"]["ends_at"] - legal["canary"]["started_at"] == 30 * 60 * 1000
    assert (medical["shares"], medical["others"]) == ([], {"failed": 1})


def test_without_a_split_the_newest_active_version_has_all() -> None:
    legal, _ = families(registry())
    assert [(share["adapter"], share["percent"]) for share in legal["shares"]] == [
        ("legal-qa-v1@1.0.0", 100.0)
    ]
    assert (legal["revision"], legal["canary"], legal["updated_at"]) == (0, None, None)
