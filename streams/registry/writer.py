"""Writes to the registry, one writer at a time: streams.kafka.sole_writer tells how.

The registry is read to its end after earlier writers were fenced, so what is checked is what is
there. Either a registration or a change is written whole, or nothing of it.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
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
from streams.registry.change import Change, Intent
from streams.registry.examples import record_key, split
from streams.registry.follow import RegistryFollower
from streams.registry.lifecycle import registered
from streams.registry.reader import Registry
from streams.registry.validation import Novelty, check_engines, compare, live

log = logging.getLogger(__name__)

_SOURCE: Final = "lorelay-registry"
_VISIBLE_WITHIN_S: Final = 10.0


def transactional_id(settings: KafkaSettings) -> str:
    """The id that all writers of one registry share."""
    return f"{settings.topics.adapters}-writer"


class RegistryWriter(Assembly):
    """Registers adapter versions and changes their state; an async context manager.

    ``actor`` goes into the lifecycle log: who registers.
    """

    def __init__(self, settings: KafkaSettings, codec: Codec, actor: str) -> None:
        super().__init__()
        self._settings = settings
        self._codec = codec
        self._actor = actor
        self._follower = RegistryFollower(settings, codec)
        self._workers: dict[bytes, bytes] = {}
        topics = settings.topics
        self._writer = SoleWriter(
            settings,
            transactional_id(settings),
            (topics.examples, topics.lifecycle, topics.adapters, topics.traffic),
        )

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
        """Registers the version and returns when readers can see it.

        It is active at once where nobody of its family serves, else it stands by. What is
        returned is the change, and warnings.

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
        intent = Intent(self._actor, now)
        if present is not None:
            change = _moved(replace(present, artifact=version.artifact), intent)
            return novelty, warnings + await self._apply(change)
        change = registered(self.registry, version, intent)
        return novelty, warnings + await self._apply(change, split(version, candidate.examples))

    async def change(self, plan: Callable[[Registry], Change]) -> tuple[Change, list[str]]:
        """Writes what ``plan`` makes of the registry and returns when readers can see it.

        What is returned is that, and warnings. Raises what ``plan`` raises, RegistryConflict
        where another writer began meanwhile, and KafkaError: nothing is written then.
        """
        change = plan(self.registry)
        return change, await self._apply(change)

    async def _apply(self, change: Change, parts: Sequence[ExampleSet] = ()) -> list[str]:
        """Writes all of it or nothing; warnings."""
        await self._write(self._outputs(change, parts))
        try:
            async with asyncio.timeout(_VISIBLE_WITHIN_S):
                await self._follower.until(lambda: self._is_visible(change))
        except TimeoutError:
            return ["It is written, but readers don't see it yet: does the cluster lag?"]
        return []

    def _is_visible(self, change: Change) -> bool:
        """A commit returns before the brokers have marked its records as readable."""
        registry, traffic = self.registry, change.traffic
        if traffic is not None and registry.traffic(change.family).revision < traffic.revision:
            return False
        return all(
            (found := registry.get(version.key)) is not None
            and (found.status, found.artifact) == (version.status, version.artifact)
            and registry.examples(version.key) is not None
            for version in change.versions
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

    def _outputs(self, change: Change, parts: Sequence[ExampleSet]) -> list[Output]:
        """Its records; who follows them learns of a version when its examples are there."""
        topics = self._settings.topics
        records: list[tuple[str, str, Record]] = [
            *((topics.examples, record_key(part), part) for part in parts),
            *((topics.lifecycle, event.family, event) for event in change.events),
            *((topics.adapters, version.key, version) for version in change.versions),
        ]
        if change.traffic is not None:
            records.append((topics.traffic, change.family, change.traffic))
        return [self._output(*record) for record in records]

    def _output(self, topic: str, key: str, record: Record) -> Output:
        headers = event_headers(type(record).__name__, key, _SOURCE)
        return Output(topic, self._codec.encode(record), key.encode(), headers=headers)

    async def _write(self, outputs: Sequence[Output]) -> None:
        """Writes all of them or none."""
        try:
            await self._writer.write(outputs)
        except Fenced as error:
            raise RegistryConflict(
                "Another command was writing to the registry at the same time, nothing was "
                "written: try again."
            ) from error


def _moved(version: AdapterVersion, intent: Intent) -> Change:
    """Only the place of its files is new."""
    event = LifecycleEvent(
        version.family,
        "moved",
        adapter=version.key,
        to_status=version.status,
        actor=intent.actor,
        created_at=intent.at,
    )
    return Change(version.family, (version,), None, (event,))
