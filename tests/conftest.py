"""What tests of every kind share: a real broker, topics of one's own, the length of a run."""

import asyncio
import os
import signal
import uuid
from collections.abc import Generator, Iterator
from dataclasses import dataclass

import hypothesis
import pytest

from cli.stack.broker import running_broker
from schemas.topics import Topics
from streams.garbage import importing
from streams.kafka.admin import create_topics
from streams.kafka.settings import KafkaSettings
from tests.kafka_admin import running_admin

# No test asserts a time: these machines are shared.
hypothesis.settings.register_profile("untimed", deadline=None)
hypothesis.settings.load_profile("untimed")

# In the background a shell has its programs ignore Ctrl-C, and they have theirs ignore it, too.
signal.signal(signal.SIGINT, signal.default_int_handler)

_CLUSTER_OF_THE_CALLER = os.environ.get("LORELAY_KAFKA")


@dataclass(frozen=True, slots=True)
class Scale:
    """How many queries the tests of the exactly-once promise send, inputs decoders get, and
    requests each operation of the gateway."""

    echo_queries: int
    vllm_queries: int
    fuzzed_inputs: int
    requests: int


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--soak", action="store_true", help="Run the chaos and fuzz tests at full length."
    )


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """What all tests import is no garbage: looking for some is a good part of the work."""
    with importing():
        return (yield)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--soak"):
        for item in items:
            item.add_marker(pytest.mark.timeout(3600))


@pytest.fixture(scope="session")
def scale(request: pytest.FixtureRequest) -> Scale:
    """The length of this run: `make test`, or `make soak`."""
    if request.config.getoption("--soak"):
        return Scale(40_000, 1_000, 2_000_000, 1_000)
    return Scale(3_000, 100, 100_000, 25)


@pytest.fixture(autouse=True)
def no_settings_of_the_caller(monkeypatch: pytest.MonkeyPatch) -> None:
    """No LORELAY_* variable of the shell decides how a test goes."""
    for name in [name for name in os.environ if name.startswith("LORELAY_")]:
        monkeypatch.delenv(name)


@pytest.fixture(scope="session")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """host:port of a real broker: one for the whole run, or the cluster in LORELAY_KAFKA."""
    if _CLUSTER_OF_THE_CALLER:
        yield _CLUSTER_OF_THE_CALLER
        return
    with running_broker(tmp_path_factory.mktemp("broker")) as address:
        yield address


@pytest.fixture
def topics() -> Topics:
    """Topic names that no other test uses; nothing is created."""
    return Topics(f"test-{uuid.uuid4().hex[:12]}.")


@pytest.fixture
def kafka_settings(kafka: str, topics: Topics) -> KafkaSettings:
    """Settings for the broker and this test's topic names."""
    return KafkaSettings(kafka=kafka, topic_prefix=topics.prefix)


@pytest.fixture
def live_topics(kafka_settings: KafkaSettings, topics: Topics) -> Iterator[Topics]:
    """This test's topics, created as the product creates them, and deleted after it."""
    asyncio.run(_create(kafka_settings, topics))
    yield topics
    asyncio.run(_delete(kafka_settings, topics))


async def _create(settings: KafkaSettings, topics: Topics) -> None:
    await create_topics(settings, topics.specs())
    wanted = {spec.name for spec in topics.specs()}
    async with running_admin(settings) as admin:
        # The controller has made them; the broker hears of it a moment later.
        while not wanted <= set(await admin.list_topics()):
            pass


@pytest.fixture
def group() -> str:
    """A consumer group, or a transactional id, of the test's own."""
    return f"group-{uuid.uuid4().hex[:12]}"


async def _delete(settings: KafkaSettings, topics: Topics) -> None:
    async with running_admin(settings) as admin:
        ours = [name for name in await admin.list_topics() if name.startswith(topics.prefix)]
        await admin.delete_topics(ours)
