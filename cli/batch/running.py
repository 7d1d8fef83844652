"""Asks a batch's queries, so many at a time, and writes what comes of each."""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime

from cli.batch.earlier import earlier_answers
from cli.batch.lines import (
    BadLine,
    Line,
    Questions,
    answered,
    refused,
    unanswered,
    undecodable,
    unreadable,
)
from cli.batch.output import Output
from schemas.errors import DecodeError, RequestError
from schemas.records import Response
from streams.client.queries import Answer, QueryClient
from streams.gateway.base_models import BaseModels
from streams.kafka.settings import KafkaSettings
from streams.kafka.writer_schemas import WriterSchemas, open_codec
from streams.parts import started
from streams.registry.follow import RegistryFollower

#: Whoever holds a query answers it at its deadline; that answer is waited for so long.
_GRACE_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Plan:
    """How a batch is asked."""

    settings: KafkaSettings
    at_once: int
    timeout_seconds: float
    #: Since when earlier runs may have asked.
    since: datetime


class Batch:
    """One run over the lines that have no answer in the output yet."""

    def __init__(self, plan: Plan, output: Output, on_line: Callable[[], None]) -> None:
        self._plan = plan
        self._output = output
        self._on_line = on_line
        self.found = 0

    async def run(self, lines: Iterable[Line | BadLine], names: Iterable[str]) -> None:
        """Returns when every line has its answer; `names` are the ids of all of them.

        Raises: KafkaError, ConnectionLost, AccessRefused; ConfigurationError where the output
        can't be written.
        """
        settings = self._plan.settings
        async with AsyncExitStack() as parts:
            codec = await open_codec(settings)
            schemas = await started(WriterSchemas(settings, codec), parts)
            follower = await started(RegistryFollower(settings, codec, with_examples=False), parts)
            base_models = await started(BaseModels(settings, codec), parts)
            # It reads what comes from now on, so it is there before anything is looked up.
            client = await parts.enter_async_context(QueryClient(settings))
            missing = set(names) - self._output.done if self._output.has_begun else set()
            waiting = {name: client.expect(name) for name in missing}
            answers, asked = await earlier_answers(settings, schemas, missing, self._plan.since)
            under_way = {name: waiting.pop(name) for name in asked - answers.keys()}
            for name, answer in waiting.items():
                client.forget(name, answer)
            questions = Questions(
                follower.registry, base_models.names(), self._plan.timeout_seconds * 1000
            )
            await self._ask_all(lines, _Asker(client, questions, answers, under_way))

    async def _ask_all(self, lines: Iterable[Line | BadLine], asker: "_Asker") -> None:
        upcoming = (line for line in lines if line.id not in self._output.done)

        async def work() -> None:
            for line in upcoming:
                result = unreadable(line) if isinstance(line, BadLine) else await asker.ask(line)
                self._output.write(line.id, result)
                self._on_line()

        async with asyncio.TaskGroup() as workers:
            for _ in range(self._plan.at_once):
                workers.create_task(work())
        self.found = asker.found


class _Asker:
    """Asks one line after another, each once: what was asked before is waited for."""

    def __init__(
        self,
        client: QueryClient,
        questions: Questions,
        answers: Mapping[str, Response | DecodeError],
        under_way: "dict[str, asyncio.Future[Answer]]",
    ) -> None:
        self._client = client
        self._questions = questions
        self._answers = answers
        self._under_way = under_way
        self.found = 0

    async def ask(self, line: Line) -> bytes:
        """The line of the output."""
        if (earlier := self._answers.get(line.id)) is not None:
            self.found += 1
            if isinstance(earlier, DecodeError):
                return undecodable(line, earlier)
            return answered(line, earlier)
        try:
            waiting, seconds = await self._send(line)
        except RequestError as error:
            return refused(line, error)
        try:
            async with asyncio.timeout(seconds + _GRACE_SECONDS):
                return answered(line, (await waiting).response)
        except DecodeError as error:
            return undecodable(line, error)
        except TimeoutError:
            return unanswered(line, f"No answer came within {seconds:g} s.")
        finally:
            self._client.forget(line.id, waiting)

    async def _send(self, line: Line) -> "tuple[asyncio.Future[Answer], float]":
        query = self._questions.query(line, datetime.now(UTC))
        assert query.timeout_ms is not None
        seconds = query.timeout_ms / 1000
        if (waiting := self._under_way.pop(line.id, None)) is not None:
            return waiting, seconds
        return await self._client.send(query), seconds
