"""What makes an adapter's folder sound."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from streams.registry.artifact import (
    CONFIG,
    WEIGHTS,
    base_modules,
    check_folder,
    digest,
    read_config,
    read_header,
)
from streams.registry.files import MissingArtifact, UnsoundArtifact

Q_PROJ = "base_model.model.model.layers.0.self_attn.q_proj"
DOWN_PROJ = "base_model.model.model.layers.0.mlp.down_proj"
BASE = {
    "model.layers.0.self_attn.q_proj": (16, 12),
    "model.layers.0.mlp.down_proj": (12, 20),
    "model.embed_tokens": (30, 12),
}

Tensors = dict[str, np.ndarray[Any, Any]]


def tensors(rank: int = 4, dtype: str = "float32") -> Tensors:
    shapes = {
        f"{Q_PROJ}.lora_A.weight": (rank, 12),
        f"{Q_PROJ}.lora_B.weight": (16, rank),
        f"{DOWN_PROJ}.lora_A.weight": (rank, 20),
        f"{DOWN_PROJ}.lora_B.weight": (12, rank),
    }
    return {name: np.ones(shape, dtype) for name, shape in shapes.items()}


def write(folder: Path, weights: Tensors | None = None, **config: object) -> Path:
    folder.mkdir(exist_ok=True)
    save_file(tensors() if weights is None else weights, folder / WEIGHTS)
    settings = {"peft_type": "LORA", "r": 4, "lora_alpha": 8, "target_modules": ["q_proj"]}
    (folder / CONFIG).write_text(json.dumps(settings | config))
    return folder


def test_a_sound_folder_passes_and_is_described(tmp_path: Path) -> None:
    folder = write(tmp_path, base_model_name_or_path="tiny")
    found = check_folder(folder, max_rank=4, base=BASE)
    content = (folder / WEIGHTS).read_bytes()
    assert found.sha256 == hashlib.sha256(content).hexdigest() == digest(folder / WEIGHTS)
    assert found.size_bytes == len(content)
    assert (found.config.rank, found.config.lora_alpha) == (4, 8.0)
    assert (found.config.base_model, found.config.target_modules) == ("tiny", ("q_proj",))


def test_the_registered_digest_must_be_that_of_the_file(tmp_path: Path) -> None:
    folder = write(tmp_path)
    check_folder(folder, sha256=digest(folder / WEIGHTS).upper())
    with pytest.raises(UnsoundArtifact, match="sha256"):
        check_folder(folder, sha256="0" * 64)


def test_a_missing_folder_or_file_is_told_apart_from_an_unsound_one(tmp_path: Path) -> None:
    with pytest.raises(MissingArtifact, match="no folder"):
        check_folder(tmp_path / "nowhere")
    with pytest.raises(MissingArtifact, match=WEIGHTS):
        check_folder(tmp_path)
    write(tmp_path)
    (tmp_path / CONFIG).unlink()
    with pytest.raises(MissingArtifact, match=CONFIG):
        check_folder(tmp_path)


def test_weights_that_run_code_are_refused(tmp_path: Path) -> None:
    (tmp_path / "adapter_model.bin").write_bytes(b"\x80\x04.")
    with pytest.raises(UnsoundArtifact, match=r"adapter_model\.bin"):
        check_folder(tmp_path)


def test_the_size_is_bounded_before_anything_is_read(tmp_path: Path) -> None:
    folder = write(tmp_path)
    (folder / WEIGHTS).write_bytes(b"x" * 2000)
    with pytest.raises(UnsoundArtifact, match="1,000 are allowed"):
        check_folder(folder, max_bytes=1000)


@pytest.mark.parametrize(
    "content",
    [b"", b"garbage", b"\xff" * 8, (1 << 40).to_bytes(8, "little") + b"{}"],
    ids=["empty", "garbage", "header beyond the end", "header of a terabyte"],
)
def test_a_file_that_is_no_safetensors_file_is_refused(tmp_path: Path, content: bytes) -> None:
    folder = write(tmp_path)
    (folder / WEIGHTS).write_bytes(content)
    with pytest.raises(UnsoundArtifact, match="no sound safetensors"):
        check_folder(folder)


def test_a_truncated_file_is_refused(tmp_path: Path) -> None:
    folder = write(tmp_path)
    content = (folder / WEIGHTS).read_bytes()
    (folder / WEIGHTS).write_bytes(content[:-4])
    with pytest.raises(UnsoundArtifact):
        check_folder(folder)


@pytest.mark.parametrize(
    ("config", "problem"),
    [
        ({"peft_type": "IA3"}, "LoRA"),
        ({"r": 0}, '"r"'),
        ({"r": "8"}, '"r"'),
        ({"lora_alpha": None}, "lora_alpha"),
        ({"use_dora": True}, "use_dora"),
        ({"alora_invocation_tokens": [1, 2]}, "sets alora_invocation_tokens.*without it"),
        ({"init_lora_weights": "pissa"}, "path_initial_model_for_weight_conversion"),
        ({"init_lora_weights": "pissa_niter_16"}, "path_initial_model_for_weight_conversion"),
        ({"init_lora_weights": "OLoRA"}, "path_initial_model_for_weight_conversion"),
        ({"init_lora_weights": "corda"}, "path_initial_model_for_weight_conversion"),
        ({"init_lora_weights": "loftq"}, "set this to true if"),
        ({"init_lora_weights": "of next year"}, "set this to true if"),
        ({"bias": "all"}, "more than low-rank"),
        ({"modules_to_save": ["lm_head"]}, "more than low-rank"),
        ({"rank_pattern": {"q_proj": -1}}, '"r"'),
    ],
    ids=str,
)
def test_a_configuration_that_cannot_be_served_is_refused(
    tmp_path: Path, config: dict[str, object], problem: str
) -> None:
    with pytest.raises(UnsoundArtifact, match=problem):
        check_folder(write(tmp_path, **config))


@pytest.mark.parametrize(
    "init", [True, False, None, "gaussian", "Gaussian", "eva", "orthogonal", "mica", "lora_ga"]
)
def test_a_start_that_leaves_the_base_model_alone_is_none_of_our_business(
    tmp_path: Path, init: object
) -> None:
    check_folder(write(tmp_path, init_lora_weights=init, alora_invocation_tokens=None))


def test_a_configuration_without_target_modules_is_refused(tmp_path: Path) -> None:
    config = {"peft_type": "LORA", "r": 4, "lora_alpha": 8}
    (tmp_path / CONFIG).write_text(json.dumps(config))
    with pytest.raises(UnsoundArtifact, match="target_modules"):
        read_config(tmp_path)
    (tmp_path / CONFIG).write_text(json.dumps(config | {"target_modules": None}))
    assert read_config(tmp_path).target_modules == ()


@pytest.mark.parametrize("content", [b"{", b"[]", b"\xff", b'{"peft_type": "LORA"}'])
def test_a_broken_configuration_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / CONFIG).write_bytes(content)
    with pytest.raises(UnsoundArtifact):
        read_config(tmp_path)


def without(ending: str) -> Callable[[Tensors], Tensors]:
    return lambda weights: {name: w for name, w in weights.items() if not name.endswith(ending)}


def reshaped(name: str, *shape: int) -> Callable[[Tensors], Tensors]:
    return lambda weights: weights | {name: np.ones(shape, "float32")}


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda _: {}, "holds no weights"),
        (without("q_proj.lora_B.weight"), "only its lora_A"),
        (without("q_proj.lora_A.weight"), "only its lora_B"),
        (reshaped(f"{Q_PROJ}.lora_A.weight", 2, 12), "lora_A has shape"),
        (reshaped(f"{Q_PROJ}.lora_A.weight", 48), "a matrix was expected"),
        (reshaped(f"{Q_PROJ}.weight", 16, 12), "no low-rank weight"),
        (reshaped(f"{Q_PROJ}.lora_magnitude_vector", 16), "no low-rank weight"),
        (lambda weights: weights | tensors(dtype="int32"), "type I32"),
        (lambda weights: weights | tensors(rank=2), "has rank 2"),
    ],
)
def test_weights_that_are_no_pairs_of_the_right_rank_are_refused(
    tmp_path: Path, change: Callable[[Tensors], Tensors], problem: str
) -> None:
    with pytest.raises(UnsoundArtifact, match=problem):
        check_folder(write(tmp_path, change(tensors())))


def test_ranks_may_differ_by_module_where_the_configuration_says_so(tmp_path: Path) -> None:
    weights = tensors(rank=4)
    wide = {name: w for name, w in tensors(rank=8).items() if "down_proj" in name}
    folder = write(tmp_path, weights | wide, rank_pattern={"down_proj": 8})
    assert check_folder(folder).config.rank == 8
    with pytest.raises(UnsoundArtifact, match="rank 8 is above"):
        check_folder(folder, max_rank=4)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (reshaped(f"{Q_PROJ}.lora_A.weight", 4, 11), "11 wide.*12 wide"),
        (reshaped(f"{Q_PROJ}.lora_B.weight", 17, 4), "17 wide.*16 wide"),
        (
            lambda weights: {
                n.replace("layers.0.mlp", "layers.9.mlp"): w for n, w in weights.items()
            },
            r"no model\.layers\.9\.mlp\.down_proj",
        ),
    ],
)
def test_an_adapter_of_another_base_model_is_refused(
    tmp_path: Path, change: Callable[[Tensors], Tensors], problem: str
) -> None:
    with pytest.raises(UnsoundArtifact, match=problem):
        check_folder(write(tmp_path, change(tensors())), base=BASE)


def test_an_embedding_is_checked_the_other_way_round(tmp_path: Path) -> None:
    name = "base_model.model.model.embed_tokens.lora_embedding_"
    good = {f"{name}A": np.ones((4, 30), "float32"), f"{name}B": np.ones((12, 4), "float32")}
    check_folder(write(tmp_path, tensors() | good), base=BASE)
    bad = {f"{name}A": np.ones((4, 12), "float32"), f"{name}B": np.ones((30, 4), "float32")}
    with pytest.raises(UnsoundArtifact, match="embed_tokens is 30 wide"):
        check_folder(write(tmp_path, tensors() | bad), base=BASE)


def test_a_base_model_that_names_its_modules_otherwise_refuses_nothing(tmp_path: Path) -> None:
    check_folder(write(tmp_path), base={"transformer.h.0.attn.c_attn": (36, 12)})


def test_a_quantised_base_module_is_known_but_has_no_width(tmp_path: Path) -> None:
    quantised = {module: None for module in BASE}
    check_folder(write(tmp_path), base=quantised)


@pytest.mark.parametrize("number", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", ["float64", "float32", "float16"])
def test_numbers_that_are_not_finite_are_refused(tmp_path: Path, number: float, dtype: str) -> None:
    weights = tensors(dtype=dtype)
    weights[f"{DOWN_PROJ}.lora_B.weight"][-1, -1] = number
    with pytest.raises(UnsoundArtifact, match="not finite"):
        check_folder(write(tmp_path, weights))


@pytest.mark.parametrize(("bits", "sound"), [(0x3F80, True), (0x7F80, False), (0xFFC0, False)])
def test_bfloat16_is_looked_at_bit_by_bit(tmp_path: Path, bits: int, sound: bool) -> None:
    folder = write(tmp_path)
    header, data = {}, b""
    for name, weight in tensors().items():
        offsets = [len(data), len(data) + 2 * weight.size]
        header[name] = {"dtype": "BF16", "shape": weight.shape, "data_offsets": offsets}
        data += np.full(weight.shape, bits, "<u2").tobytes()
    encoded = json.dumps(header).encode()
    (folder / WEIGHTS).write_bytes(len(encoded).to_bytes(8, "little") + encoded + data)
    assert {tensor.dtype for tensor in read_header(folder / WEIGHTS).values()} == {"BF16"}
    if sound:
        check_folder(folder)
    else:
        with pytest.raises(UnsoundArtifact, match="not finite"):
            check_folder(folder)


def test_a_base_models_modules_come_from_all_its_files(tmp_path: Path) -> None:
    first = {"model.layers.0.q_proj.weight": np.ones((16, 12), "float16")}
    second = {
        "model.norm.weight": np.ones(12, "float16"),
        "model.layers.1.q_proj.qweight": np.ones((2, 16), "int32"),
    }
    save_file(first, tmp_path / "model-00001-of-00002.safetensors")
    save_file(second, tmp_path / "model-00002-of-00002.safetensors")
    assert base_modules(tmp_path) == {
        "model.layers.0.q_proj": (16, 12),
        "model.norm": None,
        "model.layers.1.q_proj": None,
    }
    assert base_modules("meta-llama/Llama-3.1-8B-Instruct") == {}


def with_header(folder: Path, header: bytes, data: bytes = b"") -> Path:
    write(folder)
    (folder / WEIGHTS).write_bytes(len(header).to_bytes(8, "little") + header + data)
    return folder


def entry(**changes: object) -> dict[str, object]:
    return {"dtype": "F32", "shape": [4, 12], "data_offsets": [0, 192]} | changes


@pytest.mark.parametrize(
    "described",
    [
        entry(shape=[4, 13]),
        entry(shape=[-4, -12]),
        entry(shape=["4", 12]),
        entry(shape=[True, 48]),
        entry(shape=[1] * 1000),
        entry(shape=[2**70, 0]),
        entry(data_offsets=[192, 0]),
        entry(data_offsets=[0, 1 << 40]),
        entry(data_offsets=[4, 196]),
        entry(data_offsets=[0]),
        entry(dtype=5),
        {"dtype": "F32"},
        [],
        None,
    ],
    ids=str,
)
def test_a_header_that_does_not_describe_its_bytes_is_refused(
    tmp_path: Path, described: object
) -> None:
    header = json.dumps({f"{Q_PROJ}.lora_A.weight": described}).encode()
    with pytest.raises(UnsoundArtifact, match="no sound safetensors"):
        check_folder(with_header(tmp_path, header, bytes(192)))


@pytest.mark.parametrize(
    "header",
    [
        b'{"a":' * 200_000,
        b"[" * 200_000,
        b"[]",
        b'{"a": NaN}',
        b'{"\\ud800": 1}',
        b'{"a": ' + b"9" * 5000 + b"}",
        '{"a": 1}'.encode("utf-16"),
        b'{"a": 1, "a": 1}',
        b'{"__metadata__": {"a": 1}}',
        b'{"__metadata__": []}',
    ],
    ids=[
        "deeply nested objects",
        "deeply nested lists",
        "a list",
        "NaN",
        "half a surrogate pair",
        "a huge number",
        "UTF-16",
        "a name twice",
        "metadata of numbers",
        "metadata of nothing",
    ],
)
def test_a_header_or_configuration_that_readers_differ_on_is_refused(
    tmp_path: Path, header: bytes
) -> None:
    with pytest.raises(UnsoundArtifact):
        read_header(with_header(tmp_path, header) / WEIGHTS)
    (tmp_path / CONFIG).write_bytes(header)
    with pytest.raises(UnsoundArtifact):
        read_config(tmp_path)


def test_a_header_longer_than_allowed_is_not_read(tmp_path: Path) -> None:
    folder = write(tmp_path)
    with (folder / WEIGHTS).open("wb") as file:
        file.write((1 << 30).to_bytes(8, "little"))
        file.truncate(2 << 30)  # sparse: a gigabyte of header would be read, were it believed
    with pytest.raises(UnsoundArtifact, match="header would have 1,073,741,824 bytes"):
        check_folder(folder)


def test_overlapping_tensors_are_refused(tmp_path: Path) -> None:
    names = (f"{Q_PROJ}.lora_A.weight", f"{Q_PROJ}.lora_B.weight")
    header = json.dumps({name: entry() for name in names}).encode()
    with pytest.raises(UnsoundArtifact, match="do not fill it"):
        check_folder(with_header(tmp_path, header, bytes(192)))


def test_a_configuration_above_its_size_is_not_read(tmp_path: Path) -> None:
    folder = write(tmp_path)
    (folder / CONFIG).write_bytes(b" " * (2 << 20))
    with pytest.raises(UnsoundArtifact, match="1,048,576 are allowed"):
        check_folder(folder)


@pytest.mark.parametrize("number", ["1e999", "9" * 400, "true", '"8"', "[]"], ids=lambda n: n[:8])
def test_a_scale_that_is_no_number_is_refused(tmp_path: Path, number: str) -> None:
    folder = write(tmp_path)
    (folder / CONFIG).write_text(f'{{"r": 4, "lora_alpha": {number}}}')
    with pytest.raises(UnsoundArtifact):
        read_config(folder)
