"""What the worker asks of an engine, whichever it is."""

from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from typing import Protocol

from schemas.records import BaseModel, Message, Sampling, Usage
from streams.registry.files import FileState

HIGHEST_PRIORITY = 9
"""Priorities run from 0 to 9 and 9 goes first."""


@dataclass(frozen=True, slots=True)
class EngineLimits:
    """What the engine serves, and how much of it.

    ``max_model_len`` counts the tokens of prompt and answer together, ``max_num_seqs`` the
    requests computed at once, ``max_loras`` the adapters in one batch, ``max_cpu_loras`` those
    held loaded, 0 where no adapter can be served at all.
    """

    base_model: BaseModel
    max_model_len: int
    max_num_seqs: int
    max_loras: int
    max_cpu_loras: int
    max_lora_rank: int


@dataclass(frozen=True, slots=True)
class LoadedAdapter:
    """A verified adapter folder under the immutable name that the engine serves it by.

    ``prompt_template`` holds ``{prompt}`` and takes the place of the base model's chat template.
    ``files`` are those that were verified: unchanged after a load, they are what was loaded.
    """

    key: str
    path: str
    rank: int
    prompt_template: str | None = None
    files: tuple[FileState, ...] = field(default=(), compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Generation:
    """One request to the engine; ``request_id`` is unique among those running.

    Either ``prompt``, which is one user message, or ``messages``. Without ``adapter`` the base
    model answers. Among equals of ``priority`` one that ``overtakes`` goes first.
    """

    request_id: str
    prompt: str | None = None
    messages: tuple[Message, ...] = ()
    adapter: LoadedAdapter | None = None
    sampling: Sampling = field(default_factory=Sampling)
    priority: int = 5
    overtakes: bool = False
    stream: bool = False

    @property
    def rank(self) -> int:
        """What waits in the engine goes by it, the lowest first, as vLLM's `priority`."""
        return 2 * (HIGHEST_PRIORITY - self.priority) + (not self.overtakes)


@dataclass(frozen=True, slots=True)
class Delta:
    """A piece of the answer and the tokens in it, only for a Generation with ``stream``."""

    text: str
    tokens: int


@dataclass(frozen=True, slots=True)
class Completion:
    """The whole answer; ``finish_reason`` is ``stop`` or ``length``, never ``abort``.

    The engine's own times, None where it does not tell: ``engine_queue_ms`` waiting for a place
    in a batch, ``first_token_ms`` from arrival to the first token, ``inference_ms`` from the
    place in a batch to the last token.
    """

    text: str
    finish_reason: str
    usage: Usage
    engine_queue_ms: float | None = None
    first_token_ms: float | None = None
    inference_ms: float | None = None


class Engine(Protocol):
    """An engine that serves one base model and many adapters of it.

    Everything runs on one event loop and none of it blocks that loop.
    """

    @property
    def limits(self) -> EngineLimits:
        """Known once started; raises EngineUnavailable before."""

    async def start(self) -> None:
        """Return once requests are served; ConfigurationError or EngineUnavailable if never."""

    async def stop(self) -> None:
        """End what runs with EngineUnavailable and free everything; a second call does nothing.

        It can be started again then, and holds no adapter.
        """

    async def load(self, adapter: LoadedAdapter) -> None:
        """Make ``adapter.key`` servable; a key that is loaded already is left as it is.

        Raises AdapterUnavailable, and the engine goes on serving the others.
        """

    async def unload(self, key: str) -> None:
        """Refuse new requests for ``key``, wait for the running ones, then free it."""

    def generate(self, generation: Generation) -> AsyncGenerator[Delta | Completion, None]:
        """Deltas if streaming, then exactly one Completion, and the request is over.

        Closing the generator before, or cancelling the task that waits for it, aborts.

        Raises InvalidRequest, PromptTooLong, AdapterUnavailable for an adapter that is not
        loaded, Cancelled after ``abort``, Overloaded, EngineError or EngineUnavailable.
        """

    async def abort(self, request_id: str) -> None:
        """End that request with Cancelled; one that is not running is left alone."""

    def metrics_text(self) -> bytes:
        """The engine's own metrics in Prometheus' text format; empty if it has none."""

    async def progress(self) -> int | None:
        """A number that grows while requests are worked on, as tokens do; None if unknown."""

    async def healthy(self) -> bool:
        """Whether requests can be served now."""
