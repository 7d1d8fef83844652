"""The engines that the contract is checked on, and the tiny model that they serve."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import httpx
import pytest
import pytest_asyncio

from inference.engine.config import EngineSettings, load_settings
from inference.engine.factory import EngineKind, make_engine
from inference.engine.protocol import Engine, LoadedAdapter
from inference.engine.vllm_start import CPU_LORA, IN_ENGINE_CORE
from tests.contract.tiny_model import KV_CACHE_BYTES, build_adapter, build_base

MAX_LORA_RANK = 16
MAX_CPU_LORAS = 4

needs_vllm = pytest.mark.skipif(find_spec("vllm") is None, reason="vLLM is not installed here.")


@dataclass(frozen=True)
class Models:
    """The folder of the tiny base model and of its adapters."""

    root: Path

    @property
    def base(self) -> Path:
        """The base model, made on first use: echo needs none, and making it needs torch."""
        folder = self.root / "base"
        return folder if folder.exists() else build_base(folder)

    def adapter(self, name: str, *, rank: int = 8, seed: int = 1) -> LoadedAdapter:
        """An adapter folder, as a store would hand it to the engine."""
        folder = build_adapter(self.root / name, rank=rank, seed=seed)
        return LoadedAdapter(f"{name}@1.0.0", str(folder), rank)

    def settings(
        self, *, options: Mapping[str, object] | None = None, **more: object
    ) -> EngineSettings:
        """Settings that are the same for every engine."""
        return load_settings(
            options={"kv_cache_memory_bytes": KV_CACHE_BYTES, **(options or {})},
            model=str(self.base) if find_spec("vllm") else "base",
            served_model_name="tiny",
            max_model_len=128,
            max_num_seqs=16,
            max_loras=3,
            max_cpu_loras=MAX_CPU_LORAS,
            max_lora_rank=MAX_LORA_RANK,
            **more,
        )


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Models:
    return Models(tmp_path_factory.mktemp("models"))


@pytest_asyncio.fixture(
    scope="module",
    loop_scope="module",
    params=["echo", pytest.param("vllm", marks=needs_vllm), pytest.param("http", marks=needs_vllm)],
)
async def engine(request: pytest.FixtureRequest, models: Models) -> AsyncIterator[Engine]:
    """Each engine in turn, started once for all tests of a module."""
    kind: EngineKind = request.param
    async with _started(kind, models) as started:
        yield started


@asynccontextmanager
async def _started(kind: EngineKind, models: Models) -> AsyncIterator[Engine]:
    if kind == "http":
        with vllm_server(models) as url:
            async with _running("http", models.settings(http_url=url, http_priority=True)) as http:
                yield http
    else:
        async with _running(kind, models.settings(service_ms=20)) as engine:
            yield engine


@asynccontextmanager
async def _running(kind: EngineKind, settings: EngineSettings) -> AsyncIterator[Engine]:
    engine = make_engine(kind, settings)
    await engine.start()
    try:
        yield engine
    finally:
        await engine.stop()


@contextmanager
def vllm_server(models: Models) -> Iterator[str]:
    """vLLM's own HTTP server in a process of its own; its address."""
    port = _free_port()
    log = models.root / "server.log"
    options = {
        "model": models.base,
        "served-model-name": "tiny",
        "host": "127.0.0.1",
        "port": port,
        "max-model-len": 128,
        "max-num-seqs": 16,
        "max-loras": 3,
        "max-cpu-loras": MAX_CPU_LORAS,
        "max-lora-rank": MAX_LORA_RANK,
        "kv-cache-memory-bytes": KV_CACHE_BYTES,
        "dtype": "float32",
        "scheduling-policy": "priority",
        "worker-extension-cls": CPU_LORA,
        # As our own has it: a worker process beside the EngineCore is half as much work again.
        "distributed-executor-backend": IN_ENGINE_CORE,
    }
    command = [sys.executable, "-m", "vllm.entrypoints.openai.api_server"]
    command += [part for name, value in options.items() for part in (f"--{name}", str(value))]
    command += ["--enable-lora", "--enforce-eager", "--enable-per-request-metrics"]
    environment = os.environ | {
        "HF_HUB_OFFLINE": "1",
        "VLLM_ALLOW_RUNTIME_LORA_UPDATING": "1",
        "VLLM_NO_USAGE_STATS": "1",
    }
    with log.open("wb") as output:
        server = subprocess.Popen(command, env=environment, stdout=output, stderr=output)
    url = f"http://127.0.0.1:{port}"
    try:
        _until_healthy(url, server)
        yield url
    finally:
        server.terminate()
        server.wait(timeout=60)


def _until_healthy(url: str, server: subprocess.Popen[bytes], seconds: float = 300) -> None:
    deadline = time.monotonic() + seconds
    while True:
        assert server.poll() is None, "vLLM's server ended; see server.log"
        assert time.monotonic() < deadline, "vLLM's server does not answer; see server.log"
        try:
            if httpx.get(f"{url}/health").is_success:
                return
        except httpx.TransportError:
            time.sleep(0.5)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
