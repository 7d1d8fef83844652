"""The rights that each role needs on the cluster, and no others; pure.

A right to write implies the one to describe. An idempotent producer needs no right of its own
from Kafka 3.0 on (KIP-679), and a consumer that assigns partitions to itself no group.
"""

import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from schemas.topics import Topics


class Resource(StrEnum):
    """What a right is on, as options of kafka-acls.sh name it."""

    TOPIC = "topic"
    GROUP = "group"
    TRANSACTIONAL_ID = "transactional-id"


class Pattern(StrEnum):
    """Whether a name means one resource, or all whose names begin with it."""

    LITERAL = "literal"
    PREFIXED = "prefixed"


class Operation(StrEnum):
    """What may be done."""

    READ = "Read"
    WRITE = "Write"
    CREATE = "Create"
    DESCRIBE = "Describe"
    DESCRIBE_CONFIGS = "DescribeConfigs"


@dataclass(frozen=True, slots=True)
class Acl:
    """Operations that are allowed on a resource, or on those whose names begin with a prefix."""

    resource: Resource
    name: str
    operations: tuple[Operation, ...]
    pattern: Pattern = Pattern.LITERAL

    def arguments(self, principal: str) -> str:
        """The arguments of kafka-acls.sh that grant this, quoted for a shell and for xargs."""
        words = ["--add", "--allow-principal", principal]
        for operation in self.operations:
            words += ["--operation", operation]
        words += [f"--{self.resource}", self.name]
        if self.pattern is Pattern.PREFIXED:
            words += ["--resource-pattern-type", self.pattern]
        return shlex.join(words)


def inspection_group(router_group: str) -> str:
    """The group in which routers look for unreadable records on the topics that all read."""
    return f"{router_group}-inspection"


def router_acls(topics: Topics, group: str) -> tuple[Acl, ...]:
    """What a router needs: it consumes queries, responses for the metrics, and what it inspects."""
    metrics_group = f"{group}-metrics"
    return (
        *_topics(_READ, topics.queries, topics.adapters, topics.examples, topics.traffic),
        *_topics(_READ, topics.cancels, topics.workers),
        *_topics(_WRITE, topics.requests, topics.metrics, topics.dead_letters),
        *_topics(_READ_WRITE, topics.responses, topics.schemas),
        _replies(_WRITE, topics),
        _group(group),
        _group(metrics_group),
        _group(inspection_group(group)),
        _transactions(group, topics.queries),
        _transactions(metrics_group, topics.responses),
    )


def judge_acls(topics: Topics) -> tuple[Acl, ...]:
    """What a router needs beyond its own to decide on canaries: it changes versions then."""
    return (
        *_topics(_READ, topics.metrics, topics.feedback, topics.shadow),
        *_topics(_WRITE, topics.adapters, topics.traffic, topics.lifecycle),
        Acl(Resource.TRANSACTIONAL_ID, f"{topics.adapters}-writer", _WRITE),
    )


def worker_acls(topics: Topics, group: str) -> tuple[Acl, ...]:
    """What a worker needs: it consumes requests, and writes them again for another attempt."""
    return (
        *_topics(_READ, topics.adapters, topics.traffic, topics.cancels),
        *_topics(_WRITE, topics.responses, topics.chunks, topics.workers, topics.dead_letters),
        *_topics(_WRITE, topics.shadow),
        *_topics(_READ_WRITE, topics.requests, topics.schemas),
        _replies(_WRITE, topics),
        _group(group),
        _transactions(group, topics.requests),
    )


def gateway_acls(topics: Topics) -> tuple[Acl, ...]:
    """What a gateway needs: it asks for its clients, and finds what was asked before."""
    return (
        *_topics(_READ, topics.responses, topics.chunks, topics.adapters, topics.traffic),
        *_topics(_READ, topics.workers, topics.metrics),
        *_topics(_READ_WRITE, topics.queries, topics.cancels, topics.schemas),
        *_topics(_WRITE, topics.feedback),
        _replies(_READ, topics),
    )


