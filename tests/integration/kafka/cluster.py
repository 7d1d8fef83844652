"""The cluster as any client sees it, through librdkafka and none of our own code."""

import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TypeVar

from confluent_kafka import (
    Consumer,
    ConsumerGroupTopicPartitions,
    KafkaError,
    KafkaException,
    Message,
    Producer,
    TopicPartition,
)
from confluent_kafka.admin import (
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewTopic,
    ResourceType,
)

_SECONDS = 30.0
_NOT_SETTLED = (
    KafkaError.COORDINATOR_NOT_AVAILABLE,
    KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
    KafkaError.NOT_COORDINATOR,
    KafkaError.NOT_LEADER_FOR_PARTITION,
    KafkaError.LEADER_NOT_AVAILABLE,
    # A new leader knows its high watermark once a follower has caught up (KIP-207).
    KafkaError.OFFSET_NOT_AVAILABLE,
)

_T = TypeVar("_T")


class Cluster:
    """Topics with names of their own, and what is on them."""

    def __init__(self, address: str) -> None:
        self.address = address
        self._admin = AdminClient({"bootstrap.servers": address, "log_level": 0})
        self._producer = Producer(
            {
                "bootstrap.servers": address,
                "linger.ms": 0,
                "message.max.bytes": 4 * 1024 * 1024,
                "log_level": 0,
            }
        )
        self._made: list[str] = []

    def create(
        self, name: str, partitions: int = 1, config: Mapping[str, str] | None = None
    ) -> str:
        """A new topic whose name begins with `name`."""
        topic = f"{name}-{uuid.uuid4().hex[:12]}"
        made = self._admin.create_topics(
            [NewTopic(topic, partitions, 1, config=dict(config or {}))]
        )
        made[topic].result(_SECONDS)
        self._made.append(topic)
        self._await_metadata(topic)
        return topic

    def clean_up(self, prefix: str) -> None:
        """Deletes what was created here, and every topic under a test's prefix."""
        names = [name for name in self.topics() if name in self._made or name.startswith(prefix)]
        for deleted in self._admin.delete_topics(names).values() if names else ():
            failure = deleted.exception(_SECONDS)
            # A broker goes on listing for a moment what another has deleted.
            if failure and failure.args[0].code() != KafkaError.UNKNOWN_TOPIC_OR_PART:
                raise failure

    def topics(self) -> Mapping[str, int]:
        """How many partitions each topic has."""
        found = self._admin.list_topics(timeout=_SECONDS).topics
        return {name: len(topic.partitions) for name, topic in found.items()}

    def config(self, topic: str) -> Mapping[str, str]:
        """Every setting of a topic."""
        resource = ConfigResource(ResourceType.TOPIC, topic)
        entries = self._admin.describe_configs([resource])[resource].result(_SECONDS)
        return {name: str(entry.value) for name, entry in entries.items()}

    def limit(self, topic: str, max_message_bytes: int) -> None:
        """Returns when the topic takes only batches of at most so many bytes."""
        entry = ConfigEntry(
            "max.message.bytes",
            str(max_message_bytes),
            incremental_operation=AlterConfigOpType.SET,
        )
        resource = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=[entry])
        self._admin.incremental_alter_configs([resource])[resource].result(_SECONDS)
        deadline = time.monotonic() + _SECONDS
        while self.config(topic)["max.message.bytes"] != str(max_message_bytes):
            assert time.monotonic() < deadline, f"{topic} kept its limit"

    def set_of_broker(self, name: str, value: str) -> None:
        """Changes a setting of broker 1 while it runs."""
        entry = ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET)
        resource = ConfigResource(ResourceType.BROKER, "1", incremental_configs=[entry])
        self._admin.incremental_alter_configs([resource])[resource].result(_SECONDS)

    def delete(self, topic: str) -> None:
        """Returns when the topic is gone."""
        self._admin.delete_topics([topic])[topic].result(_SECONDS)
        deadline = time.monotonic() + _SECONDS
        while topic in self.topics():
            assert time.monotonic() < deadline, f"{topic} stayed"

    def produce(
        self,
        topic: str,
        values: Sequence[bytes | None],
        *,
        partition: int = 0,
        key: bytes | None = None,
        headers: Sequence[tuple[str, bytes | None]] = (),
        timestamp_ms: int = 0,
    ) -> list[int]:
        """Writes without transactions, at that time or else now; the offsets."""
        offsets: list[int] = []
        for value in values:
            self._producer.produce(
                topic,
                value,
                key=key,
                partition=partition,
                headers=list(headers),
                timestamp=timestamp_ms,
                on_delivery=_collect(offsets),
            )
        self._producer.flush(_SECONDS)
        assert len(offsets) == len(values)
        return offsets

    @contextmanager
    def transactions(self, name: str | None = None) -> Iterator[Producer]:
        """A producer whose transactions the caller begins and ends."""
        producer = Producer(
            {
                "bootstrap.servers": self.address,
                "transactional.id": name or uuid.uuid4().hex,
                "transaction.timeout.ms": 60_000,
            }
        )
        producer.init_transactions(_SECONDS)
        yield producer

    def read(self, topic: str, isolation: str = "read_committed") -> list[Message]:
        """Every record that is there now, partition by partition."""
        consumer = Consumer(
            {
                "bootstrap.servers": self.address,
                "group.id": uuid.uuid4().hex,
                "isolation.level": isolation,
                "enable.auto.commit": False,
                "enable.partition.eof": True,
                "auto.offset.reset": "earliest",
                "fetch.wait.max.ms": 10,
            }
        )
        try:
            partitions = [TopicPartition(topic, n, 0) for n in range(self.topics()[topic])]
            # Before anything is fetched: they would wait behind fetches that wait for records.
            ends = {p.partition: self._end(consumer, p) for p in partitions}
            consumer.assign(partitions)
            found: list[Message] = []
            ended: set[int] = set()
            deadline = time.monotonic() + _SECONDS
            while len(ended) < len(partitions):
                assert time.monotonic() < deadline, f"{topic} could not be read to its end"
                # One by one: a batch is waited for until it is full.
                if (message := consumer.poll(0.2)) is None:
                    continue
                if message.error() is None:
                    found.append(message)
                    # There is no end-of-partition while others go on writing.
                    if message.offset() + 1 >= ends[message.partition()]:
                        ended.add(message.partition())
                elif message.error().code() == KafkaError._PARTITION_EOF:
                    ended.add(message.partition())
                else:
                    raise KafkaException(message.error())
            return sorted(found, key=lambda message: (message.partition(), message.offset()))
        finally:
            consumer.close()

    def committed(self, group: str, topic: str, partition: int = 0) -> int:
        """A group's offset; -1001 where it has none.

        Without the metadata: long ones are read past their end (confluent-kafka 2.16.1).
        """
        asked = ConsumerGroupTopicPartitions(group, [TopicPartition(topic, partition)])
        result = _once_settled(
            lambda: self._admin.list_consumer_group_offsets([asked])[group].result(_SECONDS)
        )
        (found,) = result.topic_partitions
        offset: int = found.offset
        return offset

    def commit(
        self, group: str, topic: str, offset: int, metadata: str = "", partition: int = 0
    ) -> None:
        """Sets the offset of a group that has no members, once its coordinator takes it."""
        consumer = Consumer(
            {
                "bootstrap.servers": self.address,
                "group.id": group,
                "enable.auto.commit": False,
            }
        )
        try:
            # An empty text is written as a zero byte.
            told = (metadata,) if metadata else ()
            target = TopicPartition(topic, partition, offset, *told)
            _once_settled(lambda: consumer.commit(offsets=[target], asynchronous=False))
        finally:
            consumer.close()

    def members(self, group: str) -> int:
        """How many members a group has."""
        return len(self._admin.describe_consumer_groups([group])[group].result(_SECONDS).members)

    def delete_records(self, topic: str, before: int, partition: int = 0) -> None:
        """Moves the start of the log, as retention does."""
        target = TopicPartition(topic, partition, before)
        self._admin.delete_records([target])[target].result(_SECONDS)

    def log_range(self, topic: str, partition: int = 0) -> tuple[int, int]:
        """The first offset, and the one after the last, markers included."""
        consumer = Consumer({"bootstrap.servers": self.address, "group.id": uuid.uuid4().hex})
        try:
            return _watermarks(consumer, TopicPartition(topic, partition))
        finally:
            consumer.close()

    def _end(self, consumer: Consumer, partition: TopicPartition) -> int:
        return _watermarks(consumer, partition)[1]

    def _await_metadata(self, topic: str) -> None:
        deadline = time.monotonic() + _SECONDS
        while topic not in self.topics():
            assert time.monotonic() < deadline, f"{topic} did not appear"


def _watermarks(consumer: Consumer, partition: TopicPartition) -> tuple[int, int]:
    """The log's ends."""
    first, end = _once_settled(lambda: consumer.get_watermark_offsets(partition, _SECONDS))
    return first, end


def _once_settled(ask: Callable[[], _T]) -> _T:
    """Asks again as long as who leads or coordinates is not there yet, or has just been moved."""
    deadline = time.monotonic() + _SECONDS
    while True:
        try:
            return ask()
        except KafkaException as error:
            if error.args[0].code() not in _NOT_SETTLED or time.monotonic() > deadline:
                raise
            time.sleep(0.1)


def _collect(offsets: list[int]) -> Callable[[KafkaError | None, Message], None]:
    def on_delivery(error: KafkaError | None, message: Message) -> None:
        if error is not None:
            raise KafkaException(error)
        offset = message.offset()
        assert offset is not None
        offsets.append(offset)

    return on_delivery
