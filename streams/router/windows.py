"""Windows of figures per adapter version and variant, counted from the responses topic. Pure.

A response counts in the window of its creation, in the partition it was read from, and its
offset leaves with the record that counts it. Whoever writes the record and marks its offsets
as finished in one transaction counts each response exactly once, whatever is killed.
"""

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TypeAlias

from schemas.records import AdapterMetrics, Response
from streams.telemetry.responses import adapter_of, rejected_by_arm, variant_of
from streams.telemetry.tally import Tally

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)

#: Adapter and variant; none of the latter where the split had no say.
_Arm: TypeAlias = tuple[str, str | None]


def _to_ms(at: datetime) -> int:
    return (at - _EPOCH) // _MILLISECOND


def _from_ms(ms: int) -> datetime:
    return _EPOCH + ms * _MILLISECOND


@dataclass(frozen=True, slots=True)
class ClosedWindow:
    """A record to write, and the offsets of the responses counted in it, in rising order.

    The offsets are those of ``record.source_partition``. ``others`` are written with it: they
    count rejects alone, whose responses are counted where they were answered.
    """

    record: AdapterMetrics
    offsets: tuple[int, ...]
    others: tuple[AdapterMetrics, ...] = ()


class _Window:
    """One partition's responses of one stretch of time, by adapter and variant."""

    __slots__ = ("newest_ms", "offsets", "tallies")

    def __init__(self) -> None:
        self.newest_ms = 0
        self.tallies: dict[_Arm, Tally] = {}
        self.offsets: dict[_Arm, list[int]] = {}

    def add(self, offset: int, response: Response, time_ms: int) -> None:
        arm = adapter_of(response), variant_of(response)
        self._tally(arm).add(response)
        self.offsets.setdefault(arm, []).append(offset)
        if (rejected_by := rejected_by_arm(response)) is not None:
            self._tally(rejected_by).num_rejects += 1
        self.newest_ms = max(self.newest_ms, time_ms)

    def close(self, partition: int, start_ms: int, length_ms: int) -> list[ClosedWindow]:
        start, end = _from_ms(start_ms), _from_ms(start_ms + length_ms)
        arms = sorted(self.tallies, key=lambda arm: (arm[0], arm[1] or ""))
        records = {
            arm: replace(self.tallies[arm].record(arm[0], partition, start, end), variant=arm[1])
            for arm in arms
        }
        others = tuple(record for arm, record in records.items() if arm not in self.offsets)
        first, *rest = (arm for arm in arms if arm in self.offsets)
        return [
            ClosedWindow(records[first], tuple(self.offsets[first]), others),
            *(ClosedWindow(records[arm], tuple(self.offsets[arm])) for arm in rest),
        ]

    def _tally(self, arm: _Arm) -> Tally:
        tally = self.tallies.get(arm)
        if tally is None:
            tally = self.tallies[arm] = Tally()
        return tally


class _Partition:
    """The open windows of one partition, by start in epoch milliseconds."""

    __slots__ = ("closed_until_ms", "is_flowing", "open")

    def __init__(self) -> None:
        self.open: dict[int, _Window] = {}
        self.closed_until_ms = 0
        self.is_flowing = False

    def watermark_ms(self, now_ms: int, window_ms: int) -> int:
        """The time up to which responses are taken to have arrived.

        While they arrive it is their own time, so that a backlog lands in its own windows;
        once none came since the last look it is now.
        """
        if not self.is_flowing:
            return now_ms
        believable = [w.newest_ms for start, w in self.open.items() if start <= now_ms + window_ms]
        return min(now_ms, max(believable, default=0))


class MetricWindows:
    """The open windows of all partitions that are read here.

    A window closes ``grace_seconds`` after its end. A response that comes later counts in the
    window after the last closed one; so one that is read in order of time never has two
    records of one adapter and variant. (Whoever takes a partition over does not know its
    predecessor's windows: a late response then makes a second record, and readers add up.)
    """

    def __init__(self, window_seconds: float = 10.0, grace_seconds: float = 2.0) -> None:
        self._window_ms = round(window_seconds * 1000)
        self._grace_ms = round(grace_seconds * 1000)
        if self._window_ms < 1 or self._grace_ms < 0:
            raise ValueError("a window takes time, and its grace is not negative")
        self._partitions: dict[int, _Partition] = {}
        self._late = 0

    @property
    def late(self) -> int:
        """Responses counted in a later window than their own, ever since the start."""
        return self._late

    def add(self, partition: int, offset: int, response: Response, at: datetime) -> None:
        """Count a response; its offset must be new here.

        ``at`` is the Kafka record's own time: it stands in for a missing ``created_at``, and
        caps one that lies ahead of it.
        """
        windows = self._partitions.get(partition)
        if windows is None:
            windows = self._partitions[partition] = _Partition()
        windows.is_flowing = True
        created = response.created_at
        time_ms = _to_ms(at if created is None else min(created, at))
        if time_ms < windows.closed_until_ms:
            self._late += 1
            time_ms = windows.closed_until_ms
        start_ms = time_ms - time_ms % self._window_ms
        window = windows.open.get(start_ms)
        if window is None:
            window = windows.open[start_ms] = _Window()
        window.add(offset, response, time_ms)

    def drop(self, partition: int) -> None:
        """Forget a partition; its next reader counts again what was not written."""
        self._partitions.pop(partition, None)

    def close(self, now: datetime) -> list[ClosedWindow]:
        """The windows that are over, in order of partition, time and adapter."""
        now_ms = _to_ms(now)
        return [
            closed
            for number, windows in sorted(self._partitions.items())
            for closed in self._close(number, windows, now_ms)
        ]

    def _close(self, number: int, windows: _Partition, now_ms: int) -> list[ClosedWindow]:
        until_ms = windows.watermark_ms(now_ms, self._window_ms) - self._grace_ms
        windows.is_flowing = False
        closed: list[ClosedWindow] = []
        for start_ms in sorted(windows.open):
            written_as = start_ms
            if start_ms + self._window_ms <= until_ms:
                windows.closed_until_ms = start_ms + self._window_ms
            elif start_ms > now_ms + self._window_ms:
                # A clock far ahead: written under the present time, or it would hold its
                # offsets until then. A clock a little ahead only waits for its window's end.
                written_as = now_ms - now_ms % self._window_ms
            else:
                continue
            closed += windows.open.pop(start_ms).close(number, written_as, self._window_ms)
        return closed
