"""The engine that a process was told to use."""

from typing import Literal

from inference.engine.config import EngineSettings
from inference.engine.echo import EchoEngine
from inference.engine.protocol import Engine, EngineLimits
from schemas.errors import ConfigurationError

EngineKind = Literal["vllm", "http", "echo"]

_ECHO_CONTEXT = 4096
_ECHO_SEQUENCES = 64


def make_engine(kind: EngineKind, settings: EngineSettings) -> Engine:
    """An engine of that kind, not started; only the one asked for is imported."""
    match kind:
        case "vllm":
            from inference.engine.vllm import VllmEngine

            return VllmEngine(settings)
        case "http":
            from inference.engine.http import HttpEngine

            return HttpEngine(settings)
        case "echo":
            return EchoEngine(
                _echo_limits(settings),
                service_ms=settings.service_ms,
                load_ms=settings.load_ms,
                crash_on=settings.crash_on,
                kill_on=settings.kill_on,
            )
    raise ConfigurationError(f"There is no engine {kind!r}; choose vllm, http or echo.")


def _echo_limits(settings: EngineSettings) -> EngineLimits:
    return EngineLimits(
        base_model=settings.base_model,
        max_model_len=settings.max_model_len or _ECHO_CONTEXT,
        max_num_seqs=settings.max_num_seqs or _ECHO_SEQUENCES,
        max_loras=settings.max_loras if settings.enable_lora else 0,
        max_cpu_loras=settings.resident_adapters,
        max_lora_rank=settings.max_lora_rank,
    )
