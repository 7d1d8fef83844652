"""What a gateway can be told; from `LORELAY_*` variables or a file."""

from pathlib import Path

from pydantic import Field, SecretStr

from streams.process import DAY_SECONDS, YEAR_SECONDS, ProcessSettings

DEFAULT_PORT = 8080


class GatewaySettings(ProcessSettings):
    """Settings of one gateway process; times in seconds."""

    gateway_host: str = Field(default="127.0.0.1", description="Where the API is served.")
    gateway_port: int = Field(
        default=DEFAULT_PORT, ge=0, le=65535, description="0 takes a free port."
    )
    gateway_address_file: Path | None = Field(
        default=None, description="Where to leave host:port of the API once it is served."
    )
    gateway_partition: int | None = Field(
        default=None,
        ge=0,
        description="The partition of the replies topic to read; by default the number at the "
        "end of the instance's name decides, or else a hash of it.",
    )
    gateway_timeout: float = Field(
        default=120.0,
        gt=0,
        le=YEAR_SECONDS,
        description="How long a query may take that does not say.",
    )
    gateway_requests: int = Field(
        default=4096, ge=1, description="Queries under way here, at most; others get a 503."
    )
    gateway_body_bytes: int = Field(
        default=2 * 1024 * 1024, ge=1024, description="Largest body of a request."
    )
    gateway_prompt_chars: int = Field(
        default=400_000, ge=1, description="Longest prompt, or messages in all, in characters."
    )
    gateway_stream_chars: int = Field(
        default=64 * 1024,
        ge=1024,
        description="Text that waits for a client who reads too slowly; above it he is cut off.",
    )
    gateway_stall: float = Field(
        default=30.0,
        gt=0,
        le=DAY_SECONDS,
        description="A client who takes nothing for so long is cut off.",
    )
    gateway_lookback: float = Field(
        default=DAY_SECONDS,
        gt=0,
        le=YEAR_SECONDS,
        description="How far back an answer is looked for by its id.",
    )
    gateway_lookback_records: int = Field(
        default=100_000, ge=1, description="Records that one such search reads, at most."
    )
    gateway_figures: float = Field(
        default=600.0,
        ge=1,
        le=YEAR_SECONDS,
        description="How long the adapters' figures are kept to be asked for.",
    )
    gateway_keys: Path | None = Field(
        default=None,
        description="The file of users' keys, as `lorelay gateway keys` writes it; without one "
        "everybody who reaches the gateway may ask.",
    )
    gateway_open: bool = Field(
        default=False,
        description="Without keys the gateway starts only on the loopback interface, unless this "
        "says that something in front of it asks who comes.",
    )
    admin_token: SecretStr | None = Field(
        default=None,
        min_length=1,
        description="What an admin sends as bearer token; without one nobody is admin.",
    )
    dashboard_text: bool = Field(
        default=False,
        description="Whether the dashboard shows what is asked and answered, not only how.",
    )
    router_group: str = Field(
        default="lorelay-router", description="The routers' consumer group, for the lag."
    )
    worker_group: str = Field(
        default="lorelay-worker", description="The workers' consumer group, for the lag."
    )
