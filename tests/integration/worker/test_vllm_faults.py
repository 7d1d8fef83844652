"""What a worker makes of adapters that vLLM must not get, and of a vLLM that fails."""

import json
import os
import re
import resource
import shutil
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import psutil
import pytest
from safetensors.numpy import load_file, save_file

from inference.training.base import base_identity
from schemas.records import AdapterVersion, BaseModel, Query, Sampling
from streams.registry.artifact import CONFIG, WEIGHTS
from tests.chaos.fleet import ROOT, Member
from tests.integration.worker.conftest import RunningWorker, eventually, started_workers

pytestmark = pytest.mark.timeout(900)

#: Holds `base` and `adapters/ID`; `make models` trains them.
MODELS = Path(os.environ.get("CHAOS_MODELS", ROOT / ".lorelay" / "models" / "demo"))
SOUND = MODELS / "adapters" / "legal-qa-v1"
LAYER = "base_model.model.model.layers.0"
NORM = f"{LAYER}.input_layernorm"
QUERY = Query(prompt="Was ist ein Vertrag?", sampling=Sampling(max_tokens=12, temperature=0.0))

Tensors = dict[str, "np.ndarray"]


@dataclass(frozen=True)
class Served:
    """The one worker of this module, and what sound answers look like."""

    worker: RunningWorker
    base_model: BaseModel
    sound: AdapterVersion
    base_text: str
    adapter_text: str

    @property
    def member(self) -> Member:
        (member,) = self.worker.fleet.of_role("worker")
        return member

    def engine(self) -> list[psutil.Process]:
        """vLLM's processes, the EngineCore before its workers."""
        assert self.member.process is not None
        below = psutil.Process(self.member.process.pid).children(recursive=True)
        return [process for process in below if is_vllm(process)]


def is_vllm(process: psutil.Process) -> bool:
    """Whether it runs; one that has ended may wait for its parent to notice."""
    try:
        is_over = process.status() == psutil.STATUS_ZOMBIE
        return process.is_running() and not is_over and process.name().startswith("VLLM::")
    except psutil.NoSuchProcess:
        return False


