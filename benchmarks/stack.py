"""A stack in a temporary folder: a broker of its own, and real routers and workers."""

import asyncio
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from benchmarks.adapters import base_model, register, stand_ins
from cli.stack.broker import NAME as BROKER
from cli.stack.broker import running_broker
from cli.stack.folder import ProcessRecord, StackFolder
from cli.stack.http import local_client
from cli.stack.processes import Processes
from cli.stack.readiness import EndedEarly, NotReadyInTime, metrics_probe, wait_until_ready
from schemas.errors import LorelayError
from schemas.topics import TopicSpec
from streams.kafka.admin import create_topics
from streams.kafka.settings import KafkaSettings

ROUTER, WORKER = "router", "worker"
PARTITIONS = 4
_READY_SECONDS = 240.0
_STOP_SECONDS = 20.0
_LOG_LINES = 15


class MemberFailed(LorelayError):
    """A process of the stack did not start; the message ends with its log."""

    code = "benchmark_member_failed"


class Stack:
    """Made by `running_stack`. ``settings`` says where its Kafka is."""

    def __init__(self, folder: Path, kafka: str, variables: Mapping[str, str]) -> None:
        self.folder = folder
        self.settings = KafkaSettings(kafka=kafka)
        self._state = StackFolder(folder)
        self._processes = Processes(self._state)
        self._records: dict[str, ProcessRecord] = {}
        self._variables = dict(variables)
        #: What a worker is told of its engine, where `echo_stack` made the stack.
        self.engine: dict[str, str] = {}

    @property
    def pids(self) -> dict[str, int]:
        """Of the broker and of all members that run, by name."""
        members = {name: record.pid for name, record in self._records.items()}
        return members | {BROKER: int(self._state.pid_file(BROKER).read_text())}

    def start(self, *kinds: str, variables: Mapping[str, str] | None = None) -> None:
        """Starts routers and workers, and waits until they are ready; worker-2 is a worker, too.

        ``variables`` are LORELAY_* variables, which what the user has set overrides.
        """
        environment = clean_environment() | {
            "PYTHONUNBUFFERED": "1",
            "LORELAY_KAFKA": self.settings.kafka,
            "LORELAY_METRICS_PORT": "0",
            # Benchmarks send the same few hundred questions over and over: each is to cost.
            "LORELAY_ENCODER_CACHE": "0",
            **(variables or {}),
            **self._variables,
        }
        for name in kinds:
            self._records[name] = self._processes.start(
                name,
                [*dying_with_us(), sys.executable, "-P", "-m", "cli.main", _command(name)],
                environment
                | {
                    "LORELAY_INSTANCE": name,
                    "LORELAY_ADDRESS_FILE": str(self._state.address_file(name)),
                },
            )
        self._await(kinds)

    def stop(self, *names: str) -> None:
        """Ends members, all of them where none is named."""
        ending = {name: self._records.pop(name) for name in names or tuple(self._records)}
        self._processes.stop(ending, _STOP_SECONDS)

    def metrics(self, name: str) -> str:
        """What a member counts, as Prometheus reads it."""
        address = self._state.address_file(name).read_text().strip()
        return local_client().get(f"http://{address}/metrics", timeout=10.0).text

    def register(self, folders: list[Path]) -> None:
        """Registers adapters; whoever runs already follows within a moment."""
        asyncio.run(register(self.settings, folders))

    def create_topic(self, name: str, partitions: int) -> None:
        """A topic of the benchmark's own."""
        asyncio.run(create_topics(self.settings, [TopicSpec(name, partitions)]))

    def _await(self, names: tuple[str, ...]) -> None:
        probes = {name: metrics_probe(self._state.address_file(name)) for name in names}
        try:
            wait_until_ready(
                probes,
                lambda name: self._processes.find(name, self._records[name]) is not None,
                _READY_SECONDS,
            )
        except (EndedEarly, NotReadyInTime) as error:
            log = self._state.log_file(error.name).read_text(errors="replace").splitlines()
            raise MemberFailed("\n".join([str(error), *log[-_LOG_LINES:]])) from error


@contextmanager
def running_stack(variables: Mapping[str, str], partitions: int = PARTITIONS) -> Iterator[Stack]:
    """A broker with our topics; ``variables`` are for every member that is started.

    Everything is stopped and deleted at the end.
    """
    with tempfile.TemporaryDirectory(prefix="lorelay-bench-") as name:
        folder = Path(name)
        # As `lorelay up` starts it: what is measured is what users have.
        with running_broker(folder, starts_fast=False) as kafka:
            stack = Stack(folder, kafka, variables)
            asyncio.run(create_topics(stack.settings, stack.settings.topics.specs(partitions)))
            try:
                yield stack
            finally:
                stack.stop()


@contextmanager
def echo_stack(variables: Mapping[str, str]) -> Iterator[Stack]:
    """A stack with stand-ins registered and no member started yet; its workers are to be started
    with the stack's `engine` and `echo_variables`.
    """
    with running_stack(variables) as stack:
        folders = stand_ins(stack.folder / "adapters")
        stack.register(folders)
        stack.engine = {"LORELAY_ENGINE": "echo"} | base_variables(folders[0])
        yield stack


def base_variables(adapter: Path) -> dict[str, str]:
    """What a worker must call its base model so that it serves this adapter."""
    name, version = base_model(adapter)
    return {"LORELAY_SERVED_MODEL_NAME": name, "LORELAY_MODEL_VERSION": version}


def echo_variables(**echo: float) -> dict[str, str]:
    """The echo engine's settings, such as service_ms and max_num_seqs, as variables."""
    return {f"LORELAY_{name.upper()}": f"{value:g}" for name, value in echo.items()}


def _command(name: str) -> str:
    return name.partition("-")[0]


def clean_environment() -> dict[str, str]:
    """The caller's, less LORELAY_* variables: what is set is what `--set` says."""
    return {name: value for name, value in os.environ.items() if not name.startswith("LORELAY_")}


def dying_with_us() -> list[str]:
    """What a command begins with so that a killed benchmark leaves no process behind."""
    setpriv = shutil.which("setpriv")
    return [setpriv, "--pdeathsig", "KILL"] if setpriv else []
