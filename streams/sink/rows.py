"""Records as rows, and rows of several versions as one; pure."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, TypeAlias

from schemas.records import AdapterMetrics
from streams.sink.tables import BY_ADAPTER, BY_VERSION
from streams.telemetry.tally import MERGED_PARTITIONS, merge

#: Adapter id, version, start of the window; and without the version.
VersionKey: TypeAlias = tuple[str, str, datetime]
AdapterKey: TypeAlias = tuple[str, datetime]


def version_key(record: AdapterMetrics) -> VersionKey:
    """The row of `adapter_version_metrics` that a record counts in."""
    return record.adapter_id, record.adapter_version, record.window_start


def adapter_key(record: AdapterMetrics) -> AdapterKey:
    """The row of `adapter_metrics` that a record counts in."""
    return record.adapter_id, record.window_start


def by_version(records: Iterable[AdapterMetrics]) -> list[AdapterMetrics]:
    """One record for each version and window: what counts in one row, added up.

    One that has its row to itself stays as it is.
    """
    groups: defaultdict[VersionKey, list[AdapterMetrics]] = defaultdict(list)
    for record in records:
        groups[version_key(record)].append(record)
    ordered = (groups[key] for key in sorted(groups))
    return [merge(group) if len(group) > 1 else group[0] for group in ordered]


def by_adapter(records: Iterable[AdapterMetrics]) -> list[AdapterMetrics]:
    """One record for each adapter id and window: its versions added up, named by none."""
    return by_version(replace(record, adapter_version="") for record in records)


def version_row(record: AdapterMetrics) -> Sequence[object]:
    """The columns of `adapter_version_metrics`."""
    return [_value(record, name) for name in BY_VERSION.columns]


def adapter_row(record: AdapterMetrics) -> Sequence[object]:
    """The columns of `adapter_metrics`."""
    return [_value(record, name) for name in BY_ADAPTER.columns]


def from_version_row(row: Sequence[Any]) -> AdapterMetrics:
    """The record that `version_row` made a row of."""
    values = dict(zip(BY_VERSION.columns, row, strict=True))
    start = values.pop("timestamp")
    return AdapterMetrics(window_start=start, source_partition=MERGED_PARTITIONS, **values)


def _value(record: AdapterMetrics, column: str) -> object:
    return getattr(record, "window_start" if column == "timestamp" else column)
