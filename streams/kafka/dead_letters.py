"""Records that nobody can handle, kept whole: Kafka Connect's header names (KIP-298)."""

from streams.kafka.output import Headers, Output

#: The original record's key, which gives way to its origin as the dead letter's key.
ORIGINAL_KEY = "lorelay.original.key"


def dead_letter(
    topic: str,
    origin: tuple[str, int, int],
    key: bytes | None,
    value: bytes | None,
    headers: Headers,
    error: Exception,
    stage: str,
) -> Output:
    """The record at `origin` (topic, partition, offset) for the topic of dead letters.

    The key is the origin, so the topic holds each record once and a purge is a tombstone.
    """
    reason: list[tuple[str, bytes]] = [
        ("__connect.errors.topic", origin[0].encode()),
        ("__connect.errors.partition", str(origin[1]).encode()),
        ("__connect.errors.offset", str(origin[2]).encode()),
        ("__connect.errors.connector.name", b"lorelay"),
        ("__connect.errors.stage", stage.encode()),
        ("__connect.errors.exception.class.name", type(error).__name__.encode()),
        ("__connect.errors.exception.message", str(error).encode()[:4096]),
    ]
    if key is not None:
        reason.append((ORIGINAL_KEY, key))
    return Output(
        topic=topic,
        key="/".join(map(str, origin)).encode(),
        value=value,
        headers=[*headers, *reason],
    )
