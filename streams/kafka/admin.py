"""Creates our topics where they are missing; never changes one that is there."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import (
    ClusterAuthorizationFailedError,
    KafkaError,
    TopicAlreadyExistsError,
    TopicAuthorizationFailedError,
    for_code,
)

from schemas.errors import ConfigurationError
from schemas.topics import TopicSpec
from streams.kafka.access import refusal, unseen
from streams.kafka.settings import KafkaSettings

#: How often a cluster is asked that is not there yet, and one that refuses us: each time it and
#: aiokafka write a line to their logs.
_AGAIN_SECONDS = 0.5
_REFUSED_AGAIN_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Difference:
    """A setting of an existing topic that is not as we would create it."""

    topic: str
    setting: str
    found: str
    expected: str

    def __str__(self) -> str:
        return f"topic {self.topic}: {self.setting} is {self.found}, expected {self.expected}"


async def create_topics(
    settings: KafkaSettings, specs: Sequence[TopicSpec], replication: int = -1
) -> list[Difference]:
    """Creates the topics that are missing; returns how the others differ from their specs.

    `replication` -1 is the cluster's default. Raises: AccessRefused, or ConfigurationError
    where the cluster can't be reached or refuses for another reason.
    """
    admin = AIOKafkaAdminClient(**settings.client_kwargs())
    try:
        await admin.start()
        existing = set(await admin.list_topics())
        missing = [spec for spec in specs if spec.name not in existing]
        if missing:
            await _create(admin, missing, replication)
            await _until_known(admin, missing, settings.request_timeout_ms / 1000)
        return await _differences(admin, [spec for spec in specs if spec.name in existing])
    except KafkaError as error:
        raise await refusal(settings, error) or ConfigurationError(
            f"the topics at {settings.kafka} could not be created or read: {error!r}"
        ) from error
    finally:
        await admin.close()


async def _create(admin: AIOKafkaAdminClient, specs: Sequence[TopicSpec], replication: int) -> None:
    topics = [
        NewTopic(spec.name, spec.partitions, 1, topic_configs=dict(spec.config)) for spec in specs
    ]
    for topic in topics:
        # Its constructor refuses -1, which the protocol allows (KIP-464).
        topic.replication_factor = replication
    response = await admin.create_topics(topics)
    for name, code, *message in response.topic_errors:
        error = for_code(code)
        if error in (TopicAuthorizationFailedError, ClusterAuthorizationFailedError):
            raise error(name)
        if code and error is not TopicAlreadyExistsError:
            raise ConfigurationError(f"topic {name} was not created: {message or error.__name__}")


async def _until_known(
    admin: AIOKafkaAdminClient, specs: Sequence[TopicSpec], seconds: float
) -> None:
    """A broker confirms a topic a moment before it tells clients of it."""
    names = {spec.name for spec in specs}
    try:
        async with asyncio.timeout(seconds):
            while True:
                if names <= set(await admin.list_topics()):
                    return
                await asyncio.sleep(0.02)
    except TimeoutError:
        raise ConfigurationError(
            f"the topics {', '.join(sorted(names))} were created, but did not appear within "
            f"{seconds:.0f} s; try again."
        ) from None


async def _differences(admin: AIOKafkaAdminClient, specs: Sequence[TopicSpec]) -> list[Difference]:
    if not specs:
        return []
    names = [spec.name for spec in specs]
    partitions = {
        topic["topic"]: len(topic["partitions"]) for topic in await admin.describe_topics(names)
    }
    resources = [ConfigResource(ConfigResourceType.TOPIC, name) for name in names]
    configs = {
        name: {entry[0]: entry[1] for entry in entries}
        for response in await admin.describe_configs(resources)
        for _, _, _, name, entries in response.resources
    }
    found = []
    for spec in specs:
        if partitions[spec.name] != spec.partitions:
            found.append(
                Difference(
                    spec.name, "partitions", str(partitions[spec.name]), str(spec.partitions)
                )
            )
        for setting, expected in spec.config.items():
            actual = configs.get(spec.name, {}).get(setting)
            if actual is not None and actual != expected:
                found.append(Difference(spec.name, setting, actual, expected))
    return found


async def await_cluster(
    settings: KafkaSettings, topics: Sequence[str], on_wait: Callable[[str], None]
) -> dict[str, int]:
    """Waits until the cluster answers and all `topics` are there; their partition counts.

    `on_wait` is told, in words, what is being waited for, whenever that changes.
    """
    told = ""
    while True:
        pause = _AGAIN_SECONDS
        admin = AIOKafkaAdminClient(**settings.client_kwargs())
        try:
            await admin.start()
            missing = sorted(set(topics) - set(await admin.list_topics()))
            if not missing:
                described = await admin.describe_topics(list(topics))
                return {topic["topic"]: len(topic["partitions"]) for topic in described}
            reason = f"waiting for {unseen(settings, missing)}"
        except KafkaError as error:
            if refused := await refusal(settings, error):
                reason = f"waiting for access: {refused}"
                pause = _REFUSED_AGAIN_SECONDS
            else:
                reason = f"waiting for Kafka at {settings.kafka} ({type(error).__name__})"
        finally:
            await admin.close()
        if reason != told:
            on_wait(reason)
            told = reason
        await asyncio.sleep(pause)
