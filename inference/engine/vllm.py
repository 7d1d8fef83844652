"""vLLM in this process: AsyncLLM, whose EngineCore computes in a process of its own.

vLLM is imported on ``start``, in a thread, since it takes seconds and reads its environment.
"""

import asyncio
import itertools
import threading
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing, contextmanager
from typing import Any

from inference.engine import lifeline
from inference.engine.config import EngineSettings
from inference.engine.prompt import check_sampling
from inference.engine.protocol import (
    Completion,
    Delta,
    EngineLimits,
    Generation,
    LoadedAdapter,
)
from inference.engine.running import Running, check_folder, check_loadable
from inference.engine.vllm_prompt import Prompts
from inference.engine.vllm_start import brief, end, launch
from schemas.errors import (
    AdapterUnavailable,
    EngineCrashed,
    EngineError,
    EngineUnavailable,
    InvalidRequest,
    Overloaded,
    PromptTooLong,
)
from schemas.records import Sampling, Usage

_TOKENS = {"vllm:prompt_tokens", "vllm:generation_tokens"}


class VllmEngine:
    """Serves a base model and its LoRA adapters by vLLM; times are vLLM's own."""

    def __init__(self, settings: EngineSettings) -> None:
        self._settings = settings
        self._llm: Any = None
        self._limits: EngineLimits | None = None
        self._running = Running()
        # Never reused: vLLM would serve the adapter that had the number before.
        self._numbers = itertools.count(1)
        self._lora_requests: dict[str, Any] = {}

    @property
    def limits(self) -> EngineLimits:
        """As vLLM settled them; EngineUnavailable before the start."""
        if self._limits is None:
            raise EngineUnavailable("vLLM is not running.")
        return self._limits

    async def start(self) -> None:
        """Start vLLM, which takes 15 seconds on a CPU and minutes with a large model.

        When cancelled it ends vLLM's processes first, which takes seconds at most.
        """
        given_up = threading.Event()
        launching = asyncio.create_task(asyncio.to_thread(launch, self._settings, given_up))
        try:
            self._llm = await asyncio.shield(launching)
        except asyncio.CancelledError:
            given_up.set()
            while not launching.done():
                lifeline.end_engine_cores()
                await asyncio.wait([launching], timeout=0.2)
            if launching.exception() is None:
                await asyncio.to_thread(end, launching.result())
            raise
        config = self._llm.vllm_config
        lora = config.lora_config
        self._sampling_defaults = _sampling_defaults(config.model_config)
        self._prompts = Prompts(
            self._llm.renderer, self._settings, config.model_config.max_model_len
        )
        # Cached by vLLM: with it known, a request is registered without an await before.
        await self._llm.get_supported_tasks()
        self._limits = EngineLimits(
            base_model=self._settings.base_model,
            max_model_len=config.model_config.max_model_len,
            max_num_seqs=config.scheduler_config.max_num_seqs,
            max_loras=lora.max_loras if lora else 0,
            max_cpu_loras=lora.max_cpu_loras if lora else 0,
            max_lora_rank=lora.max_lora_rank if lora else 0,
        )

    async def stop(self) -> None:
        """End what runs with EngineUnavailable, then vLLM's processes, within seconds."""
        self._running.end_all(EngineUnavailable("The engine was stopped."))
        # Another start begins with nothing loaded.
        self._running = Running()
        self._lora_requests = {}
        llm, self._llm, self._limits = self._llm, None, None
        if llm is not None:
            await asyncio.to_thread(end, llm)

    async def load(self, adapter: LoadedAdapter) -> None:
        """Load the adapter into vLLM's processes under a number of its own."""
        from vllm.lora.request import LoRARequest
        from vllm.v1.engine.exceptions import EngineDeadError

        async with self._running.changing(adapter.key) as change:
            llm = self._alive()
            if adapter.key in self._running.adapters:
                return
            # vLLM leaves whoever waits for it waiting when its processes die.
            with change.interruptible(), _errors():
                if interrupted := self._lora_requests.pop(adapter.key, None):
                    await llm.remove_lora(interrupted.lora_int_id)
                check_loadable(adapter, self.limits, len(self._lora_requests))
                check_folder(adapter)
                request = LoRARequest(adapter.key, next(self._numbers), adapter.path)
                # Counted from here, for vLLM pushes an adapter out if there are more than it may
                # hold; and kept if this task is cancelled, for vLLM loads it all the same.
                self._lora_requests[adapter.key] = request
                try:
                    await llm.add_lora(request)
                except EngineDeadError:
                    raise
                except Exception as error:  # a bare one, whatever vLLM's process has raised
                    del self._lora_requests[adapter.key]
                    raise AdapterUnavailable(adapter.key, brief(error)) from error
            self._running.admit(adapter)

    async def unload(self, key: str) -> None:
        """Refuse new requests for ``key``, wait for the running ones, then free it in vLLM."""
        async with self._running.changing(key) as change:
            llm = self._alive()
            if await self._running.retire(key):
                with change.interruptible(), _errors():
                    await llm.remove_lora(self._lora_requests.pop(key).lora_int_id)

    async def generate(self, generation: Generation) -> AsyncGenerator[Delta | Completion, None]:
        """See the protocol; without ``stream`` vLLM hands over the whole answer once."""
        llm = self._alive()
        adapter = generation.adapter
        with self._running.track(generation) as request, _errors():
            params = self._params(generation)
            with request.interruptible():
                prompt = await self._prompts.render(generation)
            outputs = llm.generate(
                prompt,
                params,
                generation.request_id,
                lora_request=self._lora_requests[adapter.key] if adapter else None,
                priority=generation.rank,
            )
            texts: list[str] = []
            tokens = told = 0
            last: Any = None
            async with aclosing(outputs):
                while True:
                    with request.interruptible():
                        output = await anext(outputs, None)
                    if output is None:
                        break
                    last, answer = output, output.outputs[0]
                    texts.append(answer.text)
                    tokens += len(answer.token_ids)
                    if generation.stream and answer.text:
                        yield Delta(answer.text, tokens - told)
                        told = tokens
            request.check()
            completion = _completion(last, "".join(texts), tokens)
        yield completion

    async def abort(self, request_id: str) -> None:
        """End that request with Cancelled, in vLLM too."""
        self._running.abort(request_id)

    def metrics_text(self) -> bytes:
        """What vLLM has registered with prometheus-client: its metrics named ``vllm:``."""
        from prometheus_client import CollectorRegistry, generate_latest

        registry = CollectorRegistry()
        registry.register(_VllmMetrics())
        return generate_latest(registry)

    async def progress(self) -> int | None:
        """Tokens read and written so far, as vLLM counts them for its metrics."""
        samples = (
            sample
            for family in _VllmMetrics().collect()
            if family.name in _TOKENS
            for sample in family.samples
        )
        return int(sum(sample.value for sample in samples if sample.name.endswith("_total")))

    async def healthy(self) -> bool:
        """Whether vLLM's processes are alive."""
        return self._llm is not None and not self._llm.errored

    def _alive(self) -> Any:
        if self._llm is None:
            raise EngineUnavailable("vLLM is not running.")
        if self._llm.errored:
            raise EngineUnavailable("vLLM died; its log says why.")
        return self._llm

    def _params(self, generation: Generation) -> Any:
        from vllm.sampling_params import RequestOutputKind, SamplingParams

        check_sampling(generation.sampling)
        kind = RequestOutputKind.DELTA if generation.stream else RequestOutputKind.FINAL_ONLY
        values = {"max_tokens": None} | self._sampling_defaults | _given(generation.sampling)
        return SamplingParams(**values, output_kind=kind, skip_clone=True)


