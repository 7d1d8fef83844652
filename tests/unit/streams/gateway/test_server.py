"""The server and its address."""

import asyncio

import pytest
from starlette.responses import PlainTextResponse

from schemas.errors import ConfigurationError
from streams.gateway.server import ApiServer


async def test_who_bound_an_address_that_another_listens_on_first_says_that_it_is_taken() -> None:
    app = PlainTextResponse("x")
    first = ApiServer("127.0.0.1", 0, stall_seconds=30.0)
    port = int(first.bind().rpartition(":")[2])
    second = ApiServer("127.0.0.1", port, stall_seconds=30.0)
    second.bind()
    await first.start(app)
    try:
        async with asyncio.timeout(30):
            with pytest.raises(ConfigurationError, match=f"Port {port} for the gateway is taken"):
                await second.start(app)
    finally:
        await second.stop()
        await first.stop()


@pytest.mark.parametrize("host", ["no.such.host.invalid", "a..b", "::1%nosuch"])
async def test_a_host_that_nobody_knows_is_refused_in_words(host: str) -> None:
    with pytest.raises(ConfigurationError, match="LORELAY_GATEWAY_HOST"):
        ApiServer(host, 0, stall_seconds=30.0).bind()
