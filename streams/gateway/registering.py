"""Registers adapter versions for those who may."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from aiokafka.errors import KafkaError

from schemas.codec import Codec
from schemas.records import AdapterVersion
from streams.gateway.failures import KafkaUnavailable
from streams.kafka.settings import KafkaSettings
from streams.registry.posted import read_posted
from streams.registry.validation import Novelty
from streams.registry.writer import RegistryWriter


@dataclass(frozen=True, slots=True)
class Registered:
    """What a registration has changed, and what its owner should know."""

    version: AdapterVersion
    novelty: Novelty
    warnings: tuple[str, ...]


class Registrar:
    """One registration at a time; others who write to the registry are told, as it is told."""

    def __init__(
        self,
        settings: KafkaSettings,
        actor: str,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._settings = settings
        self._actor = actor
        self._now = now
        self._turn = asyncio.Lock()

    async def register(
        self, metadata: Mapping[str, Any], examples: Sequence[Mapping[str, Any]]
    ) -> Registered:
        """Reads and checks the files, and returns when readers can see the version.

        Raises: RegistrationRefused, RegistryConflict, KafkaUnavailable.
        """
        candidate = await asyncio.to_thread(read_posted, metadata, self._now(), examples)
        async with self._turn:
            try:
                async with RegistryWriter(self._settings, Codec(), self._actor) as writer:
                    novelty, warnings = await writer.register(candidate, self._now())
                    version = writer.registry.get(candidate.version.key) or candidate.version
            except KafkaError as error:
                raise KafkaUnavailable(
                    f"The registry can't be written now ({type(error).__name__})."
                ) from error
        return Registered(version, novelty, tuple(warnings))
