"""Writes to the registry, one writer at a time: streams.kafka.sole_writer tells how.

The registry is read to its end after earlier writers were fenced, so what is checked is what is
there. Either a registration is written whole, or nothing of it.
"""

import asyncio
import logging
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import datetime
from typing import Final

from schemas.codec import Codec
from schemas.errors import DecodeError, RegistryConflict
from schemas.records import AdapterVersion, ExampleSet, LifecycleEvent, Record, WorkerState
from streams.kafka.output import Output, event_headers
from streams.kafka.settings import KafkaSettings
from streams.kafka.sole_writer import SoleWriter
from streams.kafka.table import TableReader
from streams.kafka.transactions import Fenced
from streams.kafka.writer_schemas import WriterSchemas
from streams.parts import Assembly, started
from streams.registry.candidate import Candidate
from streams.registry.examples import record_key, split
from streams.registry.follow import RegistryFollower
from streams.registry.reader import Registry
from streams.registry.validation import Novelty, check_engines, compare, live

log = logging.getLogger(__name__)

_SOURCE: Final = "lorelay-registry"
_VISIBLE_WITHIN_S: Final = 10.0


def transactional_id(settings: KafkaSettings) -> str:
    """The id that all writers of one registry share."""
    return f"{settings.topics.adapters}-writer"


class RegistryWriter(Assembly):
    """Registers adapter versions; an async context manager around the time of writing.

    ``actor`` goes into the lifecycle log: who registers.
    """

    def __init__(self, settings: KafkaSettings, codec: Codec, actor: str) -> None:
        super().__init__()
        self._settings = settings
        self._codec = codec
        self._actor = actor
        self._follower = RegistryFollower(settings, codec)
        self._workers: dict[bytes, bytes] = {}
        self._writer = SoleWriter(settings, transactional_id(settings))

    @property
    def registry(self) -> Registry:
        """The registry as it was when writing began, and what was written since."""
        return self._follower.registry

    async def open(self, parts: AsyncExitStack) -> None:
        """Fences earlier writers and reads the registry to its end. Raises KafkaError."""
        await started(self._writer, parts)
        await started(WriterSchemas(self._settings, self._codec), parts)
        await started(self._follower, parts)
        workers = TableReader(self._settings, [self._settings.topics.workers], self._on_worker)
        await started(workers, parts)

    async def register(self, candidate: Candidate, now: datetime) -> tuple[Novelty, list[str]]:
        """Registers the version, active at once, and returns when readers can see it.

        What is returned is the change, and warnings.

        Raises RegistrationRefused with nothing written, RegistryConflict where another writer
        began meanwhile, KafkaError.
        """
        version = candidate.version
        present = self.registry.get(version.key)
        examples = self.registry.examples(version.key) or ()
        novelty = compare(version, candidate.examples, present, examples)
        warnings = [*candidate.warnings, *check_engines(version, self._live_workers(now))]
        if novelty is Novelty.SAME:
            return novelty, warnings
        if present is not None:  # only the place of its files is new
            version = replace(present, artifact=version.artifact)
        parts = split(version, candidate.examples) if novelty is Novelty.NEW else []
        offset = await self._write(self._outputs(version, parts, novelty, now))
        try:
            await self._until_visible(version.key, offset)
        except TimeoutError:
            warnings.append("It is written, but readers don't see it yet: does the cluster lag?")
        return novelty, warnings

    async def _until_visible(self, key: str, offset: int) -> None:
        """A commit returns before the brokers have marked its records as readable."""
        registry = self.registry
        async with asyncio.timeout(_VISIBLE_WITHIN_S):
            await self._follower.until(
                lambda: registry.revision >= offset and registry.examples(key) is not None
            )

    def _on_worker(self, topic: str, key: bytes, value: bytes | None, offset: int) -> None:
        if value is None:
            self._workers.pop(key, None)
        else:
            self._workers[key] = value

    def _live_workers(self, now: datetime) -> list[WorkerState]:
        states = []
        for key, value in self._workers.items():
            try:
                states.append(self._codec.decode(WorkerState, value))
            except DecodeError as error:
                log.warning("the state of worker %s can't be read: %s", key, error)
        return live(states, now)

    def _outputs(
        self, version: AdapterVersion, parts: Sequence[ExampleSet], novelty: Novelty, now: datetime
    ) -> list[Output]:
        """The records of one registration; the adapters record comes last."""
        topics = self._settings.topics
        event = LifecycleEvent(
            family=version.family,
            event="registered" if novelty is Novelty.NEW else "moved",
            adapter=version.key,
            to_status=version.status,
            actor=self._actor,
            created_at=now,
        )
        return [
            *(self._output(topics.examples, record_key(part), part) for part in parts),
            self._output(topics.lifecycle, version.family, event),
            self._output(topics.adapters, version.key, version),
        ]

    def _output(self, topic: str, key: str, record: Record) -> Output:
        headers = event_headers(type(record).__name__, key, _SOURCE)
        return Output(topic, self._codec.encode(record), key.encode(), headers=headers)

    async def _write(self, outputs: Sequence[Output]) -> int:
        """Writes all of them or none; the offset of the last one."""
        try:
            return await self._writer.write(outputs)
        except Fenced as error:
            raise RegistryConflict(
                "Another command was writing to the registry at the same time, nothing was "
                "written: try again."
            ) from error
