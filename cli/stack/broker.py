"""The local broker: one KRaft node of Apache Kafka, on the loopback interface only."""

import os
import re
import shutil
import subprocess
import uuid
from base64 import urlsafe_b64encode
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from cli.stack import ports
from cli.stack.folder import ProcessRecord, StackFolder
from cli.stack.processes import Processes
from cli.stack.readiness import Probe, broker_probe, wait_until_ready
from schemas.errors import ConfigurationError

NAME = "kafka"
DEFAULT_PORT = 9092
JARS = Path(__file__).parents[2] / ".broker" / "jars"

_JAVA_NEEDED = 17
_OWN_CLUSTER = "or set LORELAY_KAFKA=host:port to use a cluster of yours"

_JVM_OPTIONS = (
    "-Xmx384m",
    "-XX:+UseSerialGC",
    "-XX:-UsePerfData",
    "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
    "-Dorg.slf4j.simpleLogger.showDateTime=true",
    "-Dorg.slf4j.simpleLogger.dateTimeFormat=yyyy-MM-dd'T'HH:mm:ss.SSS",
)

#: Classes that a JVM has loaded and checked, kept for the next ones (class data sharing, JEP 350):
#: a new broker is up in 2.3 s instead of 4.6, and takes 3.3 s of CPU instead of 6.2, its end
#: included (medians of 3). A JVM that can't use the file, of other jars or of another Java, goes
#: on without it.
CLASS_ARCHIVE = "classes.jsa"
_SILENT_WITHOUT_IT = ("-Xlog:cds=off", "-Xlog:cds+dynamic=off")

#: A data folder as the storage tool makes it, to be copied: the tool is a JVM of its own, 0.7 s and
#: 1 s of CPU. But for the three ids in meta.properties it makes the same for every node.
FORMATTED = "formatted"
_META_PROPERTIES = "meta.properties"

#: The second compiler takes more than it saves for some five minutes, and then saves a fifth to a
#: third of the broker's CPU.
_START_FAST = ("-XX:TieredStopAtLevel=1",)

_FIXED_PROPERTIES = {
    "process.roles": "broker,controller",
    "node.id": "1",
    "listener.security.protocol.map": "KAFKA:PLAINTEXT,CONTROLLER:PLAINTEXT",
    "inter.broker.listener.name": "KAFKA",
    "controller.listener.names": "CONTROLLER",
    "auto.create.topics.enable": "false",
    # One node holds the only copy of everything.
    "default.replication.factor": "1",
    "offsets.topic.replication.factor": "1",
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    "share.coordinator.state.topic.replication.factor": "1",
    "share.coordinator.state.topic.min.isr": "1",
    "offsets.topic.num.partitions": "8",
    "transaction.state.log.num.partitions": "8",
    # Members join and are given up quickly; the topics' retention stays below the offsets'.
    "group.initial.rebalance.delay.ms": "0",
    "group.min.session.timeout.ms": "1000",
    "offsets.retention.minutes": str(7 * 24 * 60),
    # A killed producer's transaction is aborted within a second of its time-out, not within ten.
    "transaction.abort.timed.out.transaction.cleanup.interval.ms": "1000",
    # A broker that is told to end first hands its leaderships over. Where nobody is there to take
    # them, it calls a transaction that commits in this moment complete though no partition has
    # heard of it (seen with Kafka 4.4.0): the offsets are lost, the records stay undecided.
    "controlled.shutdown.enable": "false",
    # A killed broker can't register again before its old session has ended.
    "broker.session.timeout.ms": "6000",
    # A small machine: less memory, fewer threads, and no record written while nothing happens.
    "num.network.threads": "2",
    "num.io.threads": "4",
    "group.coordinator.threads": "1",
    "log.cleaner.dedupe.buffer.size": str(8 * 1024 * 1024),
    "log.cleaner.io.buffer.size": str(256 * 1024),
    "log.index.size.max.bytes": str(1024 * 1024),
    "metadata.max.idle.interval.ms": "0",
    "controller.quorum.append.linger.ms": "5",
}


def new_id() -> str:
    """One that no other cluster and no other folder has, as Kafka writes it."""
    return urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")


