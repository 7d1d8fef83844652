"""Records whose headers have names that are no UTF-8 are read all the same.

Kafka's protocol calls the name of a header a text, but its brokers take any bytes. aiokafka raises
at such a record each time it is fetched, and whoever reads the topic never gets beyond it.
"""

from collections.abc import Iterator
from typing import Any

import aiokafka.consumer.fetcher
import aiokafka.record.memory_records
from aiokafka.record.default_records import DefaultRecordBatch, _DefaultRecordBatchPy
from aiokafka.record.memory_records import _MemoryRecordsPy


class _Text(bytearray):
    """Bytes that are a text somehow, and so are their parts."""

    def __getitem__(self, at: Any) -> Any:
        found = super().__getitem__(at)
        return _Text(found) if isinstance(at, slice) else found

    def decode(self, encoding: str = "utf-8", errors: str = "replace") -> str:
        return bytes(self).decode(encoding, "replace")


class _Batch:
    """aiokafka's own batch, whose records are read once more, in Python, where it raises."""

    def __init__(self, data: memoryview) -> None:
        self._data = data
        self._batch: Any = DefaultRecordBatch(data)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._batch, name)

    def __next__(self) -> Any:
        return next(self._batch)

    def __iter__(self) -> Iterator[Any]:
        count = 0
        try:
            for record in self._batch:
                count += 1
                yield record
        except UnicodeDecodeError:
            yield from self._read_leniently()[count:]

    def _read_leniently(self) -> list[Any]:
        batch: Any = _DefaultRecordBatchPy(self._data)
        batch._maybe_uncompress()
        batch._buffer = _Text(batch._buffer)
        return list(batch)


def install() -> None:
    """For every consumer of this process."""
    aiokafka.record.memory_records.DefaultRecordBatch = _Batch
    aiokafka.consumer.fetcher.MemoryRecords = _MemoryRecordsPy
