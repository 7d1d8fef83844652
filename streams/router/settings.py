"""What a router can be told; from `LORELAY_*` variables or a file."""

from pydantic import Field

from streams.kafka.settings import KafkaSettings


class RouterSettings(KafkaSettings):
    """Settings of one router process."""

    instance: str | None = Field(
        default=None,
        description="A name that stays with this process over restarts (static membership): "
        "it then takes its partitions back at once.",
    )
    router_group: str = Field(default="lorelay-router", description="The consumer group.")
    encoder: str = Field(
        default="use-multilingual",
        description="use-multilingual, minilm, a SentenceTransformer's folder or its hub name.",
    )
    encoder_threads: int = Field(default=1, ge=1, description="Threads of the encoder's maths.")
    router_batch: int = Field(
        default=128, ge=1, description="Queries that are encoded and selected together, at most."
    )
    router_pending: int = Field(
        default=2048, ge=1, description="Queries read and not committed, at most: back-pressure."
    )
    session_timeout: float = Field(
        default=10.0, gt=0, description="Seconds until a silent member loses its partitions."
    )
    metrics_host: str = Field(default="127.0.0.1", description="Where /metrics is served.")
    metrics_port: int = Field(default=0, ge=0, description="0 takes a free port.")
    metrics_window: float = Field(
        default=10.0, gt=0, description="Seconds of one record of the metrics topic."
    )
    shutdown_seconds: float = Field(
        default=10.0, ge=0, description="What is running may go on this long after SIGTERM."
    )
    log_level: str = Field(default="INFO", description="DEBUG, INFO, WARNING or ERROR.")
