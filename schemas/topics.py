"""Names and settings of every topic.

Retention of what a consumer group reads stays below the broker's
``offsets.retention.minutes`` (7 days by default): a group that comes back later than that
has no committed offset, and must then find no record that it had finished already.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

MAX_QUERY_BYTES = 1024 * 1024
"""Largest query record that is read; the broker's own default for any record."""

MAX_RECORD_BYTES = 2 * MAX_QUERY_BYTES
"""Largest record that Lorelay writes: a full-sized query and what routing adds to it.

Producers need ``max_request_size`` of at least this much.
"""

# What a broker takes; a client that asks it for another name may get no answer at all.
LONGEST_NAME: Final = 249
_TOPIC: Final = re.compile(rf"[A-Za-z0-9._-]{{1,{LONGEST_NAME}}}")

_HOUR_MS = 60 * 60 * 1000
_BATCH_OVERHEAD = 4096  # a broker measures the whole record batch, headers and keys included

_EVENTS = {"cleanup.policy": "delete", "retention.ms": str(72 * _HOUR_MS)}
_SHORT_LIVED = {"cleanup.policy": "delete", "retention.ms": str(_HOUR_MS)}
_KEPT = {"cleanup.policy": "delete", "retention.ms": "-1"}
_LATEST_PER_KEY = {"cleanup.policy": "compact", "min.cleanable.dirty.ratio": "0.1"}
_HEARTBEATS = {
    "cleanup.policy": "compact,delete",
    "retention.ms": str(24 * _HOUR_MS),
    "min.cleanable.dirty.ratio": "0.1",
    "segment.ms": str(_HOUR_MS),
}
_LARGE = {"max.message.bytes": str(MAX_RECORD_BYTES + _BATCH_OVERHEAD)}
_QUERY_SIZED = {"max.message.bytes": str(MAX_QUERY_BYTES + _BATCH_OVERHEAD)}


@dataclass(frozen=True, slots=True)
class TopicSpec:
    """A topic as it is created; settings not named here are left to the broker."""

    name: str
    partitions: int
    config: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Topics:
    """The names of all topics under one prefix."""

    prefix: str = "lorelay."

    @property
    def queries(self) -> str:
        return f"{self.prefix}queries"

    @property
    def requests(self) -> str:
        return f"{self.prefix}requests"

    @property
    def responses(self) -> str:
        return f"{self.prefix}responses"

    @property
    def replies(self) -> str:
        return f"{self.prefix}replies"

    @property
    def chunks(self) -> str:
        return f"{self.prefix}chunks"

    @property
    def cancels(self) -> str:
        return f"{self.prefix}cancels"

    @property
    def adapters(self) -> str:
        return f"{self.prefix}adapters"

    @property
    def examples(self) -> str:
        return f"{self.prefix}examples"

    @property
    def traffic(self) -> str:
        return f"{self.prefix}traffic"

    @property
    def lifecycle(self) -> str:
        return f"{self.prefix}lifecycle"

    @property
    def workers(self) -> str:
        return f"{self.prefix}workers"

    @property
    def schemas(self) -> str:
        return f"{self.prefix}schemas"

    @property
    def shadow(self) -> str:
        return f"{self.prefix}shadow"

    @property
    def metrics(self) -> str:
        return f"{self.prefix}metrics"

    @property
    def feedback(self) -> str:
        return f"{self.prefix}feedback"

    @property
    def dead_letters(self) -> str:
        return f"{self.prefix}dead-letters"

    def accepts_replies(self, topic: str) -> bool:
        """Whether a query may name ``topic`` in ``reply_to``: ``replies`` or a topic under it.

        Under it means a further part after a dot or a dash, as ``lorelay.replies.team-a``, and
        a name that Kafka takes.
        """
        under = (f"{self.replies}.", f"{self.replies}-")
        return topic == self.replies or bool(topic.startswith(under) and _TOPIC.fullmatch(topic))

    def specs(self, partitions: int = 4) -> tuple[TopicSpec, ...]:
        """Every topic with its settings; ``partitions`` for those that share out work."""
        return (
            TopicSpec(self.queries, partitions, _EVENTS | _QUERY_SIZED),
            TopicSpec(self.requests, partitions, _EVENTS | _LARGE),
            TopicSpec(self.responses, partitions, _EVENTS | _LARGE),
            TopicSpec(self.replies, partitions, _EVENTS | _LARGE),
            TopicSpec(self.chunks, partitions, _SHORT_LIVED),
            TopicSpec(self.cancels, 1, _SHORT_LIVED),
            TopicSpec(self.adapters, 1, _LATEST_PER_KEY),
            TopicSpec(self.examples, 1, _LATEST_PER_KEY),
            TopicSpec(self.traffic, 1, _LATEST_PER_KEY),
            TopicSpec(self.lifecycle, partitions, _KEPT),
            TopicSpec(self.workers, 1, _HEARTBEATS),
            TopicSpec(self.schemas, 1, _LATEST_PER_KEY),
            TopicSpec(self.shadow, partitions, _EVENTS | _LARGE),
            TopicSpec(self.metrics, partitions, _EVENTS),
            TopicSpec(self.feedback, partitions, _KEPT),
            TopicSpec(self.dead_letters, partitions, _LATEST_PER_KEY | _LARGE),
        )
