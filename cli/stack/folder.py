"""Where the local stack keeps its state, and what stack.json says."""

import fcntl
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from schemas.errors import ConfigurationError


@dataclass(frozen=True, slots=True)
class ProcessRecord:
    """A process as it was started.

    ``start_ticks`` is the kernel's start time of ``pid``: together they name one process for
    good, while a pid alone is reused. ``settings`` are the LORELAY_* variables it was given,
    ``serves`` the base URL of its API, if it has one.
    """

    pid: int
    start_ticks: int
    started: str
    metrics: str | None = None
    settings: Mapping[str, str] = field(default_factory=dict)
    serves: str | None = None


@dataclass(frozen=True, slots=True)
class StackRecord:
    """The content of stack.json; ``kafka`` is host:port of the cluster that is used."""

    kafka: str | None = None
    processes: Mapping[str, ProcessRecord] = field(default_factory=dict)

    @property
    def gateway(self) -> str | None:
        """The base URL of the first gateway; None where there is none."""
        return next((known.serves for known in self.processes.values() if known.serves), None)

    def with_process(self, name: str, record: ProcessRecord) -> "StackRecord":
        return replace(self, processes={**self.processes, name: record})

    def without_process(self, name: str) -> "StackRecord":
        return replace(self, processes={n: r for n, r in self.processes.items() if n != name})


class StackFolder:
    """Paths below one `.lorelay` folder, and its stack.json."""

    def __init__(self, root: Path) -> None:
        self.root = root.absolute()

    @property
    def kafka_data(self) -> Path:
        return self.root / "kafka"

    @property
    def stack_file(self) -> Path:
        return self.root / "stack.json"

    @property
    def demo_model(self) -> Path:
        return self.root / "models" / "demo" / "base"

    def pid_file(self, name: str) -> Path:
        return self.root / "run" / f"{name}.pid"

    def address_file(self, name: str) -> Path:
        return self.root / "run" / f"{name}.address"

    def api_file(self, name: str) -> Path:
        return self.root / "run" / f"{name}.api"

    def journal(self, name: str) -> Path:
        return self.root / "run" / f"{name}.journal"

    def log_file(self, name: str) -> Path:
        return self.root / "logs" / f"{name}.log"

    def create(self) -> None:
        """Make the folders that are missing."""
        for folder in (self.root, self.root / "run", self.root / "logs"):
            folder.mkdir(parents=True, exist_ok=True)

    def read(self) -> StackRecord:
        """What stack.json says; an empty record where it is missing or not ours."""
        try:
            content = json.loads(self.stack_file.read_text())
            return StackRecord(
                content.get("kafka"),
                {name: ProcessRecord(**fields) for name, fields in content["processes"].items()},
            )
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return StackRecord()

    def write(self, record: StackRecord) -> None:
        """Replace stack.json, whole or not at all."""
        partial = self.stack_file.with_suffix(".part")
        # Who only asks looks for the addresses at the top.
        content = {"kafka": record.kafka, "gateway": record.gateway} | asdict(record)
        partial.write_text(json.dumps(content, indent=2) + "\n")
        partial.replace(self.stack_file)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep a second `up` or `down` out. Raises ConfigurationError where one is at work."""
        self.create()
        with (self.root / "lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise ConfigurationError(
                    f"Another `lorelay up` or `lorelay down` is at work in {self.root}; "
                    "wait for it to end."
                ) from None
            yield
