"""An admin client of aiokafka's, for as long as a block lasts."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiokafka.admin import AIOKafkaAdminClient

from streams.kafka.settings import KafkaSettings


@asynccontextmanager
async def running_admin(settings: KafkaSettings) -> AsyncIterator[AIOKafkaAdminClient]:
    admin = AIOKafkaAdminClient(**settings.client_kwargs())
    await admin.start()
    try:
        yield admin
    finally:
        await admin.close()
