"""What runs in this process, written down: should it die of a request, the next one knows which.

A crash of the engine alone is counted in the request's retry. When the kernel ends the worker
with it, as it does in a container without memory left, nobody is there to write one.

A file mapped into memory has a place for each request that runs, with how often that has begun
and not ended. It costs some microseconds, and what is written there outlives the process; not
the machine, so nothing is synced.
"""

import asyncio
import fcntl
import mmap
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from struct import Struct
from time import time
from typing import TypeAlias

from aiokafka import ConsumerRecord

from schemas.errors import ConfigurationError

#: Deaths, when the last of them began in seconds, and the record: partition, offset, time in ms.
_ENTRY = Struct("<Qdqqq")
_PLACES = 2048
#: What was in work for the last time so many seconds ago has been finished elsewhere.
_FORGET_AFTER_S = 86_400.0

Record: TypeAlias = ConsumerRecord  # of bytes keys and values
_Key: TypeAlias = tuple[int, int, int]


class Journal:
    """Counts, in a file of one worker's own, its deaths with a record in work.

    Without a file it counts nothing. Raises: ConfigurationError for one that can't be used.
    """

    def __init__(self, file: Path | None) -> None:
        self._places: dict[_Key, int] = {}
        self._deaths: dict[_Key, int] = {}
        self._free = list(range(_PLACES))
        self._entries: mmap.mmap | None = None
        if file is None:
            return
        try:
            self._entries = _mapped(file)
        except OSError as error:
            raise ConfigurationError(
                f"The journal {file} can't be used, or another worker uses it: {error}."
            ) from error
        for place in range(_PLACES):
            deaths, began, *record = _ENTRY.unpack_from(self._entries, place * _ENTRY.size)
            if deaths and time() - began < _FORGET_AFTER_S:
                key = (record[0], record[1], record[2])
                self._places[key], self._deaths[key] = place, deaths
                self._free.remove(place)

    def deaths(self, record: Record) -> int:
        """How often this worker has died while the record was in work."""
        return self._deaths.get(_key(record), 0)

    @contextmanager
    def running(self, record: Record) -> Iterator[None]:
        """Written down while the block lasts, if there is a place for it."""
        key = _key(record)
        deaths = self._deaths.get(key, 0)
        self._write(key, deaths + 1)
        remembered = 0
        try:
            yield
        except asyncio.CancelledError:
            # Not finished: it may come back, and what is known of it with it.
            remembered = deaths
            raise
        finally:
            self._write(key, remembered)

    def _write(self, key: _Key, deaths: int) -> None:
        if self._entries is None:
            return
        place = self._places.get(key)
        if place is None:
            if not self._free:
                return
            place = self._places[key] = self._free.pop()
        _ENTRY.pack_into(self._entries, place * _ENTRY.size, deaths, time(), *key)
        if not deaths:
            self._deaths.pop(key, None)
            self._free.append(self._places.pop(key))


def _mapped(file: Path) -> mmap.mmap:
    file.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(file, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        # Let go by the kernel with the last copy of the descriptor, which the map keeps.
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.ftruncate(descriptor, _PLACES * _ENTRY.size)
        return mmap.mmap(descriptor, 0)
    finally:
        os.close(descriptor)


def _key(record: Record) -> _Key:
    # With its time, lest it be taken for another record of a topic that was made anew.
    return record.partition, record.offset, record.timestamp
