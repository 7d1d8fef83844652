"""Whether a transaction was committed that a broker has ended by halves.

A lone broker that restarts in the midst of a commit may call it complete without having written
all its markers (seen with Kafka 4.4.0). What tells is the process's own memory of what it was to
commit, beside the offset that is committed and the records that are visible.
"""

import logging
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import TopicAuthorizationFailedError

from streams.kafka.consumers import stop
from streams.kafka.log_ranges import LogRanges
from streams.kafka.settings import KafkaSettings
from streams.kafka.window import Committed

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Attempt:
    """A transaction that was to commit an input's offset, from `before` on.

    ``places`` has the offset of its first record in each output partition, once they are written.
    """

    before: Committed | None
    committed: Committed
    places: dict[TopicPartition, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Traces:
    """What the transactions of one process leave behind, whichever assignment made them.

    ``topics`` are those that outputs go to; ``attempted``, each input partition's last
    transaction, whatever became of it.
    """

    topics: Collection[str] = ()
    attempted: dict[TopicPartition, Attempt] = field(default_factory=dict)


async def was_committed(
    settings: KafkaSettings,
    attempt: Attempt,
    committed: Committed | None,
    partitions: Mapping[str, int],
) -> bool:
    """Whether a commit of this attempt was begun, given what is committed at last.

    Its offset says so, or else one of its records: a reader of committed records sees none of a
    transaction that was aborted. ``partitions`` are how many each topic has, 0 or none for one
    that was deleted with what it held. Raises: KafkaError.
    """
    if committed == attempt.committed:
        return True
    places = {p: at for p, at in attempt.places.items() if p.partition < partitions.get(p.topic, 0)}
    if committed != attempt.before or not places:
        return False
    try:
        is_visible = await _is_any_visible(settings, places)
    except TopicAuthorizationFailedError as error:
        # Whoever writes need not be allowed to read.
        log.warning("%s may not be read: the last transaction is taken for aborted", error)
        return False
    if is_visible:
        log.warning("the last transaction was committed without its offset %s", attempt.committed)
    return is_visible


async def _is_any_visible(settings: KafkaSettings, places: Mapping[TopicPartition, int]) -> bool:
    async with LogRanges(settings) as ranges:
        # What is undecided lies past the committed records' end, what was deleted before the start.
        spans = {place: await ranges.of(place) for place in places}
    there = {p: first for p, first in places.items() if spans[p][0] <= first < spans[p][1]}
    if not there:
        return False
    consumer = AIOKafkaConsumer(
        isolation_level="read_committed",
        enable_auto_commit=False,
        auto_offset_reset="none",
        fetch_max_wait_ms=1,
        **settings.client_kwargs(),
    )
    try:
        await consumer.start()
        consumer.assign(list(there))
        for place, first in there.items():
            consumer.seek(place, first)
        for place, first in there.items():
            while await consumer.position(place) <= first:
                fetched = await consumer.getmany(place, timeout_ms=200, max_records=1)
                if any(record.offset == first for record in fetched.get(place, ())):
                    return True
        return False
    finally:
        await stop(consumer)
