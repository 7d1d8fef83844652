"""Registers adapters by the command while a trickle of queries runs, and asks for each at once.

One thread does everything, as in `benchmarks.client`.
"""

import json
import random
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count, cycle
from pathlib import Path
from time import perf_counter

from confluent_kafka import Consumer, KafkaException, Producer

from benchmarks.client import NothingCame, consumer_config, follow, producer_config
from benchmarks.piece import ending
from benchmarks.queries import Question
from benchmarks.registering.fields import Field
from benchmarks.stack import clean_environment, dying_with_us
from schemas.codec import Codec
from schemas.records import Response
from streams.kafka.settings import KafkaSettings

_ROOT = Path(__file__).parents[2]
_PATIENCE_SECONDS = 60.0
#: The longest wait for a record; a command's end is seen that much too late at most.
_TURN_SECONDS = 0.005


@dataclass(frozen=True, slots=True)
class Served:
    """Seconds from the command's start until it had returned, until readers saw the version, and
    until the first answers by it came: to a query by its name, and to one that named none.
    """

    returned: float
    visible: float
    by_name: float
    selected: float


class Driver:
    """Made by `driving`. Sends ``rate`` ordinary queries a second at random times (Poisson)."""

    def __init__(
        self,
        settings: KafkaSettings,
        consumer: Consumer,
        producer: Producer,
        questions: Sequence[Question],
        rate: float,
        rng: random.Random,
    ) -> None:
        self._settings = settings
        self._topics = settings.topics
        self._consumer = consumer
        self._producer = producer
        self._codec = Codec()
        self._questions = cycle(questions)
        self._rate = rate
        self._rng = rng
        self._ids = count(1)
        self._next_at = perf_counter()
        self._ordinary: dict[str, float] = {}
        self._answers: dict[str, tuple[str | None, float]] = {}
        self._visible: dict[str, float] = {}
        #: Milliseconds that ordinary queries took.
        self.ordinary_ms: list[float] = []

    def trickle(self, seconds: float) -> None:
        """Ordinary queries alone, for so long."""
        ends_at = perf_counter() + seconds
        self._until(lambda: perf_counter() >= ends_at, seconds + _PATIENCE_SECONDS)

    def command(self, *arguments: str) -> float:
        """Seconds that `lorelay` takes, beside the trickle."""
        with self._lorelay(arguments) as process:
            began = perf_counter()
            self._until(lambda: process.poll() is not None)
            return perf_counter() - began

    def register(self, field: Field) -> Served:
        """Registers it, and from when readers see it on asks for it until it has answered.

        Of each way of asking one query is under way at a time.
        """
        by_name = _Probe(self, cycle(field.texts), field.key)
        selected = _Probe(self, cycle(field.texts), None)
        with self._lorelay(("adapters", "register", str(field.folder))) as process:
            began = perf_counter()
            returned: list[float] = []

            def is_over() -> bool:
                if not returned and process.poll() is not None:
                    returned.append(perf_counter())
                if field.key not in self._visible:
                    return False
                answered = [by_name.look(field.key), selected.look(field.key)]
                return bool(returned) and all(answered)

            self._until(is_over)
        assert by_name.answered_at is not None and selected.answered_at is not None
        return Served(
            returned[0] - began,
            self._visible[field.key] - began,
            by_name.answered_at - began,
            selected.answered_at - began,
        )

    def send(self, text: str, adapter: str | None) -> str:
        """Its id."""
        query_id = f"q{next(self._ids)}"
        fields = {"id": query_id, "prompt": text, **({"adapter": adapter} if adapter else {})}
        value = json.dumps(fields, ensure_ascii=False).encode()
        self._producer.produce(self._topics.queries, value, key=query_id)
        self._producer.poll(0)
        return query_id

    def answer(self, query_id: str) -> tuple[str | None, float] | None:
        """Who answered, and when; None while nobody has. It is told once."""
        return self._answers.pop(query_id, None)

    @contextmanager
    def _lorelay(self, arguments: Sequence[str]) -> "Iterator[subprocess.Popen[bytes]]":
        with tempfile.TemporaryFile() as written:
            process = subprocess.Popen(
                [*dying_with_us(), sys.executable, "-P", "-m", "cli.main", *arguments],
                cwd=_ROOT,
                env=clean_environment() | {"LORELAY_KAFKA": self._settings.kafka},
                stdout=written,
                stderr=written,
            )
            with ending(process):
                yield process
            if process.returncode:
                written.seek(0)
                raise NothingCame(f"lorelay ended with {process.returncode}: {written.read()!r}")

    def _until(self, is_over: Callable[[], bool], seconds: float = _PATIENCE_SECONDS) -> None:
        gives_up_at = perf_counter() + seconds
        while not is_over():
            self._turn()
            if perf_counter() > gives_up_at:
                raise NothingCame(f"What was waited for did not come within {seconds:.0f} s.")

    def _turn(self) -> None:
        """Sends what is due, and reads what has come."""
        if perf_counter() >= self._next_at:
            self._ordinary[self.send(next(self._questions).text, None)] = perf_counter()
            self._next_at += self._rng.expovariate(self._rate)
        message = self._consumer.poll(_TURN_SECONDS)
        at = perf_counter()
        if message is None:
            return
        if (error := message.error()) is not None:
            raise KafkaException(error)
        key, value = message.key(), message.value()
        if message.topic() == self._topics.adapters:
            assert isinstance(key, bytes)
            self._visible.setdefault(key.decode(), at)
            return
        assert isinstance(value, bytes)
        response = self._codec.decode(Response, value)
        sent_at = self._ordinary.pop(response.query_id, None)
        if sent_at is None:
            self._answers[response.query_id] = (response.adapter, at)
        elif response.error is not None:
            raise NothingCame(f"A query was answered with an error: {response.error.message}")
        else:
            self.ordinary_ms.append((at - sent_at) * 1000)


class _Probe:
    """Asks over and over until the right one answers."""

    def __init__(self, driver: Driver, texts: Iterator[str], adapter: str | None) -> None:
        self._driver = driver
        self._texts = texts
        self._adapter = adapter
        self._query_id: str | None = None
        self.answered_at: float | None = None

    def look(self, wanted: str) -> bool:
        """Whether ``wanted`` has answered; what is answered by another is asked again."""
        if self.answered_at is not None:
            return True
        if self._query_id is not None:
            found = self._driver.answer(self._query_id)
            if found is None:
                return False
            adapter, at = found
            if adapter == wanted:
                self.answered_at = at
                return True
        self._query_id = self._driver.send(next(self._texts), self._adapter)
        return False


@contextmanager
def driving(
    settings: KafkaSettings, questions: Sequence[Question], rate: float, rng: random.Random
) -> Iterator[Driver]:
    """A driver that reads the responses and the registry from their ends on."""
    producer = Producer(producer_config(settings))
    consumer = Consumer(consumer_config(settings))
    try:
        follow(consumer, settings.topics.responses, settings.topics.adapters)
        yield Driver(settings, consumer, producer, questions, rate, rng)
    finally:
        consumer.close()
        producer.close()
