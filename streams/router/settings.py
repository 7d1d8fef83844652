"""What a router can be told; from `LORELAY_*` variables or a file."""

from pydantic import Field

from streams.process import DAY_SECONDS, YEAR_SECONDS, ProcessSettings
from streams.selection.calibration import FALSE_REJECT


class RouterSettings(ProcessSettings):
    """Settings of one router process."""

    router_group: str = Field(default="lorelay-router", description="The consumer group.")
    encoder: str = Field(
        default="use-multilingual",
        description="use-multilingual, minilm, a SentenceTransformer's folder or its hub name, or "
        "several with a + between.",
    )
    false_reject: float = Field(
        default=FALSE_REJECT,
        gt=0,
        lt=1,
        description="The share of an adapter's own kind of queries that may go to the base model.",
    )
    encoder_threads: int = Field(
        default=1,
        ge=1,
        description="Texts that are encoded at a time, each on a core: with two a router routes a "
        "sixth more.",
    )
    encoder_cache: int = Field(
        default=10_000,
        ge=0,
        description="Texts whose vectors are kept (2.3 kB each), so that a repeated one isn't "
        "encoded again; 0 keeps none.",
    )
    router_batch: int = Field(
        default=256, ge=1, description="Queries that are encoded and selected together, at most."
    )
    router_pending: int = Field(
        default=2048, ge=1, description="Queries read and not committed, at most: back-pressure."
    )
    drift_window: float = Field(
        default=3600.0,
        gt=0,
        le=YEAR_SECONDS,
        description="Seconds of queries that calibration is compared with.",
    )
    shadow_encoder: str | None = Field(
        default=None,
        description="Selects a second time with that encoder, only to count what differs.",
    )
    shadow_false_reject: float | None = Field(
        default=None,
        gt=0,
        lt=1,
        description="Selects a second time with that share of false rejects, only to count what "
        "differs.",
    )
    metrics_window: float = Field(
        default=10.0,
        gt=0,
        le=DAY_SECONDS,
        description="Seconds of one record of the metrics topic.",
    )
