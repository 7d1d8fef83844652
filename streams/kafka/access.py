"""Why the cluster does not let us in: found out by asking it, and told in a sentence."""

import asyncio
import ssl
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.client import CoordinationType
from aiokafka.conn import collect_hosts, create_conn
from aiokafka.errors import (
    ClusterAuthorizationFailedError,
    GroupAuthorizationFailedError,
    KafkaConnectionError,
    KafkaError,
    SaslAuthenticationFailed,
    TopicAuthorizationFailedError,
    TransactionalIdAuthorizationFailed,
    UnsupportedSaslMechanismError,
)
from aiokafka.protocol.metadata import MetadataRequest

from schemas.errors import LorelayError
from streams.kafka.acls import Acl, Pattern, Resource, topic_names
from streams.kafka.settings import KafkaSettings

_FORBIDDEN: Final[dict[type[BaseException], str]] = {
    TopicAuthorizationFailedError: "a right on the topic",
    GroupAuthorizationFailedError: "a right on the consumer group",
    TransactionalIdAuthorizationFailed: "a right on the transactional id",
    # What an idempotent producer is told that may write nowhere (KIP-679).
    ClusterAuthorizationFailedError: "the right to write to any topic",
}
_HINT: Final = "`lorelay topics acls` lists the rights of each role"
_AGAIN_SECONDS: Final = 1.0
_ASKING_SECONDS: Final = 10.0


class AccessRefused(LorelayError):
    """The cluster is there, but does not let us in, or not do what we want."""

    code = "access_refused"


async def refusal(settings: KafkaSettings, error: Exception) -> AccessRefused | None:
    """What to tell about an error that is about access; None for any other.

    Clients say of a failed connection only that it failed, so it is tried here once more.
    """
    sentence = forbidden(settings, error)
    if sentence is None and isinstance(error, KafkaConnectionError):
        reason = await _why_unconnected(settings)
        sentence = reason and f"the cluster at {settings.kafka} can't be used: {reason}"
    return AccessRefused(f"{sentence[0].upper()}{sentence[1:]}.") if sentence else None


def forbidden(settings: KafkaSettings, error: Exception) -> str | None:
    """What we lack the right to use, as half a sentence; None for an error of another kind."""
    for cause in _causes(error):
        if (right := _FORBIDDEN.get(type(cause))) is not None:
            names = cause.args[0] if cause.args else ()
            named = names if isinstance(names, str) else ", ".join(sorted(names))
            return (
                f"{settings.principal} lacks {right} {named}".rstrip()
                + f" at {settings.kafka} ({_HINT})"
            )
    return None


def unseen(settings: KafkaSettings, topics: Sequence[str]) -> str:
    """That topics can't be seen, as half a sentence; a cluster hides what is forbidden."""
    names = f"topics {', '.join(topics)} at {settings.kafka}"
    if settings.kafka_security == "PLAINTEXT":
        return names
    return f"{names}, or for {settings.principal}'s right to see them ({_HINT})"


async def await_rights(
    settings: KafkaSettings, acls: Sequence[Acl], on_wait: Callable[[str], None]
) -> None:
    """Waits until the cluster grants all of ``acls``; the topics are there already.

    ``on_wait`` is told what is missing. Where nobody is authenticated, nothing is asked.
    """
    if settings.kafka_security == "PLAINTEXT":
        return
    while True:
        try:
            lacking = await lacking_rights(settings, acls)
            if not lacking:
                return
            reason = f"waiting for rights at {settings.kafka}: {settings.principal} lacks "
            on_wait(f"{reason}{', '.join(lacking)} ({_HINT})")
        except KafkaError as error:
            on_wait(f"waiting for Kafka at {settings.kafka} ({error})")
        await asyncio.sleep(_AGAIN_SECONDS)


async def lacking_rights(settings: KafkaSettings, acls: Sequence[Acl]) -> list[str]:
    """Those of ``acls`` that the cluster does not grant us, each in a few words.

    None where nobody is authenticated: nothing is asked then. Raises: KafkaError.
    """
    if settings.kafka_security == "PLAINTEXT":
        return []
    return [
        *await asyncio.to_thread(_lacking, settings, acls),
        *await _lacking_transactions(settings, acls),
    ]


