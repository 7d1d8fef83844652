"""Requests a second through Kafka, over vLLM alone and over vLLM's own HTTP server."""

import os
from collections.abc import Sequence
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import httpx

from benchmarks.client import Client, Reply
from benchmarks.cpu import warm_up
from benchmarks.figures import Aim
from benchmarks.piece import PieceFailed, run_piece, server
from benchmarks.plan import Plan
from benchmarks.queries import ADAPTERS, trained
from benchmarks.stack import ROUTER, WORKER, Stack, base_variables, running_stack
from cli.environments import WORKER_PYTHON
from cli.stack.http import local_client
from cli.stack.ports import free_port
from schemas.errors import ConfigurationError

NAME = "vllm"

CONCURRENCY = (8, 32, 64)
_MAX_TOKENS = 24
_MAX_LEN = 256
_WARM_SECONDS = 4.0
_START_SECONDS = 240.0
_LEVEL = {8: None, 32: Aim(1), 64: Aim(1)}


def run(plan: Plan) -> None:
    """AsyncLLM, the HTTP server and the stack, each started anew and alone, in each round."""
    adapters = {name: plan.models / "adapters" / name for name in ADAPTERS}
    base = plan.models / "base"
    for folder in (base, *adapters.values()):
        if not folder.is_dir():
            raise ConfigurationError(f"There is no {folder}: run `make models` once.")
    loop = {
        "questions": [(question.text, question.adapter) for question in trained()],
        "max_tokens": _MAX_TOKENS,
        "concurrency": list(CONCURRENCY),
        "warm": _WARM_SECONDS,
        "seconds": plan.size(12, 4),
    }
    folders = {name: str(folder) for name, folder in adapters.items()}
    with running_stack(plan.settings) as stack:
        stack.register(list(adapters.values()))
        _warm_up_the_broker(plan, stack, adapters[ADAPTERS[0]])
        for _ in plan.each_round(NAME):
            plan.say("AsyncLLM alone")
            alone = run_piece(
                "async_llm",
                loop | {"settings": _settings(base), "adapters": folders},
                python=WORKER_PYTHON,
                variables=_environment(),
            )
            plan.say("vLLM's HTTP server with the openai client")
            over_http = _http(stack.folder, base, folders, loop)
            plan.say("router and worker through Kafka")
            through_kafka = _kafka(plan, stack, base, list(adapters.values()))
            _add(plan, alone, over_http, through_kafka)


def _warm_up_the_broker(plan: Plan, stack: Stack, adapter: Path) -> None:
    """Lets its JVM compile what is hot, without vLLM, before anything is measured."""
    plan.say("the broker warms up")
    echo = {"LORELAY_ENGINE": "echo"} | base_variables(adapter)
    stack.start(ROUTER, WORKER, variables=echo)
    warm_up(stack, plan.size(4_000, 500))
    stack.stop()


def _add(plan: Plan, alone: Any, over_http: Any, through_kafka: Any) -> None:
    for number in CONCURRENCY:
        rates = [found[str(number)]["rate"] for found in (alone, over_http, through_kafka)]
        tokens = [found[str(number)]["tokens"] for found in (alone, over_http, through_kafka)]
        when = f"{number} concurrent"
        plan.add(NAME, f"{when}: AsyncLLM alone", rates[0], "requests/s")
        plan.add(NAME, f"{when}: vLLM's HTTP server", rates[1], "requests/s")
        plan.add(NAME, f"{when}: through Kafka", rates[2], "requests/s")
        plan.add(NAME, f"{when}: Kafka / HTTP server", rates[2] / rates[1], "", _LEVEL[number])
        plan.add(NAME, f"{when}: Kafka / AsyncLLM", rates[2] / rates[0], "")
        # The same work: the answers are as long in all three.
        plan.add(NAME, f"{when}: tokens, Kafka / AsyncLLM", tokens[2] / tokens[0], "")
    plan.add(NAME, "queries that selection gave to their adapter", through_kafka["share"], "")


def _settings(base: Path) -> dict[str, Any]:
    return {
        "model": str(base),
        "max_model_len": _MAX_LEN,
        "max_num_seqs": max(CONCURRENCY),
        "max_loras": 4,
        "max_cpu_loras": 32,
        "max_lora_rank": 16,
    }


def _environment() -> dict[str, str]:
    return {
        "HF_HUB_OFFLINE": "1",
        "VLLM_NO_USAGE_STATS": "1",
        "VLLM_WORKER_MULTIPROC_METHOD": "spawn",
        "VLLM_CPU_KVCACHE_SPACE": os.environ.get("VLLM_CPU_KVCACHE_SPACE", "1"),
    }


def _http(folder: Path, base: Path, adapters: dict[str, str], loop: dict[str, Any]) -> Any:
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    flags = [f"--{name.replace('_', '-')}={value}" for name, value in _settings(base).items()]
    modules = [f"{name}={path}" for name, path in adapters.items()]
    command = [
        str(WORKER_PYTHON), "-P", "-m", "vllm.entrypoints.openai.api_server",
        "--host=127.0.0.1", f"--port={port}", *flags, "--enable-lora",
        # On a CPU vLLM's defaults don't run.
        *([] if _has_gpu() else ["--enforce-eager", "--dtype=float32"]),
        "--disable-uvicorn-access-log", "--lora-modules", *modules,
    ]  # fmt: skip
    log = folder / "http.log"
    with log.open("ab") as output, server(command, _environment(), output) as process:
        deadline = monotonic() + _START_SECONDS
        while not _answers(url):
            if process.poll() is not None or monotonic() > deadline:
                last = log.read_text(errors="replace").splitlines()[-15:]
                raise PieceFailed("\n".join(["vLLM's HTTP server did not start:", *last]))
            sleep(0.5)
        arguments = loop | {"url": url, "base": str(base)}
        return run_piece("openai_load", arguments, python=WORKER_PYTHON)


def _kafka(plan: Plan, stack: Stack, base: Path, adapters: list[Path]) -> dict[str, Any]:
    engine = {"LORELAY_ENGINE": "vllm", "LORELAY_MODEL": str(base)} | base_variables(adapters[0])
    limits = {
        "LORELAY_MAX_MODEL_LEN": str(_MAX_LEN),
        "LORELAY_MAX_NUM_SEQS": str(max(CONCURRENCY)),
    }
    stack.start(ROUTER, WORKER, variables=_environment() | engine | limits)
    found: dict[str, Any] = {}
    replies: list[Reply] = []
    topic = stack.settings.topics.responses
    with Client(stack.settings, topic, max_tokens=_MAX_TOKENS) as client:
        for number in CONCURRENCY:
            counted, some = client.closed_loop(trained(), number, _WARM_SECONDS, plan.size(12, 4))
            tokens = sum(reply.response.usage.completion_tokens for reply in some)
            found[str(number)] = {"rate": counted.rate, "tokens": tokens / max(len(some), 1)}
            replies += some
    stack.stop()
    return found | {"share": _share_to_own_adapter(replies)}


def _share_to_own_adapter(replies: Sequence[Reply]) -> float:
    return sum(_adapter(reply) == reply.question.adapter for reply in replies) / len(replies)


def _adapter(reply: Reply) -> str | None:
    adapter = reply.response.adapter
    return adapter and adapter.partition("@")[0]


def _answers(url: str) -> bool:
    try:
        return local_client().get(f"{url}/health").is_success
    except httpx.HTTPError:
        return False


def _has_gpu() -> bool:
    return Path("/dev/nvidia0").exists()