def registrar_acls(topics: Topics) -> tuple[Acl, ...]:
    """What a gateway needs besides where it has an admin, who may register adapters."""
    return (
        *_topics(_READ_WRITE, topics.examples),
        *_topics(_WRITE, topics.adapters, topics.traffic, topics.lifecycle),
        Acl(Resource.TRANSACTIONAL_ID, f"{topics.adapters}-writer", _WRITE),
    )


def dashboard_acls(topics: Topics, router_group: str, worker_group: str) -> tuple[Acl, ...]:
    """What a gateway needs beyond its own so that its live page shows all it can."""
    return (
        *_topics(_READ, topics.requests, topics.dead_letters),
        Acl(Resource.GROUP, router_group, (Operation.DESCRIBE,)),
        Acl(Resource.GROUP, worker_group, (Operation.DESCRIBE,)),
    )


def client_acls(topics: Topics) -> tuple[Acl, ...]:
    """What whoever asks needs; consumer groups of clients begin with the topics' prefix."""
    return (
        *_topics(_WRITE, topics.queries, topics.cancels, topics.feedback),
        *_topics(_READ, topics.responses, topics.chunks, topics.schemas),
        _replies(_READ, topics),
        _prefixed(Resource.GROUP, f"{topics.prefix}client", _READ),
    )


def operator_acls(topics: Topics) -> tuple[Acl, ...]:
    """What all commands need: `topics`, `adapters`, `ask`, `dead-letters` and the others."""
    registry = (topics.adapters, topics.examples, topics.traffic, topics.lifecycle)
    seeing = (Operation.CREATE, Operation.READ, Operation.DESCRIBE_CONFIGS)
    return (
        _prefixed(Resource.TOPIC, topics.prefix, seeing),
        *_topics(_WRITE, *registry, topics.schemas, topics.queries),
        *_topics(_WRITE, topics.cancels, topics.dead_letters, topics.requests, topics.feedback),
        Acl(Resource.TRANSACTIONAL_ID, f"{topics.adapters}-writer", _WRITE),
        Acl(Resource.TRANSACTIONAL_ID, f"{topics.dead_letters}-writer", _WRITE),
    )


def topic_names(acls: Iterable[Acl]) -> list[str]:
    """The topics that are named one by one, each once."""
    return [acl.name for acl in acls if acl.resource is Resource.TOPIC and _is_literal(acl)]


def markdown_table(roles: Mapping[str, Sequence[Acl]]) -> str:
    """The rights of each role as a Markdown table."""
    rows = [
        f"| {role} | {acl.resource} | `{acl.name}{'' if _is_literal(acl) else '…'}` "
        f"| {', '.join(acl.operations)} |"
        for role, acls in roles.items()
        for acl in acls
    ]
    return "\n".join(["| role | on | name | may |", "|---|---|---|---|", *rows])


_READ = (Operation.READ,)
_WRITE = (Operation.WRITE,)
_READ_WRITE = (Operation.READ, Operation.WRITE)


def _topics(operations: tuple[Operation, ...], *names: str) -> list[Acl]:
    return [Acl(Resource.TOPIC, name, operations) for name in names]


def _prefixed(resource: Resource, prefix: str, operations: tuple[Operation, ...]) -> Acl:
    # Every name begins with nothing, which Kafka writes as the literal *.
    if not prefix:
        return Acl(resource, "*", operations)
    return Acl(resource, prefix, operations, Pattern.PREFIXED)


def _replies(operations: tuple[Operation, ...], topics: Topics) -> Acl:
    return _prefixed(Resource.TOPIC, topics.replies, operations)


def _group(name: str) -> Acl:
    return Acl(Resource.GROUP, name, _READ)


def _transactions(group: str, topic: str) -> Acl:
    """Of every partition's owner, as `transactions.transactional_id` names them."""
    return _prefixed(Resource.TRANSACTIONAL_ID, f"{group}-{topic}-", _WRITE)


def _is_literal(acl: Acl) -> bool:
    return acl.pattern is Pattern.LITERAL and acl.name != "*"
