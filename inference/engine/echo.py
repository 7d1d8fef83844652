"""An engine without a model: it answers with its prompt, as slowly as it is told to.

It stands in for vLLM where the way of an event matters and not the text, and keeps vLLM's
manners: places in a batch, priorities, refusals. Waiting takes no CPU, as on a GPU, and what
waits in the engine begins when its place is free, whatever else this process is at by then.
"""

import asyncio
import os
import re
import signal
from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack
from time import monotonic

from inference.engine.prompt import adapter_text, check_sampling, conversation, lines
from inference.engine.protocol import (
    Completion,
    Delta,
    EngineLimits,
    Generation,
    LoadedAdapter,
)
from inference.engine.running import Running, check_folder, check_loadable
from inference.engine.slots import Slots
from schemas.errors import EngineCrashed, EngineUnavailable, PromptTooLong
from schemas.records import BASE, Usage
from streams.interruption import Interruption


class EchoEngine:
    """Answers ``[adapter] last message``, one token a word.

    ``limits.max_num_seqs`` requests are served at once, ``service_ms`` each, the others wait.
    An adapter takes ``load_ms`` to load, beside what runs.
    It dies of a prompt that holds ``crash_on``, as vLLM may of one that its kernels can't take,
    and its whole process of ``kill_on``, as where the kernel ends all that a container runs.
    """

    def __init__(
        self,
        limits: EngineLimits,
        *,
        service_ms: float = 0.0,
        load_ms: float = 0.0,
        crash_on: str | None = None,
        kill_on: str | None = None,
    ) -> None:
        self._limits = limits
        self._service_s = service_ms / 1000
        self._load_s = load_ms / 1000
        self._crash_on = crash_on
        self._kill_on = kill_on
        self._slots = Slots(limits.max_num_seqs)
        self._running = Running()
        self._started = False
        self._served = 0

    @property
    def limits(self) -> EngineLimits:
        """What it was made with."""
        return self._limits

    async def start(self) -> None:
        """Serve from now on."""
        self._started = True

    async def stop(self) -> None:
        """End what runs with EngineUnavailable."""
        self._started = False
        self._running.end_all(EngineUnavailable("The engine was stopped."))
        self._running = Running()

    async def load(self, adapter: LoadedAdapter) -> None:
        """Take the adapter in as a real engine would, without reading its weights."""
        async with self._running.changing(adapter.key) as change:
            loaded = self._running.adapters
            if adapter.key not in loaded:
                check_loadable(adapter, self._limits, len(loaded))
                check_folder(adapter)
                with change.interruptible():
                    await asyncio.sleep(self._load_s)
                self._running.admit(adapter)

    async def unload(self, key: str) -> None:
        """Refuse new requests for ``key`` and wait for the running ones."""
        async with self._running.changing(key):
            await self._running.retire(key)

    async def generate(self, generation: Generation) -> AsyncGenerator[Delta | Completion, None]:
        """Words of the prompt; see the protocol."""
        arrived = monotonic()
        if not self._started:
            raise EngineUnavailable("The engine is not running.")
        with self._running.track(generation) as request:
            check_sampling(generation.sampling)
            prompt_tokens = self._prompt_tokens(generation)
            room = self._limits.max_model_len - prompt_tokens
            words, finish_reason = _answer(generation, room)
            async with AsyncExitStack() as stack:
                with request.interruptible():
                    place = await stack.enter_async_context(self._slots.hold(generation.rank))
                self._die_of(generation)
                pieces = words if generation.stream else ["".join(words)]
                times = [
                    place.begun + self._service_s * number / len(pieces)
                    for number in range(1, len(pieces) + 1)
                ]
                place.ends = place.begun + self._service_s
                for piece, done in zip(pieces, times, strict=True):
                    await self._serve_until(request, done)
                    if generation.stream:
                        yield Delta(piece, 1)
            request.check()
            completion = Completion(
                "".join(words),
                finish_reason,
                Usage(prompt_tokens, len(words)),
                engine_queue_ms=(place.begun - arrived) * 1000,
                first_token_ms=(place.begun - arrived + self._service_s / max(len(words), 1))
                * 1000,
                inference_ms=self._service_s * 1000,
            )
        yield completion

    async def abort(self, request_id: str) -> None:
        """End that request with Cancelled."""
        self._running.abort(request_id)

    def metrics_text(self) -> bytes:
        """It has no metrics of its own."""
        return b""

    async def progress(self) -> int | None:
        """Words served so far."""
        return self._served

    async def healthy(self) -> bool:
        """True between start and stop."""
        return self._started

    def _die_of(self, generation: Generation) -> None:
        prompt = conversation(generation)[-1].content
        if self._kill_on and self._kill_on in prompt:
            os.kill(os.getpid(), signal.SIGKILL)
        if self._crash_on and self._crash_on in prompt:
            self._started = False
            # The one that does it among them.
            self._running.end_all(EngineCrashed("The engine died."))

    async def _serve_until(self, request: Interruption, done: float) -> None:
        with request.interruptible():
            await asyncio.sleep(done - monotonic())
        self._served += 1

    def _prompt_tokens(self, generation: Generation) -> int:
        text = adapter_text(generation)
        tokens = len((lines(conversation(generation)) if text is None else text).split())
        if tokens >= self._limits.max_model_len:
            raise PromptTooLong(
                f"The prompt has {tokens} tokens; prompt and answer together may have "
                f"{self._limits.max_model_len}."
            )
        return tokens


def _answer(generation: Generation, room: int) -> tuple[Sequence[str], str]:
    """The words of the answer with the space before each, and why it ends there."""
    key = generation.adapter.key if generation.adapter else BASE
    text = f"[{key}] {conversation(generation)[-1].content}".rstrip()
    finish_reason = "stop"
    for stop in generation.sampling.stop:
        text = text.partition(stop)[0]
    words = re.findall(r"\s*\S+|\s+$", text)
    limit = min(room, generation.sampling.max_tokens or room)
    if len(words) > limit:
        words, finish_reason = words[:limit], "length"
    return words, finish_reason
