"""What our processes have in common: settings, signals, logs, the metrics port."""

import asyncio
import logging
import os
import signal
from abc import ABC, abstractmethod
from typing import Literal

from prometheus_client import CollectorRegistry
from pydantic import Field, field_validator

from streams.kafka.settings import KafkaSettings
from streams.telemetry.server import MetricsServer
from streams.telemetry.tracing import open_tracing

log = logging.getLogger(__name__)

#: Libraries that tell more than an operator wants; aiokafka builds a debug line per record
#: unless its level forbids it, and those that fetch would log signatures.
_TALKATIVE = (
    *("aiokafka", "faust", "mode", "sentence_transformers", "uvicorn"),
    *("aiobotocore", "botocore", "httpcore", "httpx", "s3fs"),
)


#: The most that settings may say: of a day's milliseconds Kafka and the kernel still take the
#: number, and what is a year ago has a date.
DAY_SECONDS = 86_400.0
YEAR_SECONDS = 366 * DAY_SECONDS


class ProcessSettings(KafkaSettings):
    """Settings that every process takes; times in seconds."""

    instance: str | None = Field(
        default=None,
        description="A name that stays with this process over restarts (static membership): "
        "it then takes its partitions back at once.",
    )
    session_timeout: float = Field(
        default=10.0,
        gt=0,
        le=DAY_SECONDS,
        description="Seconds until a silent member loses its partitions.",
    )
    metrics_host: str = Field(default="127.0.0.1", description="Where /metrics is served.")
    metrics_port: int = Field(default=0, ge=0, le=65535, description="0 takes a free port.")
    shutdown_seconds: float = Field(
        default=30.0, ge=0, description="What is running may go on this long after SIGTERM."
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"] = Field(
        default="INFO", description="DEBUG, INFO, WARNING or ERROR."
    )

    @field_validator("log_level", mode="before")
    @classmethod
    def _in_capitals(cls, level: object) -> object:
        return level.strip().upper() if isinstance(level, str) else level


class Process(ABC):
    """A process that serves until SIGTERM or SIGINT, and says on /ready what it waits for."""

    def __init__(self, kind: str, settings: ProcessSettings) -> None:
        self.name = settings.instance or f"{kind}-{os.getpid()}"
        self.prometheus = CollectorRegistry()
        self.tracing = open_tracing(kind, self.name)
        self.is_stopping = asyncio.Event()
        self._process_settings = settings
        self._waiting_for: str | None = "starting"
        self._has_started = False
        self._exit_status = 0

    def run(self) -> int:
        """Serves to the end; the exit status, 1 where `fail` was called."""
        logging.basicConfig(
            level=self._process_settings.log_level,
            format="%(asctime)s %(levelname)s %(name)s: %(message)s",
        )
        for library in _TALKATIVE:
            logging.getLogger(library).setLevel(logging.WARNING)
        # It warns of every batch that it sends again; what fails for good is raised.
        logging.getLogger("aiokafka.producer.sender").setLevel(logging.ERROR)
        return asyncio.run(self._run())

    @abstractmethod
    async def serve(self) -> None:
        """Starts everything, calls `ready`, waits for `is_stopping`, and stops everything.

        Cancelled where the process is told to stop before it has ever been ready.
        """

    def engine_metrics(self) -> bytes:
        """An exposition of others to join to /metrics."""
        return b""

    def wait_for(self, reason: str) -> None:
        """Not ready, and why."""
        if reason != self._waiting_for:
            log.info(reason)
        self._waiting_for = reason

    def ready(self) -> None:
        """Ready from now on."""
        if self._waiting_for is not None:
            log.info("ready")
        self._waiting_for = None
        self._has_started = True

    def report(self, waiting_for: str | None) -> None:
        """Ready, or not and why; a process that stops stays as it said last."""
        if self.is_stopping.is_set():
            return
        if waiting_for is None:
            self.ready()
        else:
            self.wait_for(waiting_for)

    @property
    def is_ready(self) -> bool:
        """Whether `ready` was called last."""
        return self._waiting_for is None

    @property
    def waits_for(self) -> str | None:
        """What it said last that it waits for; None once it is ready."""
        return self._waiting_for

    def fail(self, reason: str) -> None:
        """Ends the process with status 1."""
        if not self.is_stopping.is_set():
            log.critical(reason)
            self._exit_status = 1
            self.is_stopping.set()

    async def _run(self) -> int:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop, number)
        server = MetricsServer(
            self.prometheus,
            lambda: self._waiting_for,
            self.engine_metrics,
            host=self._process_settings.metrics_host,
            port=self._process_settings.metrics_port,
        )
        await server.start()
        serving = asyncio.create_task(self.serve())
        stopping = asyncio.create_task(self.is_stopping.wait())
        try:
            await asyncio.wait({serving, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if not self._has_started:
                # A start that still waits, for Kafka perhaps, has nothing to finish.
                serving.cancel()
            try:
                await serving
            except asyncio.CancelledError:
                # By itself, unless it was told to stop: a library's own cancellation got out.
                self.fail("it was cancelled from within")
            return self._exit_status
        finally:
            stopping.cancel()
            await server.stop()
            await asyncio.to_thread(self.tracing.close)

    def _stop(self, number: int) -> None:
        if self.is_stopping.is_set():
            log.warning("second signal: leaving at once")
            os._exit(128 + number)
        self.wait_for("stopping")
        self.is_stopping.set()
