"""A broker that falls silent while a query is sent to it."""

import asyncio
import os
import subprocess
import sys
import uuid
from collections.abc import Iterator

import pytest

from schemas.codec import Codec
from schemas.records import Cancel, Query, Record
from schemas.topics import Topics
from streams.client import Client, NoAnswer
from streams.kafka.admin import create_topics
from streams.kafka.settings import KafkaSettings
from tests.chaos.broker import KillableBroker, killable_broker
from tests.chaos.fleet import ROOT
from tests.chaos.proxy import Proxy, running_proxy
from tests.integration.gateway.system import eventually
from tests.integration.kafka.cluster import Cluster

#: Far above what is waited for here; aiokafka would try for ever.
_SECONDS = 100.0


class Silent:
    """A broker behind a proxy, and topics on it that nobody reads."""

    def __init__(self, proxy: Proxy, broker: KillableBroker) -> None:
        self.proxy = proxy
        self.settings = KafkaSettings(
            kafka=proxy.address, topic_prefix=f"silent-{uuid.uuid4().hex[:12]}."
        )
        self.topics: Topics = self.settings.topics
        self._cluster = Cluster(broker.address)
        self._codec = Codec()

    def await_record(self, topic: str, record_type: type[Record], text: str) -> None:
        """Returns when a record with that text has come to the topic."""

        def has_come() -> bool:
            found = (message.value() or b"" for message in self._cluster.read(topic))
            return any(text in str(self._codec.decode(record_type, value)) for value in found)

        eventually(has_come, f"{text} on {topic}")


@pytest.fixture(scope="module")
def silent(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Silent]:
    with (
        running_proxy() as proxy,
        killable_broker(tmp_path_factory.mktemp("silent"), advertised=proxy.address) as broker,
    ):
        proxy.forward_to(broker.address)
        made = Silent(proxy, broker)
        asyncio.run(create_topics(made.settings, made.topics.specs()))
        yield made


async def ask(client: Client, name: str, is_streamed: bool) -> None:
    if is_streamed:
        async for _ in client.stream("x", id=name, seconds=1.0):
            pass
    else:
        await client.ask("x", id=name, seconds=1.0)


@pytest.mark.parametrize("is_streamed", [False, True])
async def test_a_query_whose_sending_takes_too_long_is_taken_back(
    silent: Silent, is_streamed: bool
) -> None:
    name = f"late-{is_streamed}"
    async with asyncio.timeout(_SECONDS), Client(settings=silent.settings) as client:
        silent.proxy.swallow_from(name.encode())
        with pytest.raises(NoAnswer, match="may have been sent"):
            await ask(client, name, is_streamed)
        silent.proxy.forward()
        await asyncio.to_thread(silent.await_record, silent.topics.queries, Query, name)
        await asyncio.to_thread(silent.await_record, silent.topics.cancels, Cancel, name)


async def test_a_client_ends_while_the_broker_is_silent(
    silent: Silent, caplog: pytest.LogCaptureFixture
) -> None:
    async with asyncio.timeout(_SECONDS):
        async with Client(settings=silent.settings) as client:
            silent.proxy.swallow_from(b"abandoned")
            with pytest.raises(NoAnswer, match="may have been sent"):
                await ask(client, "abandoned", False)
    silent.proxy.forward()
    assert "abandoned could not be taken back within" in caplog.text


def test_the_command_ends_while_the_broker_is_silent(silent: Silent) -> None:
    silent.proxy.swallow_from(b"from the command")
    told = subprocess.run(
        [sys.executable, "-m", "cli.main", "ask", "from the command", "--timeout", "1"],
        cwd=ROOT,
        env=os.environ
        | {
            "LORELAY_KAFKA": silent.settings.kafka,
            "LORELAY_TOPIC_PREFIX": silent.topics.prefix,
        },
        check=False,
        capture_output=True,
        text=True,
        timeout=_SECONDS,
    )
    silent.proxy.forward()
    assert told.returncode == 1
    assert "may have been sent" in told.stderr
    silent.await_record(silent.topics.queries, Query, "from the command")
