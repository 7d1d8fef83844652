"""The registry as it is now."""

from cli.plain_errors import plain_errors
from schemas.codec import Codec
from streams.kafka.settings import KafkaSettings
from streams.registry.follow import RegistryFollower
from streams.registry.reader import Registry


async def read_registry(settings: KafkaSettings) -> Registry:
    """Raises: AccessRefused or ConfigurationError where the cluster can't be read."""
    async with plain_errors(settings):
        follower = RegistryFollower(settings, Codec())
        try:
            await follower.start()
        finally:
            await follower.stop()
    return follower.registry
