"""Registration refuses the adapter settings that vLLM refuses to load, and takes all others."""

import json
from dataclasses import fields
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pytest

from streams.registry.artifact import CONFIG, check_folder, read_config
from streams.registry.files import UnsoundArtifact
from tests.contract.conftest import needs_vllm
from tests.contract.tiny_model import build_base

pytestmark = [needs_vllm, pytest.mark.filterwarnings("ignore")]

SOUND = {"peft_type": "LORA", "r": 4, "lora_alpha": 8, "target_modules": ["q_proj"]}
ABSENT = object()

#: Every setting that vLLM reads of an adapter, and values to try. Of modules_to_save "classifier"
#: and "score" are left out: vLLM takes them for classifying, registration does not.
SETTINGS: dict[str, tuple[object, ...]] = {
    "r": (ABSENT, 1, 0, -1),
    "lora_alpha": (ABSENT, 8.5),
    "target_modules": (ABSENT, None, "q_proj"),
    "bias": (ABSENT, None, "none", "all", "lora_only"),
    "modules_to_save": (None, [], ["lm_head"]),
    "use_rslora": (True,),
    "use_dora": (False, True),
    "lora_bias": (False, True),
    "init_lora_weights": (
        *(None, True, False, "Gaussian", "lora_ga", "LoRA_GA", "pissa_niter_16", "PiSSA", ""),
        "of next year",
    ),
    "alora_invocation_tokens": (None, [], [1, 2]),
    "layer_replication": (None, [], [[0, 2]]),
    "use_bdlora": (None, {}, {"nblocks": 2}),
    "use_qalora": (False, True),
    "rank_pattern": (None, {}, {"q_proj": 2}, {"q_proj": 0}, {"q_proj": "2"}),
    "alpha_pattern": (None, {}, {"q_proj": 4}),
}


def config(name: str, value: object) -> dict[str, object]:
    """A sound configuration with one setting changed."""
    return {key: kept for key, kept in (SOUND | {name: value}).items() if kept is not ABSENT}


def vllm_takes(folder: Path) -> bool:
    """What vLLM does before it reads the weights (vllm/lora/worker_manager.py)."""
    from vllm.config.lora import LoRAConfig
    from vllm.lora.peft_helper import PEFTHelper

    try:
        PEFTHelper.from_local_dir(str(folder), None).validate_legal(LoRAConfig(max_lora_rank=16))
    except ValueError:
        return False
    return True


def registration_takes(folder: Path) -> bool:
    try:
        read_config(folder)
    except UnsoundArtifact:
        return False
    return True


def test_every_setting_that_vllm_reads_is_tried() -> None:
    from vllm.lora.peft_helper import PEFTHelper

    read = {field.name for field in fields(PEFTHelper)}
    assert {name for name in read if not name.startswith("vllm_")} == SETTINGS.keys()


@pytest.mark.parametrize(
    ("name", "value"), [(name, value) for name, values in SETTINGS.items() for value in values]
)
def test_registration_takes_what_vllm_takes(tmp_path: Path, name: str, value: object) -> None:
    (tmp_path / CONFIG).write_text(json.dumps(config(name, value)))
    assert registration_takes(tmp_path) == vllm_takes(tmp_path)


def test_registration_takes_the_starts_of_pefts_that_vllm_takes(tmp_path: Path) -> None:
    from peft import LoraConfig

    options = [
        value
        for option in get_args(get_type_hints(LoraConfig)["init_lora_weights"])
        for value in get_args(option)
    ]
    assert {"gaussian", "pissa", "loftq"} <= set(options)
    for value in options:
        (tmp_path / CONFIG).write_text(json.dumps(config("init_lora_weights", value)))
        assert registration_takes(tmp_path) == vllm_takes(tmp_path), value


@pytest.mark.parametrize("init", ["pissa", "olora"])
def test_what_peft_has_converted_is_taken_and_answers_as_before(tmp_path: Path, init: Any) -> None:
    import torch
    from peft import LoraConfig, PeftModel, get_peft_model
    from transformers import AutoModelForCausalLM

    base = build_base(tmp_path / "base")
    ids = torch.arange(3, 20)[None]
    start = LoraConfig(r=4, target_modules=["q_proj"], init_lora_weights=init)
    trained = get_peft_model(AutoModelForCausalLM.from_pretrained(base), start).eval()
    trained.save_pretrained(tmp_path / "initial")
    for name, weights in trained.named_parameters():
        if "lora_" in name:
            weights.data += 0.05 * torch.randn(weights.shape)
    trained.save_pretrained(tmp_path / "trained")
    with pytest.raises(UnsoundArtifact, match="path_initial_model_for_weight_conversion"):
        check_folder(tmp_path / "trained")

    converted = tmp_path / "converted"
    trained.save_pretrained(
        converted, path_initial_model_for_weight_conversion=str(tmp_path / "initial")
    )
    assert check_folder(converted).config.rank == 8
    assert vllm_takes(converted)
    plain = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base), converted).eval()
    torch.testing.assert_close(plain(ids).logits, trained(ids).logits, rtol=1e-3, atol=1e-3)
