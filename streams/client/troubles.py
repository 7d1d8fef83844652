"""What a person is told whose cluster can't be used: a sentence."""

from aiokafka.errors import KafkaConnectionError, KafkaError

from schemas.errors import ConfigurationError, LorelayError
from streams.kafka.access import AccessRefused, refusal
from streams.kafka.settings import KafkaSettings


def no_topic(settings: KafkaSettings, topic: str) -> LorelayError:
    """What to tell a person whose cluster shows no such topic."""
    if settings.kafka_security == "PLAINTEXT":
        return ConfigurationError(
            f"The cluster at {settings.kafka} has no topic {topic}: "
            "`lorelay up` or `lorelay topics` creates it."
        )
    return AccessRefused(
        f"There is no topic {topic} at {settings.kafka} that {settings.principal} may see: "
        "`lorelay topics` creates what is missing, `lorelay topics acls` lists the rights of "
        "each role."
    )


async def unreachable(settings: KafkaSettings, error: KafkaError) -> LorelayError:
    """What to tell a person whose cluster does not answer, or does not let them in."""
    if (refused := await refusal(settings, error)) is not None:
        return refused
    if isinstance(error, KafkaConnectionError):
        problem = f"No Kafka broker answers at {settings.kafka}"
    else:
        problem = f"The Kafka cluster at {settings.kafka} can't be used ({error!r})"
    return ConfigurationError(
        f"{problem}: start the local stack with `lorelay up`, "
        "or set LORELAY_KAFKA=host:port to use a cluster of yours."
    )
