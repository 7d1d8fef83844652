"""What a worker can be told; from `LORELAY_*` variables or a file."""

from pathlib import Path
from typing import Literal

from pydantic import Field

from streams.kafka.settings import KafkaSettings


class WorkerSettings(KafkaSettings):
    """Settings of one worker process; the engine's own are in inference.engine.config."""

    instance: str | None = Field(
        default=None,
        description="A name that stays with this process over restarts (static membership): "
        "it then takes its partitions back at once.",
    )
    worker_group: str = Field(default="lorelay-worker", description="The consumer group.")
    engine: Literal["vllm", "http", "echo"] = Field(
        default="vllm", description="vllm in this process, http for a server, echo for none."
    )
    vllm_config: Path | None = Field(
        default=None, description="A vllm_config.yaml with the engine's options."
    )
    max_in_flight: int = Field(
        default=0, ge=0, description="Requests read and not answered; 0: twice the engine's batch."
    )
    max_attempts: int = Field(
        default=3, ge=1, description="How often a request is tried where its error is retryable."
    )
    flush_linger: float = Field(
        default=0.0, ge=0, description="Seconds to wait for more answers before a transaction."
    )
    session_timeout: float = Field(
        default=10.0, gt=0, description="Seconds until a silent member loses its partitions."
    )
    heartbeat_seconds: float = Field(
        default=5.0, gt=0, description="How often the worker's state goes to the workers topic."
    )
    metrics_host: str = Field(default="127.0.0.1", description="Where /metrics is served.")
    metrics_port: int = Field(default=0, ge=0, description="0 takes a free port.")
    shutdown_seconds: float = Field(
        default=30.0, ge=0, description="What is running may go on this long after SIGTERM."
    )
    log_level: str = Field(default="INFO", description="DEBUG, INFO, WARNING or ERROR.")
