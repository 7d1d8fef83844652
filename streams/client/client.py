"""Asks questions of a running Lorelay, for Python programs."""

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Self

import uuid_utils

from schemas.errors import InvalidRequest
from schemas.records import Cancel, Feedback, Message, Query, Response, Sampling
from streams.client.failures import AnsweredWithError, NoAnswer
from streams.client.queries import QueryClient
from streams.client.stream import Stream
from streams.kafka.settings import KafkaSettings, checked_servers

Question = str | list[Mapping[str, str]]
"""A prompt, or the messages of a conversation as [{"role": ..., "content": ...}]."""

_SAMPLING = ("max_tokens", "temperature", "top_p", "seed", "stop")


class Client:
    """An async context manager; any number of questions may be asked at a time.

    The cluster is that of `settings`, by default of the LORELAY_* variables; `kafka` names
    another one. A question may take `seconds`. `streams` False saves reading the chunks topic,
    and `stream` can't be used.
    """

    def __init__(
        self,
        kafka: str | None = None,
        *,
        settings: KafkaSettings | None = None,
        seconds: float = 60.0,
        streams: bool = True,
    ) -> None:
        found = settings or KafkaSettings()
        self._settings = (
            found if kafka is None else found.model_copy(update={"kafka": checked_servers(kafka)})
        )
        self._seconds = seconds
        self._streams = streams
        self._queries = QueryClient(self._settings, chunks=streams)

    async def __aenter__(self) -> Self:
        """Connects. Raises: AccessRefused, ConfigurationError."""
        await self._queries.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._queries.__aexit__(kind, error, traceback)

    async def ask(
        self, question: Question, *, seconds: float | None = None, **options: Any
    ) -> Response:
        """The one response to a question.

        Options are fields of a Query (adapter, session, language, priority, id, ...) and of its
        Sampling (max_tokens, temperature, ...). Where nobody waits any more, after that
        many seconds or because the task is cancelled, the query is taken back. Raises:
        AnsweredWithError, NoAnswer, InvalidRequest, ConnectionLost; DecodeError where the response
        is there, but can't be read.
        """
        query, limit = self._query(question, seconds, options)
        until = asyncio.get_running_loop().time() + limit
        async with self._queries.asking(query, until) as waiting:
            try:
                async with asyncio.timeout_at(until):
                    response = (await waiting).response
            except TimeoutError as error:
                raise NoAnswer(f"No answer within {limit:g} s.") from error
        if response.error is not None:
            raise AnsweredWithError(response)
        return response

    def stream(self, question: Question, *, seconds: float | None = None, **options: Any) -> Stream:
        """The answer's text in pieces, as `async for`; `ask` tells of options and errors."""
        if not self._streams:
            raise ValueError("this client was made with streams=False")
        query, limit = self._query(question, seconds, {**options, "stream": True})
        return Stream(self._queries, query, limit)

    async def cancel(self, query_id: str, reason: str | None = None) -> None:
        """Takes a query back, whoever sent it, unless it is answered. Raises: ConnectionLost."""
        await self._queries.cancel(Cancel(query_id, reason, datetime.now(UTC)))

    async def feedback(
        self,
        response: Response,
        rating: float | None = None,
        *,
        correction: str | None = None,
        comment: str | None = None,
        tenant: str | None = None,
    ) -> None:
        """Says what an answer was worth, from 0 (useless) to 1 (right). Raises: ConnectionLost,
        InvalidRequest for another rating."""
        if rating is not None and not 0 <= rating <= 1:
            raise InvalidRequest(f"rating is {rating}, it must be between 0 and 1.")
        await self._queries.feedback(
            Feedback(
                response.query_id,
                response.adapter,
                rating,
                correction,
                comment,
                tenant,
                datetime.now(UTC),
            )
        )

    def _query(
        self, question: Question, seconds: float | None, options: Mapping[str, Any]
    ) -> tuple[Query, float]:
        """The query, and the seconds that it may take."""
        limit = self._seconds if seconds is None else seconds
        given = dict(options)
        sampling = {name: given.pop(name) for name in _SAMPLING if name in given}
        if isinstance(stop := sampling.get("stop", ()), str):
            stop = (stop,)
        asked: dict[str, Any] = (
            {"prompt": question}
            if isinstance(question, str)
            else {"messages": tuple(Message(m["role"], m["content"]) for m in question)}
        )
        fields = {
            "id": str(uuid_utils.uuid7()),
            "timeout_ms": limit * 1000,
            "created_at": datetime.now(UTC),
            **given,
        }
        sampled = Sampling(**{**sampling, "stop": tuple(stop)})
        return Query(**asked, **fields, sampling=sampled), limit
