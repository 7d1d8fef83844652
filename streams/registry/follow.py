"""Keeps a Registry in step with its topics."""

import asyncio
import logging
from collections.abc import Callable

from schemas.codec import Codec
from schemas.errors import AdapterUnavailable, DecodeError, UnknownAdapter, UnknownSchema
from schemas.records import AdapterVersion, ExampleSet, Traffic
from streams.kafka.settings import KafkaSettings
from streams.kafka.table import TableReader
from streams.registry.reader import Registry

log = logging.getLogger(__name__)

_REVISION_TIMEOUT_S = 10.0

_Record = tuple[str, bytes, bytes | None, int]


class RegistryFollower:
    """A Registry that is up to date once started, and stays so until stopped.

    Examples are most of what there is to read: who selects nothing does without.
    """

    def __init__(
        self, settings: KafkaSettings, codec: Codec, *, with_examples: bool = True
    ) -> None:
        topics = settings.topics
        self.registry = Registry()
        self._codec = codec
        self._adapters = topics.adapters
        self._traffic = topics.traffic
        self._schemas = topics.schemas
        # Records of schemas not known yet, the newest of each key: tried again with each schema.
        self._unreadable: dict[tuple[str, bytes], _Record] = {}
        self._callbacks: list[Callable[[], None]] = []
        self._is_started = False
        self._changed = asyncio.Event()
        # The schemas first: a record of a newer version is then read at once.
        read = [topics.schemas, topics.adapters, topics.examples, topics.traffic]
        if not with_examples:
            read.remove(topics.examples)
        self._reader = TableReader(settings, read, self._on_record, on_read=self._notify)

    def on_change(self, callback: Callable[[], None]) -> None:
        """Calls ``callback`` when ``start`` is done, then after the changes that come together."""
        self._callbacks.append(callback)

    async def start(self) -> None:
        """Returns when the registry is as it was at the call. Raises KafkaError."""
        await self._reader.start()
        self._is_started = True
        self._notify()

    async def stop(self) -> None:
        """Ends following; the registry stays as it is."""
        await self._reader.stop()

    async def version(
        self, key: str, revision: int = -1, *, timeout_s: float = _REVISION_TIMEOUT_S
    ) -> AdapterVersion:
        """The version ``id@version``, whatever its state, as of ``revision`` or later.

        Waits for the revision: a router may know a version before this process does. Raises
        AdapterUnavailable where it does not come, UnknownAdapter where it has no such version.
        """
        known = self.registry.get(key)
        if known is not None:
            return known
        try:
            async with asyncio.timeout(timeout_s):
                await self.until(lambda: self._has_read(key, revision))
        except TimeoutError as error:
            raise AdapterUnavailable(
                key, f"this process has not read the registry as far as revision {revision}"
            ) from error
        version = self.registry.get(key)
        if version is None:
            raise UnknownAdapter(key)
        return version

    async def until(self, condition: Callable[[], bool]) -> None:
        """Returns once the registry makes the condition true."""
        while not condition():
            await self._changed.wait()

    def _has_read(self, key: str, revision: int) -> bool:
        if self.registry.get(key) is not None:
            return True
        is_unreadable = (self._adapters, key.encode()) in self._unreadable
        return self.registry.revision >= revision and not is_unreadable

    def _on_record(self, topic: str, key: bytes, value: bytes | None, offset: int) -> None:
        if topic != self._schemas:
            self._apply(topic, key, value, offset)
        elif value is not None and self._learn(value):
            for record in tuple(self._unreadable.values()):
                self._apply(*record)

    def _learn(self, value: bytes) -> bool:
        """Whether that may make records readable that were not."""
        try:
            self._codec.learn(value.decode())
        except (DecodeError, UnicodeDecodeError) as error:
            log.warning("a schema on %s can't be read: %s", self._schemas, error)
            return False
        return bool(self._unreadable)

    def _apply(self, topic: str, key: bytes, value: bytes | None, offset: int) -> None:
        name = key.decode(errors="replace")
        self._unreadable.pop((topic, key), None)
        try:
            if topic == self._adapters:
                version = None if value is None else self._codec.decode(AdapterVersion, value)
                if version is not None and version.key != name:
                    raise ValueError(f"it is a record of {version.key}")
                self.registry.apply_version(name, version, offset)
            elif topic == self._traffic:
                traffic = None if value is None else self._codec.decode(Traffic, value)
                self.registry.apply_traffic(name, traffic)
            else:
                part = None if value is None else self._codec.decode(ExampleSet, value)
                self.registry.apply_examples(name, part)
        except (DecodeError, ValueError) as error:
            log.warning("%s at offset %d (%r) is left out: %s", topic, offset, name, error)
            if isinstance(error, UnknownSchema):
                self._unreadable[topic, key] = (topic, key, value, offset)
            if topic == self._adapters:
                self.registry.skip(offset)

    def _notify(self) -> None:
        if not self._is_started:
            return
        self._changed.set()
        self._changed = asyncio.Event()
        for callback in self._callbacks:
            callback()
