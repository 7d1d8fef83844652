"""Windows of figures per adapter version, counted from the responses topic exactly once.

Pure: offsets, responses and times come in, records and the state to commit come out.

What makes a crash harmless is a pair kept beside the committed offset, ``emitted_until`` E
and ``read_until`` R. Windows are written in order of time, and a response older than E counts
at E. So when windows up to E were written, all responses read by then (offset below R) whose
time is before E were in them, and nothing else was. The committed offset is that of the
oldest response in an open window; what is read from there again is skipped if its offset is
below R and its time before E, and counted otherwise. Until R is reached again no window is
closed: a smaller R would forget which late responses were written.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Final

from schemas.records import AdapterMetrics, Response
from streams.telemetry.metrics import adapter_of
from streams.telemetry.sketch import Quantiles, decode, encode

MERGED_PARTITIONS: Final = -1
"""``source_partition`` of a record that was merged from several partitions."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
_STATE_VERSION = "1"


def _to_ms(at: datetime) -> int:
    return (at - _EPOCH) // _MILLISECOND


def _from_ms(ms: int) -> datetime:
    return _EPOCH + ms * _MILLISECOND


@dataclass(frozen=True, slots=True)
class PartitionState:
    """Which responses of a partition were written to metrics: those below both bounds.

    ``emitted_until_ms``: end of the newest window written, in epoch milliseconds.
    ``read_until``: the offset after the last response read when it was written.
    """

    emitted_until_ms: int = 0
    read_until: int = 0


def encode_state(state: PartitionState) -> str:
    """``state`` as metadata of an offset commit, some 30 characters."""
    return f"{_STATE_VERSION}:{state.emitted_until_ms}:{state.read_until}"


def decode_state(text: str) -> PartitionState:
    """The state in an offset commit's metadata; no metadata is a partition never written.

    Raises ValueError where the text is not from ``encode_state``.
    """
    if not text:
        return PartitionState()
    version, *numbers = text.split(":")
    if version != _STATE_VERSION or len(numbers) != 2:
        raise ValueError(f"not the state of metric windows: {text!r}")
    return PartitionState(int(numbers[0]), int(numbers[1]))


@dataclass(slots=True)
class _Tally:
    """One adapter version in one window."""

    num_requests: int = 0
    num_errors: int = 0
    latency_sum_ms: float = 0.0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    total: Quantiles = field(default_factory=Quantiles)
    first_token: Quantiles = field(default_factory=Quantiles)
    queue: Quantiles = field(default_factory=Quantiles)

    def add(self, response: Response) -> None:
        timing, usage = response.timing, response.usage
        self.num_requests += 1
        self.num_errors += response.status != "ok"
        self.prompt_tokens += usage.prompt_tokens
        self.completion_tokens += usage.completion_tokens
        if timing.total_ms is not None:
            self.latency_sum_ms += timing.total_ms
            self.total.add(timing.total_ms)
        if timing.first_token_ms is not None:
            self.first_token.add(timing.first_token_ms)
        if timing.queue_ms is not None:
            self.queue.add(timing.queue_ms)

    def absorb(self, record: AdapterMetrics) -> None:
        total, first_token, queue = decode(record.sketch)
        self.num_requests += record.num_requests
        self.num_errors += record.num_errors
        self.prompt_tokens += record.prompt_tokens
        self.completion_tokens += record.completion_tokens
        self.latency_sum_ms += (record.avg_latency_ms or 0.0) * total.count
        self.total.merge(total)
        self.first_token.merge(first_token)
        self.queue.merge(queue)

    def record(
        self, adapter: tuple[str, str], source_partition: int, start: datetime, end: datetime
    ) -> AdapterMetrics:
        seconds = (end - start).total_seconds()
        timed = self.total.count
        return AdapterMetrics(
            adapter_id=adapter[0],
            adapter_version=adapter[1],
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
            sketch=encode(self.total, self.first_token, self.queue),
        )


class _Window:
    """The responses of one partition in one stretch of time."""

    __slots__ = ("first_offset", "tallies")

    def __init__(self, first_offset: int) -> None:
        self.first_offset = first_offset
        self.tallies: defaultdict[str, _Tally] = defaultdict(_Tally)


class PartitionWindows:
    """The open windows of one partition of responses."""

    def __init__(self, partition: int, window_ms: int, state: PartitionState) -> None:
        self.partition = partition
        self.state = state
        self.late = 0
        self._window_ms = window_ms
        self._next_offset: int | None = None
        self._newest_ms = 0
        self._open: dict[int, _Window] = {}

    @property
    def commit_offset(self) -> int | None:
        """The offset before which every response is in a written window; None: nothing read."""
        if not self._open:
            return self._next_offset
        return min(window.first_offset for window in self._open.values())

    def add(self, offset: int, response: Response, at_ms: int) -> bool:
        """Count a response; False if it was counted before."""
        if self._next_offset is not None and offset < self._next_offset:
            return False
        self._next_offset = offset + 1
        created = response.created_at
        time_ms = at_ms if created is None else min(_to_ms(created), at_ms)
        self._newest_ms = max(self._newest_ms, time_ms)
        if time_ms < self.state.emitted_until_ms:
            if offset < self.state.read_until:
                return False
            self.late += 1
            time_ms = self.state.emitted_until_ms
        start_ms = time_ms - time_ms % self._window_ms
        window = self._open.get(start_ms)
        if window is None:
            window = self._open[start_ms] = _Window(offset)
        window.tallies[adapter_of(response)].add(response)
        return True

    def close(self, watermark_ms: int) -> list[AdapterMetrics]:
        """The windows that end by the watermark, as records in order of time and adapter."""
        if self._next_offset is None or self._next_offset < self.state.read_until:
            return []
        closed = sorted(start for start in self._open if start + self._window_ms <= watermark_ms)
        if not closed:
            # Without a written window the state stays: a late response that was only read
            # would else be taken for one that was written.
            return []
        windows = [(start, self._open.pop(start)) for start in closed]
        self.state = PartitionState(closed[-1] + self._window_ms, self._next_offset)
        return [
            window.tallies[adapter].record(
                _split(adapter), self.partition, _from_ms(start), _from_ms(start + self._window_ms)
            )
            for start, window in windows
            for adapter in sorted(window.tallies)
        ]

    def event_watermark_ms(self, now_ms: int) -> int:
        """Time of the newest response read, and never later than now."""
        return min(self._newest_ms, now_ms)