@dataclass(frozen=True, slots=True)
class BrokerSettings:
    """Where the broker listens and keeps its files.

    ``extra`` properties win over ours; ``format_options`` are the storage tool's. The nodes of one
    cluster have one ``cluster_id``, 16 bytes in base64. Classes come from the archive beside
    ``jars``, and go to ``archive_to`` when the broker ends.
    """

    data: Path
    port: int
    controller_port: int
    jars: Path = JARS
    extra: Mapping[str, str] = field(default_factory=dict)
    format_options: Sequence[str] = ()
    cluster_id: str = field(default_factory=new_id)
    archive_to: Path | None = None

    @property
    def address(self) -> str:
        return f"{ports.LOOPBACK}:{self.port}"

    @property
    def properties_file(self) -> Path:
        return self.data / "server.properties"

    @property
    def log_dir(self) -> Path:
        return self.data / "log"

    def properties(self) -> Mapping[str, str]:
        """The broker's configuration."""
        controller = f"{ports.LOOPBACK}:{self.controller_port}"
        return _FIXED_PROPERTIES | {
            "listeners": f"KAFKA://{self.address},CONTROLLER://{controller}",
            "advertised.listeners": f"KAFKA://{self.address}",
            "controller.quorum.voters": f"1@{controller}",
            "log.dirs": str(self.log_dir),
            **self.extra,
        }


def choose_port(wanted: int | None) -> int:
    """The port to listen on: the wanted one (0: any free one), else the usual or a free one.

    Raises ConfigurationError where the wanted one is taken.
    """
    if wanted == 0:
        return ports.free_port()
    if wanted is None:
        return DEFAULT_PORT if ports.is_free(DEFAULT_PORT) else ports.free_port()
    if not ports.is_free(wanted):
        raise ConfigurationError(
            f"Port {wanted} is taken by another program: end that, or choose another with "
            f"`lorelay down` and `lorelay up --kafka-port PORT` (0 for any free one), "
            f"{_OWN_CLUSTER}."
        )
    return wanted


def start(
    settings: BrokerSettings,
    processes: Processes,
    environment: Mapping[str, str],
    *,
    starts_fast: bool = False,
    ends_with_us: bool = False,
) -> ProcessRecord:
    """Format the data folder if it is new, and start the broker; `broker_probe` says when it is up.

    With ``starts_fast`` it is up sooner and slower in the long run; with ``ends_with_us`` it is
    killed when the starting thread ends (where setpriv(1) is there), so that a killed test run
    leaves no broker behind. Raises ConfigurationError without Java or jars.
    """
    java = find_java()
    if not (settings.jars / ".ready").exists():
        raise ConfigurationError(
            f"The local broker is not set up: run `make setup` once, {_OWN_CLUSTER}."
        )
    prepare(settings, java)
    options = [
        *_JVM_OPTIONS,
        *(_START_FAST if starts_fast else ()),
        *_classes(settings.jars, settings.archive_to),
    ]
    command = [java, *options, "kafka.Kafka", str(settings.properties_file)]
    if ends_with_us and (setpriv := shutil.which("setpriv")):
        command = [setpriv, "--pdeathsig", "KILL", *command]
    return processes.start(NAME, command, environment)


def prepare(settings: BrokerSettings, java: str) -> None:
    """Write the properties, and format the data folder if it is new."""
    settings.data.mkdir(parents=True, exist_ok=True)
    lines = (f"{key}={value}\n" for key, value in settings.properties().items())
    settings.properties_file.write_text("".join(lines))
    if (settings.log_dir / _META_PROPERTIES).exists():
        return
    if not _copy(settings.jars.parent / FORMATTED, settings):
        _format(java, settings)


def find_java() -> str:
    """The path of a Java that can run the broker. Raises ConfigurationError without one."""
    home = os.environ.get("JAVA_HOME")
    java = shutil.which("java", path=str(Path(home) / "bin") if home else None)
    java = java or shutil.which("java")
    if java is None:
        raise ConfigurationError(
            f"The local broker needs Java {_JAVA_NEEDED} or newer, and there is none: install it "
            f"(on Debian and Ubuntu: openjdk-17-jre-headless), {_OWN_CLUSTER}."
        )
    answer = subprocess.run([java, "-version"], capture_output=True, text=True, check=False)
    major = java_major(answer.stderr)
    if major is None or major < _JAVA_NEEDED:
        raise ConfigurationError(
            f"The local broker needs Java {_JAVA_NEEDED} or newer, and {java} is "
            f"{major or 'of no known version'}: install a newer one, {_OWN_CLUSTER}."
        )
    return java


