"""A transactional producer of which only one is at work at a time.

Kafka has no compare-and-set. All writers of one thing share a transactional id: a producer that
initialises with it fences the one before, whose open transaction is aborted and whose committed
ones are final (and whole: `settling`). Whoever then reads what is there and decides on it either
writes what it decided, or is fenced by a later writer and writes nothing.
"""

import asyncio
from collections.abc import Collection, Sequence
from typing import Final

from aiokafka import AIOKafkaProducer
from aiokafka.errors import (
    IllegalOperation,
    InvalidProducerEpoch,
    KafkaConnectionError,
    KafkaError,
    ProducerFenced,
)

from streams.kafka.doubt import Doubt
from streams.kafka.output import Output, check_sizes
from streams.kafka.settings import TRANSACTION_TIMEOUT_MS, KafkaSettings
from streams.kafka.settling import LastTransaction
from streams.kafka.transactions import Fenced

_FRAME_BYTES: Final = 4096


class SoleWriter:
    """Writes one transaction after the other to these topics until another of that id starts."""

    def __init__(
        self, settings: KafkaSettings, transactional_id: str, topics: Collection[str]
    ) -> None:
        self._settings = settings
        self._transactional_id = transactional_id
        self._topics = topics
        self._is_fenced = False
        self._producer: AIOKafkaProducer | None = None
        self._doubt: Doubt | None = None

    async def start(self) -> None:
        """Fences earlier writers, and ends what they wrote. Raises: KafkaError; `stop` is due then.

        Where another one starts meanwhile, it is `write` that says so.
        """
        self._producer = AIOKafkaProducer(
            transactional_id=self._transactional_id,
            transaction_timeout_ms=TRANSACTION_TIMEOUT_MS,
            max_request_size=self._settings.max_record_bytes + _FRAME_BYTES,
            **self._settings.client_kwargs(),
        )
        last = LastTransaction(self._producer)
        await self._producer.start()
        self._doubt = Doubt(self._producer)
        if last.is_committed is None:
            return
        try:
            await last.repeat(last.is_committed, self._topics)
        except (ProducerFenced, InvalidProducerEpoch):
            self._is_fenced = True

    async def stop(self) -> None:
        """Disconnects; an open transaction is left to the next writer to abort."""
        if self._producer is not None:
            await self._producer.stop()

    async def write(self, outputs: Sequence[Output]) -> int:
        """Writes all of them or none; the offset of the last one.

        Raises: RecordTooLarge before anything is sent, Fenced where another writer has started,
        KafkaError; also where a request of an earlier transaction was sent twice and may still
        be on its way.
        """
        assert self._producer is not None and self._doubt is not None, "start() comes first"
        if self._is_fenced:
            raise Fenced(f"{self._transactional_id}: another writer has started")
        if self._doubt.is_cast:
            raise KafkaConnectionError(f"{self._transactional_id}: the connection was lost before")
        check_sizes(outputs, self._settings.max_record_bytes)
        deliveries = []
        try:
            await self._producer.begin_transaction()
            for output in outputs:
                deliveries.append(
                    await self._producer.send(
                        output.topic,
                        output.value,
                        output.key,
                        partition=output.partition,
                        timestamp_ms=output.timestamp_ms,
                        headers=list(output.headers),
                    )
                )
            # aiokafka commits a transaction although a record of it was refused: look first.
            written = await asyncio.gather(*deliveries)
            await self._producer.commit_transaction()
        except (KafkaError, IllegalOperation, AssertionError) as error:
            # Depending on where it strikes, aiokafka reports fencing as itself or as misuse.
            causes = [error, *await asyncio.gather(*deliveries, return_exceptions=True)]
            if any(isinstance(cause, ProducerFenced | InvalidProducerEpoch) for cause in causes):
                raise Fenced(f"{self._transactional_id}: another writer has started") from error
            raise
        offset: int = written[-1].offset
        return offset
