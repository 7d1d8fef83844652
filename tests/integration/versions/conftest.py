"""Two routers and a worker with the echo engine, steered by the command as a person would."""

import asyncio
import json
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import pytest

from schemas.codec import Codec
from schemas.records import InferenceRequest, Query, Response
from schemas.topics import Topics
from streams.kafka.admin import create_topics
from streams.kafka.settings import KafkaSettings
from streams.registry.follow import RegistryFollower
from streams.registry.reader import Registry
from tests.chaos.fleet import ROOT, Fleet
from tests.chaos.preloaded import PreloadedCommand
from tests.integration.kafka.cluster import Cluster
from tests.unit.streams.registry.factories import write_adapter

_SECONDS = 90.0
_PARTITIONS = 4

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Done:
    """How a command ended."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


class RunningVersions:
    """Processes on topics of their own; each test has families of its own on them."""

    def __init__(self, kafka: str, folder: Path, **more: str) -> None:
        self.topics = Topics(f"versions-{uuid.uuid4().hex[:12]}.")
        self.settings = KafkaSettings(kafka=kafka, topic_prefix=self.topics.prefix)
        self.cluster = Cluster(kafka)
        self.codec = Codec()
        # Topics are read again and again, from their beginning.
        self._decode = cache(self.codec.decode)
        self.folder = folder
        variables = {
            "LORELAY_KAFKA": kafka,
            "LORELAY_TOPIC_PREFIX": self.topics.prefix,
            "LORELAY_ROUTER_GROUP": f"{self.topics.prefix}router",
            "LORELAY_WORKER_GROUP": f"{self.topics.prefix}worker",
            "LORELAY_ENGINE": "echo",
            "LORELAY_MODEL": "echo",
            "LORELAY_SESSION_TIMEOUT": "6",
            "LORELAY_METRICS_WINDOW": "1",
            **more,
        }
        self.fleet = Fleet(folder, variables)

    def start(self, *names: str) -> None:
        """Starts members, ``router-2`` or ``worker``, and returns when all are ready."""

        async def ready() -> None:
            await create_topics(self.settings, self.topics.specs(_PARTITIONS))
            started = [self.fleet.start(name, name.partition("-")[0]) for name in names]
            await asyncio.gather(*map(self.fleet.until_ready, started))

        asyncio.run(ready())

    def stop(self) -> None:
        self.fleet.close()
        self.cluster.clean_up(self.topics.prefix)

    def lorelay(self, *arguments: str) -> Done:
        """How `lorelay adapters` ends."""
        environment = self.fleet.environment | {"COLUMNS": "250"}
        done = PreloadedCommand(["adapters", *arguments], environment, ROOT).completed(_SECONDS)
        return Done(done.returncode, done.stdout, done.stderr)

    def change(self, *arguments: str) -> Any:
        """What a change that must succeed prints as JSON, once every router goes by it."""
        done = self.lorelay(*arguments, "--json")
        assert done.status == 0, done.err
        changed = done.json
        self.until_known(changed["family"], changed["revision"])
        return changed

    def register(self, family: str, *numbers: str, texts: Sequence[str] = ()) -> None:
        """Registers versions of a family, each with weights of its own; ``texts`` select it."""
        domain, _, task = family.partition("-")
        folders = []
        for seed, number in enumerate(numbers):
            adapter_id = f"{family}-v{number.partition('.')[0]}"
            folder = write_adapter(
                self.folder / f"{adapter_id}@{number}",
                seed=seed,
                examples=0,
                adapter_id=adapter_id,
                adapter_version=number,
                base_model={"name": "echo"},
                task={"domain": domain, "type": task, "language": "de"},
            )
            if texts:
                lines = [json.dumps({"text": text, "language": "en"}) for text in texts]
                (folder / "examples.jsonl").write_text("\n".join(lines))
            folders.append(str(folder))
        done = self.lorelay("register", *folders)
        assert done.status == 0, done.err
        self.until_known(family, 1)

    def registry(self) -> Registry:
        """The registry as it is now."""

        async def read() -> Registry:
            follower = RegistryFollower(self.settings, Codec())
            await follower.start()
            await follower.stop()
            return follower.registry

        return asyncio.run(read())

    def routers(self) -> list[str]:
        return [member.name for member in self.fleet.of_role("router") if member.is_alive]

    def until_known(self, family: str, revision: int) -> None:
        """Returns when every router goes by that revision of the family's split."""
        name = "lorelay_router_traffic_revision"
        for router in self.routers():
            eventually(
                lambda router=router: (  # type: ignore[misc]
                    (self.fleet.metric(router, name, family=family) or 0) >= revision or None
                ),
                f"revision {revision} of {family} at {router}",
            )

    def send(self, queries: Sequence[Query]) -> list[str]:
        """Writes the queries, spread over the partitions, under ids of their own; the ids."""
        ids = [query.id or uuid.uuid4().hex for query in queries]
        for partition in range(_PARTITIONS):
            values = [
                self.codec.encode(replace(query, id=name))
                for query, name in list(zip(queries, ids, strict=True))[partition::_PARTITIONS]
            ]
            self.cluster.produce(self.topics.queries, values, partition=partition)
        return ids

    def ask(self, queries: Sequence[Query]) -> list[Response]:
        """The response to each query."""
        return self.responses(self.send(queries))

    def responses(self, ids: Sequence[str]) -> list[Response]:
        """The response to each id, in order."""

        def find() -> list[Response] | None:
            found = self.read(self.topics.responses, Response)
            by_id = {response.query_id: response for response in found}
            return [by_id[name] for name in ids] if by_id.keys() >= set(ids) else None

        return eventually(find, f"{len(ids)} responses")

    def requests(self) -> Mapping[str, InferenceRequest]:
        """What the routers have made of queries so far, by query id."""
        found = self.read(self.topics.requests, InferenceRequest)
        return {request.query.id or "": request for request in found}

    def read(self, topic: str, kind: type[T]) -> list[T]:
        """All records of a topic."""
        values = (message.value() or b"" for message in self.cluster.read(topic))
        return [self._decode(kind, value) for value in values]


def eventually(find: Callable[[], T | None], what: str, seconds: float = _SECONDS) -> T:
    """Polls until it finds something."""
    deadline = time.monotonic() + seconds
    while (found := find()) is None:
        assert time.monotonic() < deadline, f"never came: {what}"
        time.sleep(0.2)
    return found


@pytest.fixture(scope="module")
def versions(kafka: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningVersions]:
    running = RunningVersions(kafka, tmp_path_factory.mktemp("versions"))
    try:
        running.start("router", "router-2", "worker")
        yield running
    finally:
        running.stop()