class MetricWindows:
    """The windows of all partitions that are assigned here.

    A response counts in the window of its ``created_at``, in the partition it was read from.
    Windows close ``grace_seconds`` after their end; a response that comes later still counts
    in the next window that closes.
    """

    def __init__(self, window_seconds: float = 10.0, grace_seconds: float = 2.0) -> None:
        self._window_ms = round(window_seconds * 1000)
        self._grace_ms = round(grace_seconds * 1000)
        if self._window_ms < 1 or self._grace_ms < 0:
            raise ValueError("a window takes time, and its grace is not negative")
        self._partitions: dict[int, PartitionWindows] = {}
        self._late_before = 0

    @property
    def late(self) -> int:
        """Responses counted in a later window than their own, since this object was made."""
        return self._late_before + sum(windows.late for windows in self._partitions.values())

    def assign(self, partition: int, state: str = "") -> None:
        """Begin a partition anew, with the metadata of its committed offset.

        Raises ValueError where ``state`` is not from ``encode_state``.
        """
        committed = decode_state(state)
        self.revoke(partition)
        self._partitions[partition] = PartitionWindows(partition, self._window_ms, committed)

    def revoke(self, partition: int) -> None:
        """Forget a partition; whoever reads on does so from its committed offset and state."""
        windows = self._partitions.pop(partition, None)
        self._late_before += 0 if windows is None else windows.late

    def add(self, partition: int, offset: int, response: Response, at: datetime) -> bool:
        """Count a response; False if it was counted before, here or before a crash.

        Offsets of a partition must rise. ``at`` is the Kafka record's own timestamp, which is
        the same on every reading; it stands in for a missing ``created_at`` and caps one that
        lies ahead of it.
        """
        return self._assigned(partition).add(offset, response, _to_ms(at))

    def close(
        self,
        now: datetime,
        partitions: Collection[int] | None = None,
        behind: Collection[int] = frozenset(),
    ) -> list[AdapterMetrics]:
        """The records of all windows that are over, of all partitions or of those given.

        ``behind`` are the partitions whose end the reader has not reached: theirs close by the
        times of the responses read, not by ``now``, so that a backlog lands in its own windows.
        Commit the records together with ``commit_offset`` and ``encode_state`` in one
        transaction. If that fails, ``assign`` the partition again from what is committed.
        """
        now_ms = _to_ms(now)
        records: list[AdapterMetrics] = []
        for partition in sorted(self._partitions if partitions is None else partitions):
            windows = self._assigned(partition)
            seen_ms = windows.event_watermark_ms(now_ms) if partition in behind else now_ms
            records += windows.close(seen_ms - self._grace_ms)
        return records

    def commit_offset(self, partition: int) -> int | None:
        """The offset to commit: the first in an open window, else the next to read.

        None before anything was read: leave the committed offset as it is.
        """
        return self._assigned(partition).commit_offset

    def encode_state(self, partition: int) -> str:
        """The metadata to commit with ``commit_offset``."""
        return encode_state(self._assigned(partition).state)

    def _assigned(self, partition: int) -> PartitionWindows:
        if partition not in self._partitions:
            raise LookupError(f"partition {partition} is not assigned")
        return self._partitions[partition]


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
    tally = _Tally()
    for part in parts:
        tally.absorb(part)
    partitions = {part.source_partition for part in parts}
    merged = tally.record(
        adapters.pop(),
        partitions.pop() if len(partitions) == 1 else MERGED_PARTITIONS,
        min(part.window_start for part in parts),
        max(part.window_end for part in parts),
    )
    if span is None:
        return merged
    return replace(merged, throughput_qps=merged.num_requests / span.total_seconds())


def merge_by_adapter(
    records: Iterable[AdapterMetrics], span: timedelta | None = None
) -> Mapping[tuple[str, str], AdapterMetrics]:
    """``merge`` of each adapter version's records, by (adapter_id, adapter_version), sorted."""
    groups: dict[tuple[str, str], list[AdapterMetrics]] = {}
    for record in records:
        groups.setdefault((record.adapter_id, record.adapter_version), []).append(record)
    return {adapter: merge(groups[adapter], span) for adapter in sorted(groups)}


def _split(adapter: str) -> tuple[str, str]:
    """``id@version`` as id and version; the base model has no version."""
    adapter_id, _, version = adapter.partition("@")
    return adapter_id, version
