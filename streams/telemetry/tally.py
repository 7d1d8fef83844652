"""Responses as figures, and figures of several windows and partitions as one. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Final

from schemas.records import AdapterMetrics, Response
from streams.telemetry.sketch import Quantiles, decode, encode

MERGED_PARTITIONS: Final = -1
"""``source_partition`` of a record that was merged from several partitions."""


@dataclass(slots=True)
class Tally:
    """What responses add up to.

    ``waited`` is the part of ``total`` that waited for an adapter to be loaded. A trial alone asks
    for that, of records as they are written: `absorb` leaves it out.
    """

    num_requests: int = 0
    num_errors: int = 0
    num_rejects: int = 0
    latency_sum_ms: float = 0.0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    total: Quantiles = field(default_factory=Quantiles)
    first_token: Quantiles = field(default_factory=Quantiles)
    queue: Quantiles = field(default_factory=Quantiles)
    waited: Quantiles = field(default_factory=Quantiles)

    def add(self, response: Response) -> None:
        """Count a response."""
        timing, usage = response.timing, response.usage
        self.num_requests += 1
        self.num_errors += response.status != "ok"
        self.prompt_tokens += usage.prompt_tokens
        self.completion_tokens += usage.completion_tokens
        if timing.total_ms is not None:
            self.latency_sum_ms += timing.total_ms
            self.total.add(timing.total_ms)
            if timing.load_ms is not None:
                self.waited.add(timing.total_ms)
        if timing.first_token_ms is not None:
            self.first_token.add(timing.first_token_ms)
        if timing.queue_ms is not None:
            self.queue.add(timing.queue_ms)

    def absorb(self, record: AdapterMetrics) -> None:
        """Count all that a record counts. Raises ValueError where its sketch is none of ours."""
        total, first_token, queue = decode(record.sketch)
        self.merge(
            Tally(
                num_requests=record.num_requests,
                num_errors=record.num_errors,
                num_rejects=record.num_rejects,
                latency_sum_ms=(record.avg_latency_ms or 0.0) * total.count,
                prompt_tokens=record.prompt_tokens,
                completion_tokens=record.completion_tokens,
                total=total,
                first_token=first_token,
                queue=queue,
            )
        )

    def merge(self, other: "Tally") -> None:
        """Count all that `other` has counted."""
        self.num_requests += other.num_requests
        self.num_errors += other.num_errors
        self.num_rejects += other.num_rejects
        self.prompt_tokens += other.prompt_tokens
        self.completion_tokens += other.completion_tokens
        self.latency_sum_ms += other.latency_sum_ms
        self.total.merge(other.total)
        self.first_token.merge(other.first_token)
        self.queue.merge(other.queue)
        self.waited.merge(other.waited)

    def record(
        self, adapter: str, source_partition: int, start: datetime, end: datetime
    ) -> AdapterMetrics:
        """The figures as a record; ``adapter`` is ``id@version``, or a name without version."""
        adapter_id, _, version = adapter.partition("@")
        seconds = (end - start).total_seconds()
        timed = self.total.count
        return AdapterMetrics(
            adapter_id=adapter_id,
            adapter_version=version,
            source_partition=source_partition,
            window_start=start,
            window_end=end,
            num_requests=self.num_requests,
            num_errors=self.num_errors,
            avg_latency_ms=self.latency_sum_ms / timed if timed else None,
            p50_latency_ms=self.total.at(0.5),
            p95_latency_ms=self.total.at(0.95),
            p99_latency_ms=self.total.at(0.99),
            error_rate=self.num_errors / self.num_requests if self.num_requests else 0.0,
            throughput_qps=self.num_requests / seconds if seconds > 0 else 0.0,
            p50_first_token_ms=self.first_token.at(0.5),
            p95_first_token_ms=self.first_token.at(0.95),
            p50_queue_ms=self.queue.at(0.5),
            p95_queue_ms=self.queue.at(0.95),
            prompt_tokens=self.prompt_tokens,
            completion_tokens=self.completion_tokens,
            sketch=encode(self.total, self.first_token, self.queue, self.waited),
            num_rejects=self.num_rejects,
        )


def merge(records: Iterable[AdapterMetrics], span: timedelta | None = None) -> AdapterMetrics:
    """One adapter version's records of several partitions and windows as one.

    Counts add up, quantiles come from the merged sketches. Throughput is over ``span``, by
    default the time between the first window's start and the last one's end, idle time
    included. Raises ValueError for no records, or records of several adapter versions.
    """
    parts = list(records)
    adapters = {(part.adapter_id, part.adapter_version) for part in parts}
    if len(adapters) != 1:
        raise ValueError(f"records of one adapter version can be merged, not of {len(adapters)}")
    tally = Tally()
    for part in parts:
        tally.absorb(part)
    partitions = {part.source_partition for part in parts}
    merged = tally.record(
        "@".join(adapters.pop()),
        partitions.pop() if len(partitions) == 1 else MERGED_PARTITIONS,
        min(part.window_start for part in parts),
        max(part.window_end for part in parts),
    )
    if span is None:
        return merged
    return replace(merged, throughput_qps=merged.num_requests / span.total_seconds())


def combined(
    records: Iterable[AdapterMetrics], name: str, span: timedelta
) -> AdapterMetrics | None:
    """Records of any adapter versions as one, of that name and without a version; None of none."""
    renamed = [replace(record, adapter_id=name, adapter_version="") for record in records]
    return merge(renamed, span) if renamed else None


def newest(records: Iterable[AdapterMetrics], length: timedelta) -> list[AdapterMetrics]:
    """Each adapter version's records as one, over the newest ``length`` that is written.

    Ordered by adapter. Throughput is over ``length``, or over what the records cover if that
    is longer, as it is where windows are longer than ``length``.
    """
    everything = list(records)
    if not everything:
        return []
    end = max(record.window_end for record in everything)
    seen = [record for record in everything if record.window_end > end - length]
    span = max(length, end - min(record.window_start for record in seen))
    by_adapter: dict[tuple[str, str], list[AdapterMetrics]] = {}
    for record in seen:
        by_adapter.setdefault((record.adapter_id, record.adapter_version), []).append(record)
    return [merge(by_adapter[adapter], span) for adapter in sorted(by_adapter)]
