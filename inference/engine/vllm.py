"""vLLM in this process: AsyncLLM, whose EngineCore computes in a process of its own.

vLLM is imported on ``start``, in a thread, since it takes seconds and reads its environment.
"""

import asyncio
import itertools
import logging
import os
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing, contextmanager
from dataclasses import fields
from pathlib import Path
from typing import Any

from inference.engine import lifeline
from inference.engine.config import EngineSettings, check_options
from inference.engine.prompt import adapter_text, check_sampling, conversation, lines
from inference.engine.protocol import (
    HIGHEST_PRIORITY,
    Completion,
    Delta,
    EngineLimits,
    Generation,
    LoadedAdapter,
)
from inference.engine.running import Running, check_folder, check_loadable
from schemas.errors import (
    AdapterUnavailable,
    ConfigurationError,
    EngineError,
    EngineUnavailable,
    InvalidRequest,
    Overloaded,
    PromptTooLong,
)
from schemas.records import Sampling, Usage

log = logging.getLogger(__name__)

#: Characters of a prompt that are tokenized on the event loop: 2,000 take half a millisecond,
#: and a hand-over to a thread costs about as much.
_SHORT_PROMPT = 2_000


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
        """Start vLLM, which takes half a minute on a CPU and minutes with a large model."""
        self._llm = await asyncio.to_thread(_launch, self._settings)
        config = self._llm.vllm_config
        lora = config.lora_config
        self._sampling_defaults = config.model_config.get_diff_sampling_param()
        self._chat_params = _chat_params(self._settings)
        self._has_chat_template = _has_chat_template(self._llm.renderer, self._chat_params)
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
        """End what runs with EngineUnavailable, then vLLM's processes within 5 seconds."""
        self._running.end_all(EngineUnavailable("The engine was stopped."))
        llm, self._llm, self._limits = self._llm, None, None
        if llm is not None:
            await asyncio.to_thread(llm.shutdown)
            # vLLM's __del__ does it again when Python exits, with half its modules gone.
            llm.shutdown = _nothing

    async def load(self, adapter: LoadedAdapter) -> None:
        """Load the adapter into vLLM's processes under a number of its own."""
        from vllm.lora.request import LoRARequest
        from vllm.v1.engine.exceptions import EngineDeadError

        llm = self._alive()
        async with self._running.changing(adapter.key):
            if adapter.key in self._running.adapters:
                return
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
            except EngineDeadError as error:
                raise EngineUnavailable("vLLM died.") from error
            except Exception as error:  # vLLM wraps what its process raised into a bare Exception
                del self._lora_requests[adapter.key]
                raise AdapterUnavailable(adapter.key, _brief(error)) from error
            self._running.admit(adapter)

    async def unload(self, key: str) -> None:
        """Refuse new requests for ``key``, wait for the running ones, then free it in vLLM."""
        llm = self._alive()
        async with self._running.changing(key):
            if await self._running.retire(key):
                await llm.remove_lora(self._lora_requests.pop(key).lora_int_id)

    async def generate(self, generation: Generation) -> AsyncGenerator[Delta | Completion, None]:
        """See the protocol; without ``stream`` vLLM hands over the whole answer once."""
        llm = self._alive()
        adapter = generation.adapter
        with self._running.track(generation) as request, _errors():
            params = self._params(generation)
            with request.interruptible():
                prompt = await self._render(generation)
            outputs = llm.generate(
                prompt,
                params,
                generation.request_id,
                lora_request=self._lora_requests[adapter.key] if adapter else None,
                priority=HIGHEST_PRIORITY - generation.priority,
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

    async def _render(self, generation: Generation) -> Any:
        """The prompt as vLLM takes it, tokenized; PromptTooLong if it leaves no room."""
        renderer = self._llm.renderer
        text = adapter_text(generation)
        messages = conversation(generation)
        if text is None and not self._has_chat_template:
            text = lines(messages)
        size = len(text) if text is not None else sum(len(turn.content) for turn in messages)
        short = size <= _SHORT_PROMPT
        if text is not None:
            texts = [{"prompt": text}]
            rendered = (
                renderer.render_cmpl(texts) if short else await renderer.render_cmpl_async(texts)
            )
        else:
            chats = [[{"role": turn.role, "content": turn.content} for turn in messages]]
            _, rendered = (
                renderer.render_chat(chats, self._chat_params)
                if short
                else await renderer.render_chat_async(chats, self._chat_params)
            )
        (prompt,) = rendered
        length, limit = len(prompt["prompt_token_ids"]), self.limits.max_model_len
        if length >= limit:
            raise PromptTooLong(
                f"The prompt has {length} tokens; prompt and answer together may have {limit}."
            )
        return prompt


class _VllmMetrics:
    """Those of the default registry's metrics that are vLLM's."""

    def collect(self) -> Iterator[Any]:
        from prometheus_client import REGISTRY

        return (family for family in REGISTRY.collect() if family.name.startswith("vllm:"))


def _launch(settings: EngineSettings) -> Any:
    """An AsyncLLM whose processes are ready. Blocks; logs the options that have no effect."""
    _set_environment(settings)
    from vllm.engine.arg_utils import AsyncEngineArgs
    from vllm.platforms import current_platform
    from vllm.v1.engine.async_llm import AsyncLLM

    known = {field.name for field in fields(AsyncEngineArgs)}
    options, warnings = check_options(settings.options, known, _server_options(settings, known))
    for warning in warnings:
        log.warning(warning)
    if current_platform.is_cpu():
        # bfloat16 needs instructions that many a CPU lacks, and compiling takes minutes.
        options = {"dtype": "float32", "enforce_eager": True} | options
        os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "1")
    try:
        config = AsyncEngineArgs(**_engine_args(settings) | options).create_engine_config()
    except (ValueError, TypeError, OSError, NotImplementedError) as error:
        raise ConfigurationError(f"vLLM refuses the configuration: {_brief(error)}") from error
    lifeline.install()
    try:
        return AsyncLLM.from_vllm_config(config)
    except (RuntimeError, ValueError, TimeoutError) as error:
        raise EngineUnavailable(f"vLLM did not start: {_brief(error)}") from error