def java_major(version_text: str) -> int | None:
    """The major version in what `java -version` prints; 8 for the old form "1.8.0"."""
    match = re.search(r'version "(?:1\.)?(\d+)', version_text)
    return int(match[1]) if match else None


def _classes(jars: Path, archive_to: Path | None = None) -> list[str]:
    """JVM options: where classes come from, and whether they are archived when it ends."""
    shared = f"-XX:SharedArchiveFile={jars.parent / CLASS_ARCHIVE}"
    archive = f"-XX:ArchiveClassesAtExit={archive_to}" if archive_to else shared
    return [archive, *_SILENT_WITHOUT_IT, "-cp", f"{jars}/*"]


def _copy(formatted: Path, settings: BrokerSettings) -> bool:
    """Make the data folder, with ids of its own, all of it or nothing; whether that was done."""
    properties = settings.properties()
    own = {
        "cluster.id": settings.cluster_id,
        "directory.id": new_id(),
        "node.id": properties["node.id"],
    }
    if settings.format_options or properties["log.dirs"] != str(settings.log_dir):
        return False
    try:
        lines = (formatted / _META_PROPERTIES).read_text().splitlines()
        named = dict(line.split("=", 1) for line in lines if not line.startswith("#"))
        with TemporaryDirectory(dir=settings.data) as folder:
            copy = Path(folder) / settings.log_dir.name
            shutil.copytree(formatted, copy)
            (copy / _META_PROPERTIES).write_text(
                "".join(f"{name}={value}\n" for name, value in (named | own).items())
            )
            is_whole = any(file.stat().st_size for file in copy.glob("*/*.checkpoint"))
            if is_whole and named.keys() == own.keys() | {"version"}:
                copy.replace(settings.log_dir)
                return True
    except (OSError, ValueError):
        # The storage tool says what is wrong, or does it all the same.
        pass
    return False


def _format(java: str, settings: BrokerSettings) -> None:
    properties = settings.properties_file
    tool = [*_START_FAST, *_classes(settings.jars), "kafka.tools.StorageTool"]
    done = subprocess.run(
        # The = keeps an id that begins with a dash from being read as an option.
        [
            *(java, *tool, "format", f"--cluster-id={settings.cluster_id}"),
            *("--config", str(properties), *settings.format_options),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines()
        thrown = [line for line in said if line.startswith(("Exception", "Error", "Caused by"))]
        reason = (thrown or said or [f"Java ended with status {done.returncode}"])[-1]
        raise ConfigurationError(
            f"The broker's data folder {properties.parent} could not be made: {reason}"
        )


@contextmanager
def running_broker(folder: Path, jars: Path = JARS, *, starts_fast: bool = True) -> Iterator[str]:
    """A broker of its own in ``folder``, for tests and benchmarks; gives its host:port."""
    data = StackFolder(folder).kafka_data
    settings = BrokerSettings(data, ports.free_port(), ports.free_port(), jars)
    with running(settings, folder, starts_fast=starts_fast):
        yield settings.address


@contextmanager
def running(
    settings: BrokerSettings, folder: Path, *, starts_fast: bool = True, patience: float = 15.0
) -> Iterator[None]:
    """That broker, until the end of the context; its log is in ``folder``.

    It is killed where it takes longer than ``patience`` seconds to end.
    """
    processes = Processes(StackFolder(folder))
    record = start(settings, processes, os.environ, starts_fast=starts_fast, ends_with_us=True)
    probe: Probe = broker_probe(settings.address)
    try:
        wait_until_ready(
            {NAME: probe}, lambda name: processes.find(name, record) is not None, timeout=60.0
        )
        yield
    finally:
        processes.stop({NAME: record}, patience)
