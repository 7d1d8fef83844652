"""From settings to a running AsyncLLM: environment, options, child processes."""

import logging
import os
import threading
from contextlib import AbstractContextManager, nullcontext
from dataclasses import fields
from pathlib import Path
from typing import Any, NoReturn

from pydantic import ValidationError

from inference.engine import lifeline
from inference.engine.config import EngineSettings, check_options, problem
from schemas.errors import ConfigurationError, EngineUnavailable
from streams.garbage import importing

log = logging.getLogger(__name__)

_KILLED_WITHIN_SECONDS = 30.0
_KV_CACHE_BYTES = 1 << 30

#: Imported by vLLM's workers, not here: the module changes vLLM's kernels.
CPU_LORA = "inference.engine.vllm_cpu_lora.CpuLora"

#: The EngineCore computes itself, as vLLM has it with one GPU. On a CPU vLLM turns "uni" into "mp",
#: for it gives OpenMP's environment to worker processes only; ``_openmp`` gives it to this one.
#: With the demo's models on two cores a worker process more costs 6 CPU seconds a start (19 for
#: 13) and 0.5 GiB, and 33 ms of CPU a request with 8 under way (70 for 37); one request every
#: 2 s takes a core's second (1,150 ms for 130), for the worker polls that long after each step.
IN_ENGINE_CORE = "vllm.v1.executor.uniproc_executor.UniProcExecutor"


def launch(settings: EngineSettings, given_up: threading.Event) -> Any:
    """An AsyncLLM whose processes are ready. Blocks for 15 seconds, or minutes.

    ``given_up`` keeps it from starting processes. Raises ConfigurationError for what vLLM
    refuses, EngineUnavailable if it does not come up.
    """
    config = engine_config(settings)
    with importing():
        from vllm import envs
        from vllm.v1.engine.async_llm import AsyncLLM

    lifeline.install()
    if given_up.is_set():
        raise EngineUnavailable("The start was given up.")
    try:
        with _openmp(config):
            llm = AsyncLLM.from_vllm_config(config)
    except (RuntimeError, ValueError, TimeoutError, AssertionError) as error:
        raise EngineUnavailable(f"vLLM did not start: {brief(error)}") from error
    # vLLM looks its environment up for every token, and remembers it only in its children.
    envs.enable_envs_cache()
    return llm


def end(llm: Any) -> None:
    """End an AsyncLLM's processes. Blocks for 5 seconds, or until the killed ones are gone."""
    from vllm import envs

    manager = llm.engine_core.resources.engine_manager
    llm.shutdown()
    # vLLM kills what is left after 5 seconds, and doesn't wait: its memory may still be taken.
    for process in getattr(manager, "processes", ()):
        process.join(_KILLED_WITHIN_SECONDS)
    envs.disable_envs_cache()
    # vLLM's __del__ would do it again when Python exits, with half its modules gone.
    llm.shutdown = lambda: None


def engine_config(settings: EngineSettings) -> Any:
    """vLLM's own configuration; options without effect are logged as warnings."""
    _set_environment(settings)
    with importing():
        from vllm.engine.arg_utils import AsyncEngineArgs
        from vllm.platforms import current_platform

    known = {field.name for field in fields(AsyncEngineArgs)}
    options, warnings = check_options(settings.options, known, _server_options(settings, known))
    for warning in warnings:
        log.warning(warning)
    defaults: dict[str, Any] = {}
    if current_platform.is_cpu():
        # bfloat16 needs instructions that many a CPU lacks, and compiling takes minutes.
        defaults = {
            "dtype": "float32",
            "enforce_eager": True,
            "worker_extension_cls": CPU_LORA,
            # By gpu_memory_utilization vLLM would take most of the machine's memory.
            "kv_cache_memory_bytes": _KV_CACHE_BYTES,
        }
    try:
        arguments = _arguments(settings) | defaults | _texts_read(options)
        config = AsyncEngineArgs(**arguments).create_engine_config()
    except (ValueError, TypeError, OSError, NotImplementedError) as error:
        reason = problem(error) if isinstance(error, ValidationError) else brief(error)
        raise ConfigurationError(f"vLLM refuses the configuration: {reason}") from error
    parallel = config.parallel_config
    if (
        current_platform.is_cpu()
        and parallel.world_size_across_dp == 1
        and options.get("distributed_executor_backend") is None
    ):
        parallel.distributed_executor_backend = IN_ENGINE_CORE
    return config


