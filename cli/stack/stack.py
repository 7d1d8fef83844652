"""The local stack as a whole: up, down, and how it is."""

import asyncio
import hashlib
import platform
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from cli.stack import broker, ports
from cli.stack.folder import ProcessRecord, StackFolder, StackRecord
from cli.stack.plan import (
    ENGINE,
    GATEWAY,
    MODEL,
    ROUTER,
    VLLM_CONFIG,
    WORKER,
    Member,
    Wishes,
    kind_of,
    plan,
)
from cli.stack.processes import Outcome, Processes
from cli.stack.readiness import NotYet, Probe, Ready, broker_probe, metrics_probe, wait_until_ready
from schemas.errors import ConfigurationError
from streams.kafka.admin import create_topics
from streams.kafka.settings import KafkaSettings

#: Longer than what each gives its running work after SIGTERM.
_PATIENCE = {GATEWAY: 40.0, WORKER: 40.0, ROUTER: 20.0, broker.NAME: 20.0}
#: Where a stack's first gateway is, if the port is free.
_GATEWAY_PORT = 8080


class Report(Protocol):
    """Is told what happens, for a person to see."""

    def state(self, name: str, state: Ready | NotYet) -> None:
        """``name`` was asked whether it is ready."""

    def stopping(self, name: str) -> None:
        """``name`` is being stopped."""

    def stopped(self, name: str, outcome: Outcome) -> None:
        """``name`` has been stopped."""

    def note(self, text: str) -> None:
        """Something worth knowing."""


@dataclass(frozen=True, slots=True)
class Cluster:
    """Which Kafka `up` should use: ``address`` of one that is there, else a broker of our own.

    ``port`` is where our own listens (0: a free one, None: as choose_port says);
    ``partitions`` those of topics that are made.
    """

    address: str | None = None
    port: int | None = None
    partitions: int = 4


@dataclass(frozen=True, slots=True)
class ProcessStatus:
    """A process of the stack; ``pid`` is None once it has ended, ``waits_for`` once it is ready.

    ``serves`` is the base URL of its API, if it has one.
    """

    name: str
    pid: int | None
    ready: bool
    waits_for: str | None
    started: str
    metrics: str | None
    serves: str | None


def foreground_command(kind: str) -> Sequence[str]:
    """`lorelay router`, `worker` or `gateway`, by this interpreter."""
    # -P: nothing in the working folder can stand in for a module of ours.
    return [sys.executable, "-P", "-m", "cli.main", kind]


