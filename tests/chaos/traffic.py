"""Queries as clients send them, and which records they became."""

import json
import random
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from schemas.topics import Topics
from tests.chaos import wire

_SECONDS = 60.0
#: One in so many transactions is aborted.
_ABORTED = 10


@dataclass(slots=True)
class Sent:
    """The query records that are committed, by their place; and what must never be answered."""

    #: Partition and offset of each record, and the id that its response must have.
    places: dict[tuple[int, int], str] = field(default_factory=dict)
    aborted: set[str] = field(default_factory=set)
    #: Ids of queries that asked for a copy of the response, and of those nobody can read.
    with_copy: set[str] = field(default_factory=set)
    unreadable: set[str] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class Query:
    """A query record before it is sent; without `id`, its place is what it is known by."""

    id: str | None
    value: bytes
    has_copy: bool = False


class Mix:
    """Queries of every kind: JSON and Avro, good and bad, each with an id of its own."""

    def __init__(
        self,
        rng: random.Random,
        topics: Topics,
        adapters: tuple[str, ...],
        poison: float = 0.0,
    ) -> None:
        self._rng = rng
        self._topics = topics
        self._adapters = adapters
        self._poison = poison
        self._number = 0

    def next(self) -> Query:
        """The next query."""
        self._number += 1
        draw = self._rng.random()
        if draw < 0.01:
            return Query(None, b"\x07 no query " + str(self._number).encode())
        name = f"query-{self._number}"
        fields: dict[str, Any] = {
            "id": name,
            "prompt": f"What does question {self._number} ask?",
            "priority": self._rng.randint(0, 9),
            "sampling": {"max_tokens": 16, "temperature": 0.0},
        }
        if draw < 0.03:
            fields["adapter"] = "nobody-knows-v1"
        elif draw < 0.05:
            fields["reply_to"] = {"topic": self._topics.replies, "partition": self._number % 4}
        elif draw < 0.5 and self._adapters:
            fields["adapter"] = self._rng.choice(self._adapters)
        elif draw < 0.75:
            fields["adapter"] = "base"
        if self._rng.random() < self._poison:
            fields |= {"prompt": f"Number {self._number} is poison.", "adapter": "base"}
        is_json = self._rng.random() < 0.5
        value = json.dumps(fields).encode() if is_json else wire.encode("Query", fields)
        return Query(name, value, "reply_to" in fields)


class Traffic:
    """Sends queries in bursts: plain ones, and others in transactions, of which some abort."""

    def __init__(
        self,
        address: str,
        topics: Topics,
        mix: Mix,
        rng: random.Random,
        *,
        in_transactions: bool = True,
    ) -> None:
        self.sent = Sent()
        #: How many bursts have been sent.
        self.bursts = 0
        self._topic = topics.queries
        self._mix = mix
        self._rng = rng
        self._in_transactions = in_transactions
        self._transactions = 0
        self._is_hurried = threading.Event()
        # That the broker is away now and then is what this is about: no line on it.
        common = {"bootstrap.servers": address, "log_level": 0}
        self._plain = Producer(common | {"enable.idempotence": True})
        self._transactional = Producer(
            common
            | {"transactional.id": f"{topics.prefix}client", "transaction.timeout.ms": 30_000}
        )

    def hurry(self) -> None:
        """Sends what is left without pauses."""
        self._is_hurried.set()

    def run(self, count: int, seconds: float, burst: float) -> None:
        """Commits `count` queries in about `seconds`, `burst` at a time on average.

        The last ones wait for hurry().
        """
        if self._in_transactions:
            self._transactional.init_transactions(_SECONDS)
        reserve = min(100, count // 10)
        pause = 2 * burst * seconds / count
        while (left := count - len(self.sent.places)) > 0:
            if self._is_hurried.is_set():
                size = left
            elif left > reserve:
                size = min(left - reserve, 1 + int(self._rng.expovariate(1 / burst)))
            else:
                # The storm goes on: so does a trickle, until nothing is left but the end.
                size = 1 if left > 1 else 0
            if not self._in_transactions or self._rng.random() < 0.5:
                self._send(size)
            else:
                self._send_in_transaction(size)
            self.bursts += 1
            self._is_hurried.wait(self._rng.uniform(0, pause))

    def _send(self, size: int) -> None:
        for _ in range(size):
            query = self._mix.next()
            self._plain.produce(self._topic, query.value, on_delivery=self._on_delivery(query))
        assert self._plain.flush(_SECONDS) == 0

    def _send_in_transaction(self, size: int) -> None:
        self._transactions += 1
        is_aborted = self._transactions % _ABORTED == 2
        self._transactional.begin_transaction()
        delivered = Sent()
        for _ in range(size):
            query = self._mix.next()
            self._transactional.produce(
                self._topic, query.value, on_delivery=self._on_delivery(query, delivered)
            )
        assert self._transactional.flush(_SECONDS) == 0
        if is_aborted:
            self._transactional.abort_transaction(_SECONDS)
            self.sent.aborted.update(delivered.places.values())
        else:
            self._transactional.commit_transaction(_SECONDS)
            self.sent.places.update(delivered.places)
            self.sent.with_copy.update(delivered.with_copy)
            self.sent.unreadable.update(delivered.unreadable)

    def _on_delivery(
        self, query: Query, into: Sent | None = None
    ) -> Callable[[KafkaError | None, Message], None]:
        target = self.sent if into is None else into

        def on_delivery(error: KafkaError | None, message: Message) -> None:
            if error is not None:
                raise KafkaException(error)
            partition, offset = message.partition(), message.offset()
            assert partition is not None and offset is not None
            name = query.id or f"{self._topic}-{partition}-{offset}"
            target.places[partition, offset] = name
            if query.has_copy:
                target.with_copy.add(name)
            if query.id is None:
                target.unreadable.add(name)

        return on_delivery