@pytest.fixture(scope="module")
def served(kafka: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    if not (MODELS / "base").is_dir():
        pytest.skip(f"there are no models in {MODELS}: run `make models`")
    base_model = base_identity(str(MODELS / "base"))
    assert base_model is not None
    with started_workers(kafka, tmp_path_factory.mktemp("vllm-faults")) as start:
        worker = start(
            LORELAY_ENGINE="vllm",
            LORELAY_MODEL=str(MODELS / "base"),
            LORELAY_MAX_NUM_SEQS="8",
            LORELAY_STALL_SECONDS="8",
        )
        sound = worker.register("1.0.0", SOUND, base_model)
        base_text, adapter_text = (
            worker.response(worker.request(QUERY, adapter=adapter)).text
            for adapter in (None, sound.key)
        )
        assert base_text and adapter_text and base_text != adapter_text
        yield Served(worker, base_model, sound, base_text, adapter_text)


def copied(folder: Path, change: Callable[[Tensors], None], **config: object) -> None:
    """A sound adapter's folder with other tensors, or other settings."""
    shutil.copytree(SOUND, folder)
    tensors = load_file(SOUND / WEIGHTS)
    change(tensors)
    save_file(tensors, folder / WEIGHTS)
    settings = json.loads((SOUND / CONFIG).read_text()) | config
    (folder / CONFIG).write_text(json.dumps(settings))


def with_rank(rank: int) -> Callable[[Tensors], None]:
    def change(tensors: Tensors) -> None:
        for name, tensor in tensors.items():
            shape = (rank, tensor.shape[1]) if "lora_A" in name else (tensor.shape[0], rank)
            tensors[name] = np.ones(shape, np.float32)

    return change


def not_finite(folder: Path) -> None:
    copied(folder, lambda tensors: next(iter(tensors.values())).fill(np.nan))


def of_another_width(folder: Path) -> None:
    name = f"{LAYER}.mlp.down_proj.lora_B.weight"
    copied(folder, lambda tensors: tensors.update({name: np.ones((48, 8), np.float32)}))


def of_a_rank_that_is_not_said(folder: Path) -> None:
    copied(folder, with_rank(4))


def of_too_high_a_rank(folder: Path) -> None:
    copied(folder, with_rank(64), r=64)


def of_modules_that_the_base_lacks(folder: Path) -> None:
    def change(tensors: Tensors) -> None:
        for name in [name for name in tensors if ".layers.3." in name]:
            tensors[name.replace(".layers.3.", ".layers.30.")] = tensors.pop(name)

    copied(folder, change)


def truncated(folder: Path) -> None:
    shutil.copytree(SOUND, folder)
    os.truncate(folder / WEIGHTS, (folder / WEIGHTS).stat().st_size // 2)


def that_only_vllm_refuses(folder: Path) -> None:
    half = {"A": np.zeros((8, 192), np.float32), "B": np.zeros((192, 8), np.float32)}
    copied(
        folder,
        lambda tensors: tensors.update({f"{NORM}.lora_{n}.weight": half[n] for n in half}),
    )


BROKEN = [
    (not_finite, "holds numbers that are not finite", "adapter_corrupt"),
    (of_another_width, "is 48 wide, but the base model's", "adapter_corrupt"),
    (of_a_rank_that_is_not_said, "has rank 4, but adapter_config.json says 8", "adapter_corrupt"),
    (of_modules_that_the_base_lacks, "The base model has no model.layers.30", "adapter_corrupt"),
    (truncated, "is no sound safetensors file", "adapter_corrupt"),
    (of_too_high_a_rank, "its rank 64 is above max_lora_rank 16", "adapter_unavailable"),
    (that_only_vllm_refuses, "expected target modules in", "adapter_unavailable"),
]


def test_broken_adapters_are_refused_with_the_reason_and_fall_back_as_the_query_says(
    served: Served, tmp_path: Path
) -> None:
    worker, engine = served.worker, served.engine()
    asked = []
    for number, (broken, reason, code) in enumerate(BROKEN, start=1):
        folder = tmp_path / broken.__name__
        broken(folder)
        version = worker.register(f"1.{number}.0", folder, served.base_model)
        origins = {
            fallback: worker.request(replace(QUERY, fallback=fallback), adapter=version.key)
            for fallback in ("previous", "base", "none")
        }
        asked.append((version, reason, code, origins))

    for version, reason, code, origins in asked:
        previous = worker.response(origins["previous"])
        assert (previous.status, previous.adapter) == ("ok", served.sound.key)
        assert previous.text == served.adapter_text
        base = worker.response(origins["base"])
        assert (base.status, base.adapter, base.text) == ("ok", None, served.base_text)
        refused = worker.response(origins["none"])
        assert refused.error is not None
        assert (refused.error.category, refused.error.code) == ("adapter_unavailable", code)
        assert re.search(re.escape(reason), refused.error.message), version.key
        # What may pass is tried again, though not before anybody has looked again.
        assert refused.attempt == (1 if code == "adapter_corrupt" else 3)

    state = worker.state(lambda state: len(state.failed_adapters) == len(BROKEN))
    for version, reason, _, _ in asked:
        assert reason in state.failed_adapters[version.key]
    assert state.resident_adapters == (served.sound.key,)
    assert served.engine() == engine, "vLLM was not the same any more"
    # It has been asked for one of them only, the one that nobody else refuses.
    log = worker.fleet.log(served.member.name).read_text(errors="replace")
    assert {broken.__name__ for broken, _, _ in BROKEN if f"/{broken.__name__}," in log} == {
        that_only_vllm_refuses.__name__
    }


def hangs(engine: list[psutil.Process]) -> None:
    """It is stopped already."""


def gets_no_memory(engine: list[psutil.Process]) -> None:
    for process in engine:
        resource.prlimit(process.pid, resource.RLIMIT_AS, (1 << 20, resource.RLIM_INFINITY))
    engine[0].send_signal(signal.SIGCONT)


@pytest.mark.parametrize("fails", [hangs, gets_no_memory])
def test_a_vllm_that_fails_is_started_again_and_what_ran_in_it_is_answered(
    served: Served, fails: Callable[[list[psutil.Process]], None]
) -> None:
    worker, engine = served.worker, served.engine()
    letters, responses = len(worker.dead_letters()), len(worker.responses())
    # A version that is not loaded yet: vLLM is in the midst of that, too.
    loading = worker.register(f"2.0.{engine[0].pid}", SOUND, served.base_model)
    # Stopped, it has all of the requests when it fails.
    engine[0].suspend()
    long = replace(QUERY, prompt="Was gilt hier? " * 100)
    origins = [worker.request(query) for query in (QUERY, QUERY, long)]
    in_adapter = worker.request(QUERY, adapter=loading.key)
    worker.state(lambda state: state.in_flight == len(origins) + 1)

    fails(engine)

    worker.state(lambda state: state.status == "restarting")
    eventually(lambda: not worker.fleet.is_ready(served.member) or None, "an end of its readiness")
    answers = [worker.response(origin) for origin in (*origins, in_adapter)]
    assert [a.status for a in answers] == ["ok"] * 4
    # What waits for its adapter need not have been in the engine: it may keep its attempt.
    assert [a.attempt for a in answers[:3]] == [2] * 3
    assert [a.text for a in answers[:2]] == [served.base_text] * 2
    assert (answers[3].adapter, answers[3].text) == (loading.key, served.adapter_text)
    worker.state(lambda state: state.status == "ready")
    eventually(lambda: worker.fleet.is_ready(served.member) or None, "a ready worker")
    eventually(lambda: not any(map(is_vllm, engine)) or None, "the end of the old vLLM")
    assert (len(worker.dead_letters()), len(worker.responses())) == (letters, responses + 4)
    assert worker.fleet.crashed() == []