def brief(error: BaseException) -> str:
    """The first line of an exception's text, or its type."""
    return next(iter(str(error).strip().splitlines()), "") or type(error).__name__


def _openmp(config: Any) -> AbstractContextManager[None]:
    """OpenMP's environment for an EngineCore that computes itself: what vLLM gives its workers.

    Spawned, the EngineCore has it from its first instruction on, when libgomp reads it.
    """
    if config.parallel_config.distributed_executor_backend != IN_ENGINE_CORE:
        return nullcontext()
    from vllm.utils.ompmultiprocessing import OMPProcessManager

    bound: AbstractContextManager[None] = OMPProcessManager(config).configure_omp_envs(0, 0)
    return bound


def _set_environment(settings: EngineSettings) -> None:
    if not settings.model:
        raise ConfigurationError("No base model is named: set `model`, or LORELAY_MODEL.")
    if Path(settings.model).is_dir():
        os.environ.setdefault("HF_HUB_OFFLINE", "1")
    elif settings.model.startswith(("/", ".", "~")):
        raise ConfigurationError(f"There is no model folder {settings.model}.")
    os.environ.setdefault("VLLM_NO_USAGE_STATS", "1")
    # Where there is an nvcc, FlashInfer compiles its sampler with it at the first start: "several
    # minutes", says its log. vLLM's own needs no nvcc.
    os.environ.setdefault("VLLM_USE_FLASHINFER_SAMPLER", "0")
    # A forked EngineCore would keep our sockets open, and threads do not survive a fork.
    os.environ.setdefault("VLLM_WORKER_MULTIPROC_METHOD", "spawn")


def _arguments(settings: EngineSettings) -> dict[str, Any]:
    """What settings say of vLLM's arguments; None is left to vLLM."""
    arguments = {
        "model": settings.model,
        "served_model_name": settings.base_model.name,
        "max_model_len": settings.max_model_len,
        "max_num_seqs": settings.max_num_seqs,
        "scheduling_policy": "priority",
    }
    if settings.enable_lora:
        arguments |= {
            "enable_lora": True,
            "max_loras": settings.max_loras,
            "max_cpu_loras": settings.resident_adapters,
            "max_lora_rank": settings.max_lora_rank,
        }
    return {name: value for name, value in arguments.items() if value is not None}


def _texts_read(options: dict[str, Any]) -> dict[str, Any]:
    """The options, with texts read as vLLM's command line and file have them: 4G, 32k, JSON.

    Raises ValueError for a text that vLLM can't read.
    """
    texts = {name: value for name, value in options.items() if isinstance(value, str)}
    if not texts:
        return options
    from vllm.engine.arg_utils import AsyncEngineArgs
    from vllm.utils.argparse_utils import FlexibleArgumentParser

    class Reader(FlexibleArgumentParser):  # type: ignore[misc]
        def error(self, message: str) -> NoReturn:
            flag, _, reason = message.partition(":")
            if "ignored explicit argument" in reason:
                raise ValueError(f"{flag}: must be true or false, without quotes")
            raise ValueError(message)

    reader = AsyncEngineArgs.add_cli_args(Reader(add_help=False, allow_abbrev=False))
    flags = [f"--{name.replace('_', '-')}={value}" for name, value in texts.items()]
    read, _ = reader.parse_known_args(flags)
    return options | {name: getattr(read, name) for name in texts if hasattr(read, name)}


def _server_options(settings: EngineSettings, known: set[str]) -> set[str]:
    """Options of vLLM's HTTP server, looked up only if one may be needed: a slow import."""
    if settings.options.keys() <= known:
        return set()
    from vllm.entrypoints.launchers.cli_args import FrontendArgs

    return {field.name for field in fields(FrontendArgs)}