def _sampling_defaults(model: Any) -> dict[str, Any]:
    """What generation_config.json says; vLLM itself passes over its ``do_sample: false``."""
    defaults: dict[str, Any] = model.get_diff_sampling_param()
    if (
        model.generation_config != "vllm"
        and model.try_get_generation_config().get("do_sample") is False
    ):
        defaults.setdefault("temperature", 0.0)
    return defaults


def _given(sampling: Sampling) -> dict[str, Any]:
    values = {
        "max_tokens": sampling.max_tokens,
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "seed": sampling.seed,
        "stop": list(sampling.stop) or None,
    }
    return {name: value for name, value in values.items() if value is not None}


def _completion(output: Any, text: str, tokens: int) -> Completion:
    """The end of vLLM's ``output``; EngineError for one that vLLM broke off."""
    reason = output.outputs[0].finish_reason if output else "nothing"
    if reason in ("nothing", "abort", "error"):
        raise EngineError(f"vLLM ended the request with {reason}.")
    usage = Usage(len(output.prompt_token_ids), tokens)
    return Completion(text, reason, usage, **_timings(output.metrics))


def _timings(metrics: Any) -> dict[str, float | None]:
    """Milliseconds from vLLM's RequestStateStats, whose stamps are 0 until they are taken."""
    if metrics is None or not metrics.first_token_ts:
        return {}
    return {
        "engine_queue_ms": (metrics.scheduled_ts - metrics.queued_ts) * 1000,
        "first_token_ms": metrics.first_token_latency * 1000,
        "inference_ms": (metrics.last_token_ts - metrics.scheduled_ts) * 1000,
    }


@contextmanager
def _errors() -> Iterator[None]:
    """vLLM's exceptions as ours."""
    from vllm.exceptions import GracefulHTTPError, VLLMClientError
    from vllm.v1.engine.exceptions import EngineDeadError, EngineGenerateError

    try:
        yield
    except VLLMClientError as error:
        if getattr(error, "parameter", None) == "input_tokens":
            raise PromptTooLong(brief(error)) from error
        raise InvalidRequest(brief(error)) from error
    except GracefulHTTPError as error:
        raise Overloaded(brief(error)) from error
    except EngineDeadError as error:
        raise EngineCrashed("vLLM died; its log says why.") from error
    except EngineGenerateError as error:
        raise EngineError(f"vLLM failed: {brief(error.__cause__ or error)}") from error


class _VllmMetrics:
    """Those of the default registry's metrics that are vLLM's."""

    def collect(self) -> Iterator[Any]:
        from prometheus_client import REGISTRY

        return (family for family in REGISTRY.collect() if family.name.startswith("vllm:"))
