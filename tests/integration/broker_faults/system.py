"""A router and a worker on topics of their own, and what they say of themselves."""

import asyncio
import signal
import uuid
from pathlib import Path

from schemas.topics import Topics
from streams.kafka.admin import create_topics
from streams.kafka.settings import KafkaSettings
from tests.chaos.fleet import Fleet, Member
from tests.integration.kafka.cluster import Cluster
from tests.integration.worker.conftest import eventually


class System:
    """A router and a worker on topics of their own."""

    def __init__(self, kafka: str, folder: Path) -> None:
        self.topics = Topics(f"missing-{uuid.uuid4().hex[:12]}.")
        self.cluster = Cluster(kafka)
        self.settings = KafkaSettings(kafka=kafka, topic_prefix=self.topics.prefix)
        self._folder = folder
        self.fleet = Fleet(
            folder,
            {
                "LORELAY_KAFKA": kafka,
                "LORELAY_TOPIC_PREFIX": self.topics.prefix,
                "LORELAY_ROUTER_GROUP": f"{self.topics.prefix}router",
                "LORELAY_WORKER_GROUP": f"{self.topics.prefix}worker",
                "LORELAY_ENGINE": "echo",
                "LORELAY_MODEL": "echo",
                "LORELAY_SESSION_TIMEOUT": "6",
                "LORELAY_SHUTDOWN_SECONDS": "2",
            },
        )

    @property
    def members(self) -> list[Member]:
        return [*self.fleet.of_role("router"), *self.fleet.of_role("worker")]

    def create(self, *without: str) -> None:
        """Creates the topics that are missing, but for some."""
        specs = [spec for spec in self.topics.specs() if spec.name not in without]
        asyncio.run(create_topics(self.settings, specs))

    def await_reason(self, member: Member, words: str) -> None:
        """Returns when the member says on /ready that it waits for that."""
        eventually(lambda: words in self.fleet.waits_for(member) or None, f"{words} on /ready")

    def start(self) -> None:
        """Starts both; `await_ready` waits for them."""
        for role in ("router", "worker"):
            self.fleet.start(role, role)

    def end(self) -> list[int]:
        """Tells both to end; their exit statuses, once they have."""
        for member in self.members:
            self.fleet.send(member, signal.SIGTERM)
        return [asyncio.run(self.fleet.until_ended(member)) for member in self.members]

    def await_ready(self) -> None:
        async def ready() -> None:
            await asyncio.gather(*(self.fleet.until_ready(member) for member in self.members))

        asyncio.run(ready())

    def ask(self, count: int) -> list[str]:
        """Sends queries; their ids."""
        ids = [uuid.uuid4().hex for _ in range(count)]
        for number, query_id in enumerate(ids):
            value = f'{{"id": "{query_id}", "prompt": "x", "adapter": "base"}}'.encode()
            self.cluster.produce(self.topics.queries, [value], partition=number % 4)
        return ids

    def answered(self) -> list[str]:
        """The ids of the queries that have a response."""
        messages = self.cluster.read(self.topics.responses)
        return [message.key().decode() for message in messages]

    def stop(self) -> None:
        self.fleet.close()
        self.cluster.clean_up(self.topics.prefix)
