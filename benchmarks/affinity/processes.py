"""Real workers with the echo engine, a real broker, and requests as routers would write them."""

import json
import random
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from shutil import copytree
from time import monotonic

from confluent_kafka import Consumer, Message, Producer, TopicPartition

from benchmarks.adapters import stand_ins
from benchmarks.affinity.load import adapter_ids, arrivals
from benchmarks.affinity.policies import Policy
from benchmarks.affinity.simulation import imbalance
from benchmarks.client import NothingCame
from benchmarks.figures import percentile
from benchmarks.plan import Plan
from benchmarks.stack import WORKER, Stack, base_variables, echo_variables, running_stack
from schemas.codec import Codec
from schemas.records import InferenceRequest, Origin, Query, Response, Routing

#: An adapter takes about as long to get from the disk to a GPU.
_ENGINE = {"service_ms": 40, "max_num_seqs": 8, "load_ms": 50}
_RATE = 60.0
_WARM = 1 / 5
_PATIENCE_SECONDS = 60.0
_COLD = "lorelay_worker_cold_requests_total"
_LOADS = "lorelay_worker_adapter_load_seconds_count"


@dataclass(frozen=True, slots=True)
class Measured:
    """``cold`` is a share of the requests; ``imbalance`` the busiest worker's over the mean."""

    cold: float
    imbalance: float
    loads_per_second: float
    p50_ms: float
    p95_ms: float


@dataclass(frozen=True, slots=True)
class Workers:
    """A stack whose workers are yet to be started."""

    stack: Stack
    names: Sequence[str]
    adapters: int
    partitions: int

    def start(self) -> None:
        """Anew, with no adapter loaded."""
        self.stack.start(*self.names, variables=self.stack.engine)

    def stop(self) -> None:
        """All of them."""
        self.stack.stop(*self.names)

    def total(self, metric: str) -> float:
        """The metric of all of them together, whatever its labels."""
        pattern = re.compile(rf"^{metric}(?:{{[^}}]*}})? (\S+)$", re.MULTILINE)
        pages = map(self.stack.metrics, self.names)
        return sum(float(value) for page in pages for value in pattern.findall(page))


@contextmanager
def running_workers(
    plan: Plan, adapters: int, workers: int, places: int, partitions: int
) -> Iterator[Workers]:
    """A broker, and so many adapters registered that the engine takes for real."""
    with running_stack(plan.settings, partitions) as stack:
        plan.say(f"registering {adapters} adapters")
        folders = _adapters(stack.folder / "adapters", adapters)
        stack.register(folders)
        stack.engine = {
            "LORELAY_ENGINE": "echo",
            **base_variables(folders[0]),
            **echo_variables(**_ENGINE, max_cpu_loras=places, max_loras=min(4, places)),
        }
        names = [f"{WORKER}-{number}" for number in range(1, workers + 1)]
        yield Workers(stack, names, adapters, partitions)


def measure(plan: Plan, workers: Workers, policy: Policy, routers: int, seed: int) -> Measured:
    """Requests at random times (Poisson), for as long as the plan says."""
    workers.start()
    try:
        requests = arrivals(workers.adapters, round(_RATE * plan.size(75, 15)), seed)
        driver = _Driver(workers.stack, policy, workers.partitions, routers, seed)
        warm = int(_WARM * len(requests))
        driver.drive(requests[:warm])
        cold, loads = workers.total(_COLD), workers.total(_LOADS)
        began = monotonic()
        answers = driver.drive(requests[warm:])
        seconds = monotonic() - began
        cold, loads = workers.total(_COLD) - cold, workers.total(_LOADS) - loads
    finally:
        workers.stop()
    total_ms = [answer.total_ms for answer in answers]
    served_by = [answer.worker for answer in answers]
    return Measured(
        cold / len(answers),
        imbalance(served_by, len(workers.names)),
        loads / seconds,
        percentile(total_ms, 0.5),
        percentile(total_ms, 0.95),
    )


@dataclass(frozen=True, slots=True)
class _Answer:
    worker: str
    total_ms: float


class _Driver:
    """Writes requests as routers do, and reads the responses."""

    def __init__(
        self, stack: Stack, policy: Policy, partitions: int, routers: int, seed: int
    ) -> None:
        common = stack.settings.librdkafka_config()
        self._topics = stack.settings.topics
        self._codec = Codec()
        self._rng = random.Random(seed)
        self._choices = [policy.make(partitions) for _ in range(routers)]
        self._producer = Producer(common | {"linger.ms": 0, "enable.idempotence": True})
        self._consumer = Consumer(
            common
            | {
                "group.id": "benchmark",
                "enable.auto.commit": False,
                "isolation.level": "read_committed",
                "fetch.wait.max.ms": 50,
            }
        )
        self._sent = 0
        places = [TopicPartition(self._topics.responses, n) for n in range(partitions)]
        for place in places:
            place.offset = self._consumer.get_watermark_offsets(place, _PATIENCE_SECONDS)[1]
        self._consumer.assign(places)

    def drive(self, adapters: Sequence[str]) -> list[_Answer]:
        """One request for each of them; returns once all are answered."""
        answers: list[_Answer] = []
        sent = 0
        next_at = heard = monotonic()
        while len(answers) < len(adapters):
            now = monotonic()
            while sent < len(adapters) and next_at <= now:
                self._send(adapters[sent])
                sent += 1
                next_at += self._rng.expovariate(_RATE)
            wait = next_at - monotonic() if sent < len(adapters) else 0.1
            for message in self._consumer.consume(100, timeout=max(0.001, min(0.1, wait))):
                answers.append(self._answer(message))
                heard = monotonic()
            if monotonic() - heard > _PATIENCE_SECONDS:
                raise NothingCame(f"{len(adapters) - len(answers)} requests have no response.")
        self._producer.flush(_PATIENCE_SECONDS)
        return answers

    def _send(self, adapter: str) -> None:
        self._sent += 1
        query = Query(
            id=f"{self._sent}", prompt="a b c", adapter=adapter, created_at=datetime.now(UTC)
        )
        origin = Origin(self._topics.queries, 0, self._sent)
        request = InferenceRequest(query, Routing(adapter=adapter), origin)
        partition = self._rng.choice(self._choices).choose(adapter)
        self._producer.produce(
            self._topics.requests, self._codec.encode(request), adapter.encode(), partition
        )
        self._producer.poll(0)

    def _answer(self, message: Message) -> _Answer:
        value = message.value()
        assert isinstance(value, bytes)
        response = self._codec.decode(Response, value)
        if response.error is not None or response.timing.total_ms is None:
            raise NothingCame(f"A request was answered with an error: {response.error}")
        source = dict(message.headers() or []).get("ce_source")
        assert isinstance(source, bytes)
        return _Answer(source.decode(), response.timing.total_ms)


def _adapters(folder: Path, count: int) -> list[Path]:
    """Small adapters that are alike but for their names."""
    pattern = stand_ins(folder / "pattern")[0]
    made = []
    for adapter_id in adapter_ids(count):
        made.append(copytree(pattern, folder / adapter_id))
        file = made[-1] / "metadata.json"
        metadata = json.loads(file.read_text("utf-8"))
        metadata["adapter_id"] = adapter_id
        metadata["task"]["domain"] = adapter_id.partition("-")[0]
        file.write_text(json.dumps(metadata), "utf-8")
        (made[-1] / "examples.jsonl").unlink()
    return made
