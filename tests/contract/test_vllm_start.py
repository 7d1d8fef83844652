"""On a CPU the EngineCore computes itself, with OpenMP as vLLM's worker would have it."""

import os
from typing import Any

import psutil
import pytest

from inference.engine.config import load_settings
from inference.engine.factory import make_engine
from inference.engine.vllm_start import IN_ENGINE_CORE, engine_config
from schemas.errors import EngineUnavailable
from tests.contract.conftest import Models, needs_vllm

pytestmark = [needs_vllm, pytest.mark.filterwarnings("ignore"), pytest.mark.timeout(400)]

BIND = "VLLM_CPU_OMP_THREADS_BIND"


@pytest.fixture(autouse=True, scope="module")
def on_a_cpu() -> None:
    from vllm.platforms import current_platform

    if not current_platform.is_cpu():
        pytest.skip("This vLLM computes on another device.")


@pytest.mark.parametrize(
    ("options", "backend"),
    [
        ({}, IN_ENGINE_CORE),
        ({"tensor_parallel_size": 2}, "mp"),
        ({"pipeline_parallel_size": 2}, "mp"),
        ({"distributed_executor_backend": "mp"}, "mp"),
    ],
)
def test_several_workers_or_a_chosen_backend_stay_with_vllm(
    models: Models, options: dict[str, Any], backend: str
) -> None:
    config = engine_config(models.settings(options=options))
    assert config.parallel_config.distributed_executor_backend == backend


@pytest.mark.parametrize(
    ("options", "held"),
    [
        ({}, 1 << 30),
        ({"kv_cache_memory_bytes": 256_000_000}, 256_000_000),
        ({"kv_cache_memory_bytes": "256M"}, 256 << 20),
        ({"gpu_memory_utilization": 0.9}, 1 << 30),
        ({"kv_cache_memory_bytes": None}, None),
    ],
)
def test_the_cache_takes_a_gibibyte_unless_one_says_how_much(
    models: Models, options: dict[str, Any], held: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("VLLM_CPU_KVCACHE_SPACE", raising=False)
    settings = load_settings(model=str(models.base), max_model_len=128, options=options)
    assert engine_config(settings).cache_config.kv_cache_memory_bytes == held


async def test_the_engine_core_is_bound_to_the_cores_that_a_worker_would_have(
    models: Models, monkeypatch: pytest.MonkeyPatch
) -> None:
    last = max(os.sched_getaffinity(0))
    monkeypatch.setenv(BIND, str(last))
    before = dict(os.environ)
    engine = make_engine("vllm", models.settings())
    await engine.start()
    try:
        below = psutil.Process().children(recursive=True)
        (core,) = [process for process in below if process.name().startswith("VLLM::")]
        assert core.cpu_affinity() == [last]
        assert before.get("OMP_NUM_THREADS") == os.environ.get("OMP_NUM_THREADS")
    finally:
        await engine.stop()


@pytest.mark.parametrize(
    "variables", [{BIND: "first"}, {BIND: "0", "VLLM_CPU_SIM_MULTI_NUMA": "1"}]
)
async def test_cores_that_vllm_refuses_are_an_engine_that_does_not_start(
    models: Models, monkeypatch: pytest.MonkeyPatch, variables: dict[str, str]
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(EngineUnavailable, match="vLLM did not start"):
        await make_engine("vllm", models.settings()).start()
    assert not [child for child in psutil.Process().children() if "VLLM" in child.name()]
