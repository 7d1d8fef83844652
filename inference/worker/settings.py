"""What a worker can be told; from `LORELAY_*` variables or a file."""

import os
from functools import partial
from math import inf, isqrt
from pathlib import Path
from typing import Annotated, Literal

from pydantic import ByteSize, Field, field_validator
from pydantic_settings import NoDecode

from inference.scheduling.admission import Admission
from streams.process import ProcessSettings
from streams.registry.remote.settings import RemoteSettings
from streams.user_cache import user_cache

#: Of fewer places each one is worth too much to be left free.
_LARGE_BATCH = 16


class WorkerSettings(ProcessSettings, RemoteSettings):
    """Settings of one worker process; the engine's own are in inference.engine.config."""

    worker_group: str = Field(default="lorelay-worker", description="The consumer group.")
    engine: Literal["vllm", "http", "echo"] = Field(
        default="vllm", description="vllm in this process, http for a server, echo for none."
    )
    vllm_config: Path | None = Field(
        default=None, description="A vllm_config.yaml with the engine's options."
    )
    adapter_roots: Annotated[tuple[Path, ...], NoDecode] = Field(
        default=(),
        description="Folders that adapters may lie in, with commas or colons between them; "
        "unset: anywhere. Links that lead out of them are refused.",
    )
    adapter_store: Path = Field(
        default_factory=partial(user_cache, "adapters"),
        description="Where fetched adapters are kept; workers of one host may share it. Default: "
        "lorelay/adapters in the user's cache folder.",
    )
    adapter_store_bytes: ByteSize = Field(
        default=ByteSize(16 << 30),
        gt=0,
        description="The most that they may take there, such as 16GiB; the least used go first.",
    )
    adapter_fetches: int = Field(
        default=4, ge=1, description="Adapters that are fetched at once, at most."
    )
    max_in_flight: int = Field(
        default=0,
        ge=0,
        description="Requests read and not answered, to choose the next one from; 0: sixteen "
        "times the engine's batch, 4,096 at least.",
    )
    max_running: int = Field(
        default=0,
        ge=0,
        description="Requests that the engine has at once; 0: its batch and an eighth more, "
        "and another eighth for adapters that have been idle.",
    )
    reserved_places: int | None = Field(
        default=None,
        ge=0,
        description="Places in the engine's batch that an adapter with more than half of them "
        "leaves free while others ask, too: these wait less beside it. Default: half the root of "
        "the batch (of 16 two, of 256 eight), none of a batch below 16.",
    )
    stall_seconds: float = Field(
        default=120.0,
        gt=0,
        description="An engine that makes no token for so long while requests run is started anew.",
    )
    max_attempts: int = Field(
        default=3, ge=1, description="How often a request is tried where its error is retryable."
    )
    journal: Path | None = Field(
        default=None,
        description="A file of this worker's own, on a local disk that outlives its process: "
        "what runs is noted there, so that a request that kills the whole worker is found.",
    )
    flush_linger: float = Field(
        default=0.0, ge=0, description="Least seconds between two transactions of a partition."
    )
    heartbeat_seconds: float = Field(
        default=5.0, gt=0, description="How often the worker's state goes to the workers topic."
    )

    def admission(self, batch: int) -> Admission:
        """Who has an engine with such a batch.

        An eighth of the batch waits in the engine: whatever is free there is taken at once.
        """
        ahead = 0 if self.max_running else max(1, batch // 8)
        places = self.max_running or batch + ahead
        reserved = self.reserved_places
        if reserved is None:
            # What comes at random needs some room that grows with the root of the whole (Halfin
            # and Whitt, "Heavy-traffic limits for queues with many exponential servers", 1981).
            reserved = isqrt(batch) // 2 if batch >= _LARGE_BATCH else 0
        unreserved = max(1, min(places, batch) - reserved) if reserved else inf
        return Admission(places, overtaking=ahead, unreserved=unreserved)

    @field_validator("adapter_roots", mode="before")
    @classmethod
    def _split(cls, roots: object) -> object:
        if isinstance(roots, str):
            named = roots.replace(os.pathsep, ",").split(",")
            return tuple(name.strip() for name in named if name.strip())
        return roots

    @field_validator("adapter_roots")
    @classmethod
    def _resolved(cls, roots: tuple[Path, ...]) -> tuple[Path, ...]:
        for root in roots:
            if not root.is_absolute():
                raise ValueError(f"{root} is a relative path; give absolute ones")
        return tuple(root.resolve() for root in roots)
