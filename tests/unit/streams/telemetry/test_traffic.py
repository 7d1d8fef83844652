import pytest
from prometheus_client import CollectorRegistry

from schemas.records import TrafficShare
from streams.telemetry.responses import AdapterLabels
from streams.telemetry.traffic import TrafficMetrics

V1 = TrafficShare("legal-qa-v1@1.0.0", 90.0, "v1")
V2 = TrafficShare("legal-qa-v2@2.0.0", 10.0, "v2")


class Shown:
    """The metrics of a process that knows these two versions."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        labels = AdapterLabels()
        labels.learn([V1.adapter, V2.adapter])
        self.metrics = TrafficMetrics(self.registry, labels)

    def share(self, share: TrafficShare) -> float | None:
        labels = {"family": "legal-qa", "adapter": share.adapter, "variant": share.variant or ""}
        return self.registry.get_sample_value("lorelay_router_traffic_share_ratio", labels)

    def revision(self) -> float | None:
        name = "lorelay_router_traffic_revision"
        return self.registry.get_sample_value(name, {"family": "legal-qa"})


@pytest.fixture
def shown() -> Shown:
    return Shown()


def test_each_arm_has_its_part_of_the_whole(shown: Shown) -> None:
    shown.metrics.show([("legal-qa", 3, (V1, V2))])
    assert (shown.share(V1), shown.share(V2), shown.revision()) == (0.9, 0.1, 3)


def test_an_arm_that_leaves_is_shown_no_more(shown: Shown) -> None:
    shown.metrics.show([("legal-qa", 3, (V1, V2))])
    shown.metrics.show([("legal-qa", 4, (V2,))])
    assert (shown.share(V1), shown.share(V2), shown.revision()) == (None, 1.0, 4)
    shown.metrics.show([])
    assert (shown.share(V2), shown.revision()) == (None, None)


def test_a_version_without_a_label_of_its_own_makes_none_here(shown: Shown) -> None:
    shown.metrics.show([("legal-qa", 1, (TrafficShare("made-up-v1@1.0.0", 1.0, "v1"),))])
    samples = [s for f in shown.registry.collect() for s in f.samples if "share" in s.name]
    assert samples == []
