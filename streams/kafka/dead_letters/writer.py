"""Redrives and purges dead letters, one writer at a time.

A redriven record and the mark on its dead letter are written in one transaction, and what is
marked already was read after every earlier writer was fenced: so however often a redrive is
killed and repeated, and however many run at once, each record is written again once.
"""

from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import datetime

from aiokafka.errors import MessageSizeTooLargeError

from schemas.codec import Codec
from schemas.errors import ConfigurationError, DeadLettersConflict, DecodeError
from schemas.records import InferenceRequest
from streams.kafka.dead_letters.letter import DeadLetter
from streams.kafka.dead_letters.reader import OnProgress, read_dead_letters
from streams.kafka.dead_letters.redrive import batches, marked, redriven, tombstone
from streams.kafka.output import Output
from streams.kafka.settings import KafkaSettings
from streams.kafka.sole_writer import SoleWriter
from streams.kafka.transactions import Fenced
from streams.kafka.writer_schemas import WriterSchemas
from streams.parts import Assembly, started


def transactional_id(settings: KafkaSettings) -> str:
    """The id that all writers of one topic of dead letters share."""
    return f"{settings.topics.dead_letters}-writer"


class DeadLetterWriter(Assembly):
    """The dead letters that `accepts`, to be redriven or purged; an async context manager.

    Entering it fences earlier writers and then reads the topic to its end.
    """

    def __init__(
        self, settings: KafkaSettings, codec: Codec, accepts: Callable[[DeadLetter], bool]
    ) -> None:
        super().__init__()
        self._settings = settings
        topics = settings.topics
        self._topic = topics.dead_letters
        self._codec = codec
        self._accepts = accepts
        self._writer = SoleWriter(
            settings, transactional_id(settings), (topics.queries, topics.requests, self._topic)
        )
        self._schemas = WriterSchemas(settings, codec)
        self.letters: Sequence[DeadLetter] = ()

    async def open(self, parts: AsyncExitStack) -> None:
        """Raises: ConfigurationError where a topic is missing, KafkaError."""
        await started(self._writer, parts)
        await started(self._schemas, parts)
        self.letters = await read_dead_letters(self._settings, self._codec, self._accepts)

    async def redrive(
        self,
        letters: Sequence[DeadLetter],
        now: datetime,
        on_progress: OnProgress = lambda _: None,
    ) -> None:
        """Writes each record to its topic again and marks its dead letter, batch by batch.

        The letters are ready by `plan_redrive`. `on_progress` is told how many are committed.
        Raises: DeadLettersConflict where another writer began meanwhile, ConfigurationError where
        a topic takes no record so large, KafkaError; what was told as committed stays.
        """

        async def outputs(letter: DeadLetter) -> Iterable[Output]:
            assert letter.place is not None, "only what is ready by its plan is redriven"
            topic = letter.place.topic
            return (
                redriven(letter, topic, await self._fresh(letter, topic)),
                marked(letter, self._topic, now),
            )

        await self._write(letters, outputs, on_progress)

    async def purge(
        self, letters: Sequence[DeadLetter], on_progress: OnProgress = lambda _: None
    ) -> None:
        """Removes the dead letters for good; progress and errors are those of `redrive`."""

        async def outputs(letter: DeadLetter) -> Iterable[Output]:
            return (tombstone(letter, self._topic),)

        await self._write(letters, outputs, on_progress)

    async def _fresh(self, letter: DeadLetter, topic: str) -> bytes:
        """The original value; that of a request counts its attempts from the first again."""
        if topic != self._settings.topics.requests:
            return letter.value
        try:
            request = await self._schemas.decode(InferenceRequest, letter.value)
        except DecodeError:
            return letter.value  # a worker may know more than this process
        if request.attempt == 1:
            return letter.value
        return self._codec.encode(replace(request, attempt=1))

    async def _write(
        self,
        letters: Sequence[DeadLetter],
        outputs: Callable[[DeadLetter], Awaitable[Iterable[Output]]],
        on_progress: OnProgress,
    ) -> None:
        done = 0
        for batch in batches(letters):
            written = [output for letter in batch for output in await outputs(letter)]
            try:
                await self._writer.write(written)
            except Fenced as error:
                raise DeadLettersConflict(done, len(letters)) from error
            except MessageSizeTooLargeError as error:
                largest = max(batch, key=lambda letter: len(letter.value))
                raise ConfigurationError(
                    f"{largest.origin} is too large for its topic with the headers of a redrive: "
                    "raise the topic's max.message.bytes, or redrive the others by name."
                ) from error
            done += len(batch)
            on_progress(done)
