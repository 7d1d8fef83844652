"""An ordinary client on librdkafka, which costs the measured processes next to nothing.

It sends plain JSON and reads committed records only. One thread does everything: sending and
reading are not to compete for Python's lock.
"""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from time import monotonic, perf_counter
from types import TracebackType
from typing import Any, Self

from confluent_kafka import Consumer, KafkaException, Message, Producer, TopicPartition

from benchmarks.queries import Question, query
from schemas.codec import Codec
from schemas.errors import LorelayError
from schemas.records import Response
from streams.kafka.settings import KafkaSettings

#: Nothing measured here is slower by far; a stack that hangs must not hang the benchmark.
_PATIENCE_SECONDS = 60.0
_ids = count(1)


class NothingCame(LorelayError):
    """Records that must come did not, or say that something failed."""

    code = "benchmark_stalled"


@dataclass(frozen=True, slots=True)
class Counted:
    """Records that were counted, over the seconds from the first to the last."""

    records: int
    seconds: float

    @property
    def rate(self) -> float:
        """Records a second."""
        return self.records / self.seconds


@dataclass(frozen=True, slots=True)
class Reply:
    """A response, what was asked, and milliseconds from sending the query to reading it."""

    question: Question
    response: Response
    elapsed_ms: float


def producer_config(settings: KafkaSettings, linger_ms: int = 0) -> dict[str, Any]:
    """What librdkafka's producer is made with; it waits so long for more to send along."""
    return _quick(settings) | {"linger.ms": linger_ms, "enable.idempotence": True}


def consumer_config(settings: KafkaSettings) -> dict[str, Any]:
    """What librdkafka's consumer is made with."""
    return _quick(settings) | {
        "group.id": "benchmark",
        "enable.auto.commit": False,
        "isolation.level": "read_committed",
        "fetch.wait.max.ms": 100,
    }


def follow(consumer: Consumer, *topics: str) -> None:
    """Has it read what comes to the topics from now on."""
    places = []
    for topic in topics:
        found = consumer.list_topics(topic, timeout=_PATIENCE_SECONDS)
        for number in found.topics[topic].partitions:
            place = TopicPartition(topic, number)
            _, place.offset = consumer.get_watermark_offsets(place, timeout=_PATIENCE_SECONDS)
            places.append(place)
    consumer.assign(places)


def _quick(settings: KafkaSettings) -> dict[str, Any]:
    return settings.librdkafka_config() | {"socket.nagle.disable": True}


class Client:
    """Reads ``topic`` from its end on; a context manager."""

    def __init__(self, settings: KafkaSettings, topic: str, max_tokens: int | None = None) -> None:
        self._queries = settings.topics.queries
        self._topic = topic
        self._max_tokens = max_tokens
        self._codec = Codec()
        self._pending: dict[str, tuple[Question, float]] = {}
        self._producer = Producer(producer_config(settings))
        self._bulk = Producer(producer_config(settings, linger_ms=20))
        self._consumer = Consumer(consumer_config(settings))

    def __enter__(self) -> Self:
        follow(self._consumer, self._topic)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._consumer.close()
        self._producer.close()
        self._bulk.close()

    def pile_up(self, questions: Sequence[Question], records: int) -> None:
        """Writes so many queries at once, and returns when the broker has them."""
        for number in range(records):
            query_id = f"q{next(_ids)}"
            value = query(query_id, questions[number % len(questions)], self._max_tokens)
            while True:
                try:
                    self._bulk.produce(self._queries, value, key=query_id)
                    break
                except BufferError:
                    self._bulk.poll(0.1)
        if self._bulk.flush(_PATIENCE_SECONDS):
            raise NothingCame("The broker did not take the queries.")

    def count(self, records: int) -> Counted:
        """Counts that many records of the topic, from the arrival of the first ones on."""
        seen = first = 0
        began = last = 0.0
        deadline = monotonic() + _PATIENCE_SECONDS
        while seen < records:
            messages = self._consumer.consume(2000, timeout=0.05)
            if not messages:
                if monotonic() > deadline:
                    raise NothingCame(f"Only {seen} of {records} records came on {self._topic}.")
                continue
            last = perf_counter()
            deadline = monotonic() + _PATIENCE_SECONDS
            if not seen:
                began, first = last, len(messages)
            seen += len(messages)
        # What came first marks the start, so it is not counted into the time that it ended.
        return Counted(seen - first, last - began)

    def trickle(
        self, questions: Sequence[Question], records: int, rate: float, rng: random.Random
    ) -> list[Reply]:
        """Sends at random times (Poisson), ``rate`` a second, whatever comes back when."""
        sent = 0
        replies: list[Reply] = []
        next_at = perf_counter()
        while sent < records or self._pending:
            wait = next_at - perf_counter() if sent < records else _PATIENCE_SECONDS
            if wait <= 0:
                self._send(questions[sent % len(questions)])
                sent += 1
                next_at += rng.expovariate(rate)
                continue
            if (reply := self._receive(wait, must=sent == records)) is not None:
                replies.append(reply)
        return replies

    def closed_loop(
        self, questions: Sequence[Question], concurrency: int, warm: float, seconds: float
    ) -> tuple[Counted, list[Reply]]:
        """Keeps ``concurrency`` queries under way; counts the replies of ``seconds`` after
        ``warm``, and waits for those under way at the end."""
        upcoming = _cycle(questions)
        for _ in range(concurrency):
            self._send(next(upcoming))
        start = perf_counter() + warm
        end = start + seconds
        counted: list[Reply] = []
        while self._pending:
            reply = self._receive(_PATIENCE_SECONDS, must=True)
            now = perf_counter()
            if reply is None:
                continue
            if now < end:
                self._send(next(upcoming))
                if now >= start:
                    counted.append(reply)
        return Counted(len(counted), seconds), counted

    def _send(self, question: Question) -> None:
        query_id = f"q{next(_ids)}"
        self._pending[query_id] = (question, perf_counter())
        self._producer.produce(
            self._queries, query(query_id, question, self._max_tokens), key=query_id
        )
        self._producer.poll(0)

    def _receive(self, seconds: float, must: bool) -> Reply | None:
        """The next reply to a query of ours; None where none came in time, unless one ``must``."""
        message = self._consumer.poll(seconds)
        arrived = perf_counter()
        if message is None:
            if must:
                raise NothingCame(f"{len(self._pending)} queries have no response.")
            return None
        response = self._codec.decode(Response, _value(message))
        pending = self._pending.pop(response.query_id, None)
        if pending is None:
            return None
        if response.error is not None:
            raise NothingCame(f"A query was answered with an error: {response.error.message}")
        question, sent_at = pending
        return Reply(question, response, (arrived - sent_at) * 1000)


def _value(message: Message) -> bytes:
    if (error := message.error()) is not None:
        raise KafkaException(error)
    value = message.value()
    assert isinstance(value, bytes)
    return value


def _cycle(questions: Sequence[Question]) -> Iterator[Question]:
    return (questions[number % len(questions)] for number in count())
