"""What the judging router shows of the trials of canaries."""

from collections.abc import Iterable

from prometheus_client import CollectorRegistry

from streams.telemetry import names
from streams.telemetry.families import counter, gauge


class CanaryMetrics:
    """Evidence of each trial that goes on, and the verdicts."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._evidence = gauge(names.CANARY_EVIDENCE, registry)
        self._verdicts = counter(names.CANARY_VERDICTS, registry)

    def show(self, family: str, adapter: str, evidence: Iterable[tuple[str, str, float]]) -> None:
        """Take the evidence by measure and by what it is towards, "worse" or "fine"."""
        for measure, towards, part in evidence:
            self._evidence.labels(family, adapter, measure, towards).set(part)

    def forget(self, family: str) -> None:
        """The trial is over, or another router's."""
        self._evidence.remove_by_labels({"family": family})

    def count_verdict(self, outcome: str) -> None:
        """Count a trial that was decided here."""
        self._verdicts.labels(outcome).inc()
