"""What a sync that goes on does where the others are away."""

import asyncio
import socket
from contextlib import suppress

import pytest

from cli.sync.command import _Run


async def test_it_goes_on_while_kafka_is_away(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.socket() as taken:  # nobody listens there, or can
        taken.bind(("127.0.0.1", 0))
        kafka = f"127.0.0.1:{taken.getsockname()[1]}"
        monkeypatch.setenv("LORELAY_KAFKA", kafka)
        run = _Run("http://127.0.0.1:1", False, False, False, "tester")
        watching = asyncio.create_task(run.again_and_again(0.01))
        said = ""
        async with asyncio.timeout(30):
            while said.count("Note: ") < 2 and not watching.done():
                await asyncio.sleep(0.01)
                said += capsys.readouterr().out
        assert not watching.done(), "it ends where Kafka is away"
        watching.cancel()
        with suppress(asyncio.CancelledError):
            await watching
    assert f"No Kafka broker answers at {kafka}" in said