def _set_environment(settings: EngineSettings) -> None:
    if not settings.model:
        raise ConfigurationError("No base model is named: set `model`, or LORELAY_MODEL.")
    if Path(settings.model).is_dir():
        os.environ.setdefault("HF_HUB_OFFLINE", "1")
    elif settings.model.startswith(("/", ".", "~")):
        raise ConfigurationError(f"There is no model folder {settings.model}.")
    os.environ.setdefault("VLLM_NO_USAGE_STATS", "1")
    # A forked EngineCore would keep our sockets open, and threads do not survive a fork.
    os.environ.setdefault("VLLM_WORKER_MULTIPROC_METHOD", "spawn")


def _engine_args(settings: EngineSettings) -> dict[str, Any]:
    """What settings say of vLLM's arguments; None is left to vLLM."""
    args = {
        "model": settings.model,
        "served_model_name": settings.served_model_name,
        "max_model_len": settings.max_model_len,
        "max_num_seqs": settings.max_num_seqs,
        "scheduling_policy": "priority",
    }
    if settings.enable_lora:
        args |= {
            "enable_lora": True,
            "max_loras": settings.max_loras,
            "max_cpu_loras": settings.resident_adapters,
            "max_lora_rank": settings.max_lora_rank,
        }
    return {name: value for name, value in args.items() if value is not None}


def _server_options(settings: EngineSettings, known: set[str]) -> set[str]:
    """Options of vLLM's HTTP server, looked up only if one may be needed: a slow import."""
    if settings.options.keys() <= known:
        return set()
    from vllm.entrypoints.launchers.cli_args import FrontendArgs

    return {field.name for field in fields(FrontendArgs)}  # type: ignore[arg-type, unused-ignore]


def _chat_params(settings: EngineSettings) -> Any:
    from vllm.renderers import ChatParams
    from vllm.renderers.chat_utils import load_chat_template

    return ChatParams(
        chat_template=load_chat_template(settings.chat_template),
        chat_template_kwargs={"add_generation_prompt": True}
        | settings.default_chat_template_kwargs,
    )


def _has_chat_template(renderer: Any, chat_params: Any) -> bool:
    from vllm.renderers.chat_utils import ChatTemplateResolutionError

    try:
        renderer.render_chat([[{"role": "user", "content": "?"}]], chat_params)
    except ChatTemplateResolutionError:
        return False
    return True


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
            raise PromptTooLong(_brief(error)) from error
        raise InvalidRequest(_brief(error)) from error
    except GracefulHTTPError as error:
        raise Overloaded(_brief(error)) from error
    except EngineDeadError as error:
        raise EngineUnavailable("vLLM died; its log says why.") from error
    except EngineGenerateError as error:
        raise EngineError(f"vLLM failed: {_brief(error.__cause__ or error)}") from error


def _nothing() -> None:
    pass


def _brief(error: BaseException) -> str:
    """The first line of an exception's text, or its type."""
    return next(iter(str(error).strip().splitlines()), "") or type(error).__name__