def _lacking(settings: KafkaSettings, acls: Sequence[Acl]) -> list[str]:
    """Rights on single topics and groups: librdkafka asks, as aiokafka can't (KIP-430)."""
    from confluent_kafka import KafkaException, TopicCollection
    from confluent_kafka.admin import AdminClient

    admin = AdminClient(settings.librdkafka_config() | {"log_level": 0})
    asking = {"include_authorized_operations": True, "request_timeout": _ASKING_SECONDS}
    groups = [acl.name for acl in acls if acl.resource is Resource.GROUP]
    topics = admin.describe_topics(TopicCollection(topic_names(acls)), **asking)
    described = admin.describe_consumer_groups(groups, **asking) if groups else {}
    answers: dict[tuple[Resource, str], Any] = {
        **{(Resource.TOPIC, name): answer for name, answer in topics.items()},
        **{(Resource.GROUP, name): answer for name, answer in described.items()},
    }
    granted: dict[tuple[Resource, str], set[str] | None] = {}
    for name, answer in answers.items():
        try:
            told = answer.result().authorized_operations
        except KafkaException as error:
            if "AUTHORIZATION" not in error.args[0].name():
                raise KafkaError(error.args[0].str()) from error
            granted[name] = set()
        else:
            # A broker that does not tell leaves it open, and what is forbidden fails later.
            granted[name] = {operation.name for operation in told} if told else None
    return [
        f"{operation} on {acl.resource} {acl.name}"
        for acl in acls
        if (known := granted.get((acl.resource, acl.name))) is not None
        for operation in acl.operations
        if operation.name not in known
    ]


async def _lacking_transactions(settings: KafkaSettings, acls: Sequence[Acl]) -> list[str]:
    """Rights on transactional ids: no client tells them, but looking an id up needs one."""
    admin = AIOKafkaAdminClient(**settings.client_kwargs())
    lacking = []
    try:
        await admin.start()
        for acl in acls:
            if acl.resource is Resource.TRANSACTIONAL_ID:
                sample = f"{acl.name}0" if acl.pattern is Pattern.PREFIXED else acl.name
                try:
                    await admin._client.coordinator_lookup(CoordinationType.TRANSACTION, sample)
                except TransactionalIdAuthorizationFailed:
                    lacking.append(f"Write on {acl.resource} {acl.name}…")
    finally:
        await admin.close()
    return lacking


async def _why_unconnected(settings: KafkaSettings) -> str | None:
    """Why a broker that is there does not talk to us; None where it does, or none is there."""
    kwargs = settings.client_kwargs()
    reason = None
    for host, port, _ in collect_hosts(kwargs.pop("bootstrap_servers")):
        try:
            connection = await create_conn(host, port, **kwargs)
            try:
                # A listener that wants SASL answers a first request without it, but no second.
                await connection.send(MetadataRequest([]))
            finally:
                connection.close()
            return None
        except (OSError, KafkaError, TimeoutError) as error:
            reason = reason or _why(settings, error)
    return reason


def _why(settings: KafkaSettings, error: BaseException) -> str | None:
    for cause in _causes(error):
        if isinstance(cause, SaslAuthenticationFailed):
            return (
                f"it refuses {settings.principal}, so LORELAY_KAFKA_USERNAME or the password is "
                "wrong"
            )
        if isinstance(cause, UnsupportedSaslMechanismError):
            return (
                f"it does not take {settings.kafka_sasl_mechanism}, so set "
                "LORELAY_KAFKA_SASL_MECHANISM to what it takes"
            )
        if isinstance(cause, ssl.SSLCertVerificationError):
            return (
                f"its certificate is not trusted ({cause.verify_message}), so set "
                "LORELAY_KAFKA_CA to the CA that signed it, and LORELAY_KAFKA to names in it"
            )
        if isinstance(cause, ssl.SSLError):
            return _why_no_tls(cause)
    if isinstance(error, KafkaConnectionError | ConnectionResetError):
        return (
            f"it does not answer with LORELAY_KAFKA_SECURITY={settings.kafka_security}, so set "
            "that to what its listener has"
        )
    return None


def _why_no_tls(error: ssl.SSLError) -> str:
    reason = error.reason or "TLS failed"
    if "CERTIFICATE" in reason or "UNKNOWN_CA" in reason:
        return (
            f"it wants a client certificate that it trusts ({reason}), so set "
            "LORELAY_KAFKA_CERTIFICATE and LORELAY_KAFKA_KEY"
        )
    return f"there is no TLS with it ({reason}), so set LORELAY_KAFKA_SECURITY to what it has"


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__