class LocalStack:
    """The broker, routers, workers and gateways of one folder."""

    def __init__(
        self,
        folder: StackFolder,
        environment: Mapping[str, str],
        report: Report,
        command: Callable[[str], Sequence[str]] = foreground_command,
    ) -> None:
        self._folder = folder
        self._environment = {
            name: value
            for name, value in environment.items()
            # Cached bytecode halves the next start, and is only written to our own environments.
            if name != "PYTHONDONTWRITEBYTECODE"
        }
        self._report = report
        self._command = command
        self._processes = Processes(folder)

    def up(self, cluster: Cluster, wishes: Wishes, timeout: float) -> StackRecord:
        """Start what is missing and wait until all is ready; what runs is left alone.

        Raises ConfigurationError, or EndedEarly and NotReadyInTime with the process's name.
        """
        with self._folder.locked():
            record = self._folder.read()
            running = self._running(record)
            planned = plan(
                wishes,
                {name: r.settings for name, r in record.processes.items() if name != broker.NAME},
                running,
            )
            members = [self._with_model(member) for member in planned.missing]
            for note in planned.notes:
                self._report.note(note)
            for name in record.processes:
                if name not in running and self._processes.is_stale(name, record.processes[name]):
                    self._report.note(f"{name} is not running any more, its pid file is stale.")
            record = self._with_broker(record, cluster, running, timeout)
            self._create_topics(record, cluster.partitions)
            for member in members:
                record = self._start(member, record)
            names = [*planned.present, *(member.name for member in members)]
            return self._await(record, {n: self._probe(n, record) for n in names}, timeout)

    def down(self) -> bool:
        """Stop everything, the gateways first, the broker last. False if there was nothing."""
        with self._folder.locked():
            record = self._folder.read()
            for kind in (GATEWAY, WORKER, ROUTER, broker.NAME):
                ending = {n: r for n, r in record.processes.items() if kind_of(n) == kind}
                for name in ending:
                    self._report.stopping(name)
                for name, outcome in self._processes.stop(ending, _PATIENCE[kind]).items():
                    self._report.stopped(name, outcome)
                    record = record.without_process(name)
                    self._folder.write(record)
            found = self._folder.stack_file.exists()
            self._folder.stack_file.unlink(missing_ok=True)
            return found

    def status(self) -> list[ProcessStatus]:
        """Every process that was started here and not stopped, in the order it was started."""
        record = self._folder.read()
        return [self._status(name, record) for name in record.processes]

    def _status(self, name: str, record: StackRecord) -> ProcessStatus:
        known = record.processes[name]
        pid = self._processes.find(name, known)
        state = self._probe(name, record)() if pid else NotYet("not running")
        waits_for = state.reason if isinstance(state, NotYet) else None
        metrics = state.metrics if pid else None
        is_ready = waits_for is None
        return ProcessStatus(
            name, pid, is_ready, waits_for, known.started, metrics, known.serves if pid else None
        )

    def _running(self, record: StackRecord) -> set[str]:
        return {name for name, known in record.processes.items() if self._alive(name, known)}

    def _alive(self, name: str, known: ProcessRecord) -> bool:
        return self._processes.find(name, known) is not None

    def _probe(self, name: str, record: StackRecord) -> Probe:
        if name == broker.NAME:
            return broker_probe(str(record.kafka))
        return metrics_probe(self._folder.address_file(name))

    def _with_broker(
        self, record: StackRecord, cluster: Cluster, running: set[str], timeout: float
    ) -> StackRecord:
        """The record with a cluster that answers, started if it is to be our own."""
        owned = broker.NAME in record.processes
        address = cluster.address or (None if owned else record.kafka)
        if address is not None and not (owned and address == record.kafka):
            if running and address != record.kafka:
                raise ConfigurationError(
                    f"The processes that run here use the cluster at {record.kafka}, not "
                    f"{address}: `lorelay down` first, or set LORELAY_KAFKA={record.kafka}."
                )
            return replace(record.without_process(broker.NAME), kafka=address)
        if broker.NAME not in running:
            record = self._start_broker(record, cluster.port, others_run=bool(running))
        elif cluster.port is not None and not str(record.kafka).endswith(f":{cluster.port}"):
            self._report.note(f"kafka listens on {record.kafka} and is left alone.")
        return self._await(record, {broker.NAME: self._probe(broker.NAME, record)}, timeout)

    def _start_broker(self, record: StackRecord, port: int | None, others_run: bool) -> StackRecord:
        if (security := KafkaSettings().kafka_security) != "PLAINTEXT":
            raise ConfigurationError(
                f"The local broker speaks PLAINTEXT on the loopback interface only: set "
                f"LORELAY_KAFKA to your cluster, or unset LORELAY_KAFKA_SECURITY={security}."
            )
        self._processes.sweep(record.processes.get(broker.NAME))
        # What still runs is connected to the old port, and finds the broker only there.
        wanted = int(str(record.kafka).rpartition(":")[2]) if others_run else port
        chosen = broker.choose_port(wanted)
        if wanted is None and chosen != broker.DEFAULT_PORT:
            self._report.note(f"Port {broker.DEFAULT_PORT} is taken, the broker takes {chosen}.")
        settings = broker.BrokerSettings(self._folder.kafka_data, chosen, ports.free_port())
        started = broker.start(settings, self._processes, self._environment)
        record = replace(record, kafka=settings.address).with_process(broker.NAME, started)
        self._folder.write(record)
        return record

    def _create_topics(self, record: StackRecord, partitions: int) -> None:
        settings = KafkaSettings(kafka=str(record.kafka))
        differences = asyncio.run(create_topics(settings, settings.topics.specs(partitions)))
        for difference in differences:
            self._report.note(f"{difference}; left as it is.")

    def _with_model(self, member: Member) -> Member:
        """The member with the demo's model where an engine of our own is told no other."""
        settings = member.settings
        if settings.get(ENGINE) != "vllm" or MODEL in settings or VLLM_CONFIG in settings:
            return member
        if not self._folder.demo_model.is_dir():
            raise ConfigurationError(
                "There is no model to serve yet: run `make models` once for the demo's, name one "
                "with --model FOLDER, or try `--engine echo`, which needs none."
            )
        return replace(member, settings={**settings, MODEL: str(self._folder.demo_model)})

    def _start(self, member: Member, record: StackRecord) -> StackRecord:
        name = member.name
        self._processes.sweep(record.processes.get(name))
        environment = self._environment | {
            "PYTHONUNBUFFERED": "1",
            "LORELAY_KAFKA": str(record.kafka),
            "LORELAY_INSTANCE": self._instance(name, record),
            "LORELAY_METRICS_PORT": "0",
            "LORELAY_ADDRESS_FILE": str(self._folder.address_file(name)),
            "LORELAY_JOURNAL": str(self._folder.journal(name)),
            **self._gateway_variables(member, record),
            **member.settings,
        }
        started = self._processes.start(name, self._command(member.kind), environment)
        record = record.with_process(name, replace(started, settings=member.settings))
        self._folder.write(record)
        return record

    def _gateway_variables(self, member: Member, record: StackRecord) -> dict[str, str]:
        if member.kind != GATEWAY:
            return {}
        variables = {"LORELAY_GATEWAY_ADDRESS_FILE": str(self._folder.api_file(member.name))}
        is_first = member.name == GATEWAY
        if is_first and "LORELAY_GATEWAY_PORT" in self._environment:
            return variables
        # Where it was before: clients know that address.
        before = record.processes.get(member.name)
        wanted = [int(before.serves.rpartition(":")[2])] if before and before.serves else []
        wanted += [_GATEWAY_PORT] if is_first else []
        port = next((port for port in wanted if ports.is_free(port)), 0)
        return variables | {"LORELAY_GATEWAY_PORT": str(port)}

    def _instance(self, name: str, record: StackRecord) -> str:
        """A name that no other process of the cluster has: `up` may run in many folders."""
        if broker.NAME in record.processes:
            return name
        place = f"{platform.node()}:{self._folder.root}"
        return f"{name}-{hashlib.sha256(place.encode()).hexdigest()[:8]}"

    def _await(
        self, record: StackRecord, probes: Mapping[str, Probe], timeout: float
    ) -> StackRecord:
        """Wait for the processes; their metrics addresses are then in the record."""
        addresses: dict[str, str] = {}

        def report(name: str, state: Ready | NotYet) -> None:
            if state.metrics is not None:
                addresses[name] = state.metrics
            self._report.state(name, state)

        try:
            wait_until_ready(
                probes, lambda name: self._alive(name, record.processes[name]), timeout, report
            )
        finally:
            record = self._with_apis(_with_addresses(record, addresses.items()))
            self._folder.write(record)
        return record

    def _with_apis(self, record: StackRecord) -> StackRecord:
        for name, known in record.processes.items():
            file = self._folder.api_file(name)
            if file.exists():
                serves = f"http://{file.read_text().strip()}"
                record = record.with_process(name, replace(known, serves=serves))
        return record


def _with_addresses(record: StackRecord, addresses: Iterable[tuple[str, str]]) -> StackRecord:
    for name, address in addresses:
        record = record.with_process(name, replace(record.processes[name], metrics=address))
    return record
