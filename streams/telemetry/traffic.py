"""What the router shows of the traffic splits it goes by."""

from collections.abc import Iterable, Sequence

from prometheus_client import CollectorRegistry

from schemas.records import TrafficShare
from streams.telemetry import names
from streams.telemetry.families import gauge
from streams.telemetry.names import OTHER
from streams.telemetry.responses import AdapterLabels


class TrafficMetrics:
    """The share of each version, and the revision of each family's split."""

    def __init__(self, registry: CollectorRegistry, labels: AdapterLabels) -> None:
        self._labels = labels
        self._share = gauge(names.TRAFFIC_SHARE, registry)
        self._revision = gauge(names.TRAFFIC_REVISION, registry)
        self._shown: dict[str, tuple[int, tuple[TrafficShare, ...]]] = {}

    def show(self, splits: Iterable[tuple[str, int, Sequence[TrafficShare]]]) -> None:
        """Take these families with their revisions and shares for the whole of what there is."""
        found = {family: (revision, tuple(shares)) for family, revision, shares in splits}
        for family in self._shown.keys() - found.keys():
            self._forget(family, self._shown.pop(family)[1], ())
            self._revision.remove(family)
        for family, (revision, shares) in found.items():
            before = self._shown.get(family)
            if before == (revision, shares):
                continue
            self._set(family, revision, shares)
            self._forget(family, before[1] if before else (), shares)
            self._shown[family] = revision, shares

    def _set(self, family: str, revision: int, shares: Sequence[TrafficShare]) -> None:
        total = sum(share.weight for share in shares)
        for share in shares:
            if self._labels.label(share.adapter) != OTHER:
                labels = (family, share.adapter, share.variant or "")
                self._share.labels(*labels).set(share.weight / total)
        self._revision.labels(family).set(revision)

    def _forget(
        self, family: str, before: Sequence[TrafficShare], now: Sequence[TrafficShare]
    ) -> None:
        kept = {(share.adapter, share.variant) for share in now}
        for share in before:
            if (share.adapter, share.variant) not in kept:
                labels = {"family": family, "adapter": share.adapter}
                self._share.remove_by_labels(labels | {"variant": share.variant or ""})
