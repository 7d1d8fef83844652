"""How the process ends."""

import asyncio

from schemas.codec import Codec
from streams.gateway.main import GatewayProcess
from streams.gateway.sender import Sender
from streams.gateway.settings import GatewaySettings


class HangingSender(Sender):
    """Of a broker that takes connections and never answers."""

    def __init__(self, settings: GatewaySettings) -> None:
        super().__init__(settings, Codec(), "gateway")
        self.asked = asyncio.Event()

    async def reaches_kafka(self) -> bool:
        self.asked.set()
        await asyncio.Event().wait()
        return True


async def test_who_is_told_to_stop_waits_for_no_broker_that_hangs() -> None:
    settings = GatewaySettings()
    process, sender = GatewayProcess(settings), HangingSender(settings)
    ending = asyncio.create_task(process._until_stopped(sender))
    async with asyncio.timeout(30):
        await sender.asked.wait()
        process.is_stopping.set()
        await ending
