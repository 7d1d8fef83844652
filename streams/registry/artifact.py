"""An adapter's folder as PEFT writes it: what is in it, and whether it is sound.

An engine does not notice most of what is checked here. vLLM 0.32 loads weights of a wrong width,
of layers that the base model lacks, or that are not finite, and answers nonsense as if all were
well. Nothing here loads a tensor into an engine or a framework; sizes are checked before bytes
are read, and every check is of the same open file.
"""

import hashlib
import json
import math
import os
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from streams.registry.files import (
    FileState,
    MissingArtifact,
    OpenedFile,
    Roots,
    UnsoundArtifact,
    opened,
    real_folder,
)

WEIGHTS = "adapter_model.safetensors"
CONFIG = "adapter_config.json"

MAX_BYTES = 4 << 30
"""The largest weight file that is looked at: rank 256 on all projections of a 70 B model."""

MAX_CONFIG_BYTES = 1 << 20
#: The library's own limit is six times as high; an adapter of 60,000 tensors stays below this.
_MAX_HEADER_BYTES = 16 << 20
_HEADER_LENGTH_BYTES = 8
_MAX_DIMENSIONS = 8
_CHUNK_BYTES = 8 << 20

#: numpy's type to test finiteness with. bfloat16 is unknown to numpy: its exponent is looked at.
_DTYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2"}
_BF16_EXPONENT = 0x7F80

#: How PEFT's names of low-rank weights end, and whether they are the A (down) half.
_HALVES = {
    ".lora_A.weight": True,
    ".lora_B.weight": False,
    ".lora_embedding_A": True,
    ".lora_embedding_B": False,
}

#: Settings of PEFT's that change what the weights mean and that vLLM does not implement. These and
#: the next are vLLM's own (vllm/lora/peft_helper.py); tests/contract/test_peft_config.py holds them
#: to it.
_UNSUPPORTED = (
    "use_dora",
    "lora_bias",
    "use_qalora",
    "use_bdlora",
    "layer_replication",
    "alora_invocation_tokens",
)

#: What init_lora_weights may name: these leave the base model's weights alone, the others do not.
_PLAIN_INITS = ("gaussian", "eva", "orthogonal", "mica", "lora_ga")

#: How those of the others begin that PEFT converts to plain LoRA (LoraModel in its lora/model.py).
_CONVERTIBLE_INITS = ("pissa", "olora", "corda")


#: A base model's modules and the (out, in) of their weight; None where it is quantised.
BaseModules = Mapping[str, tuple[int, int] | None]


@dataclass(frozen=True, slots=True)
class Tensor:
    """A tensor as the file's header has it; ``dtype`` in safetensors' names, such as BF16.

    ``begin`` and ``end`` are the offsets of its bytes in the file.
    """

    shape: tuple[int, ...]
    dtype: str
    begin: int
    end: int


@dataclass(frozen=True, slots=True)
class PeftConfig:
    """What ``adapter_config.json`` says; several ``ranks`` only with PEFT's rank_pattern."""

    base_model: str | None
    ranks: frozenset[int]
    lora_alpha: float
    target_modules: tuple[str, ...]

    @property
    def rank(self) -> int:
        """The highest, which the engine must have room for."""
        return max(self.ranks)


@dataclass(frozen=True, slots=True)
class AdapterFolder:
    """A folder that passed every check; ``path`` is absolute, without symlinks.

    ``files`` are those that were checked, to be compared once an engine has read them.
    """

    path: Path
    config: PeftConfig
    sha256: str
    size_bytes: int
    files: tuple[FileState, ...] = ()


def check_folder(
    folder: Path,
    *,
    sha256: str | None = None,
    max_rank: int | None = None,
    max_bytes: int = MAX_BYTES,
    base: BaseModules | None = None,
    roots: Roots = (),
) -> AdapterFolder:
    """Read and check an adapter's folder; takes a second or two per GB.

    ``sha256`` is what the weights must have, ``max_rank`` the engine's limit, ``base`` what
    ``base_modules`` found, ``roots`` where its files may lie. Raises UnsoundArtifact, or
    MissingArtifact.
    """
    real = real_folder(folder, roots)
    _check_has_weights(real)
    with (
        opened(real / WEIGHTS, max_bytes, roots) as weights,
        opened(real / CONFIG, MAX_CONFIG_BYTES, roots) as settings,
    ):
        config = _peft_config(settings)
        if max_rank is not None and config.rank > max_rank:
            raise UnsoundArtifact(f"Its rank {config.rank} is above the engine's {max_rank}.")
        tensors = _tensors(weights)
        check_tensors(tensors, config.ranks)
        if base:
            check_against_base(tensors, base)
        found = _digest(weights)
        if sha256 is not None and found != sha256.lower():
            raise UnsoundArtifact(
                f"{weights.path} has sha256 {found}, but {sha256} was registered: put the "
                "registered file back, or register this one under a new version."
            )
        _check_finite(weights, tensors)
        files = (weights.state, settings.state)
    for state in files:
        state.check_unchanged()
    return AdapterFolder(real, config, found, weights.size_bytes, files)


def digest(weights: Path) -> str:
    """The sha256 of a weight file's bytes, as hexadecimal digits. Raises UnsoundArtifact."""
    with opened(weights, MAX_BYTES) as file:
        return _digest(file)


def read_config(folder: Path) -> PeftConfig:
    """Read PEFT's ``adapter_config.json``; UnsoundArtifact for one that vLLM can't serve."""
    with opened(folder / CONFIG, MAX_CONFIG_BYTES) as file:
        return _peft_config(file)


def read_header(weights: Path) -> dict[str, Tensor]:
    """Names, shapes and types of a safetensors file's tensors, without reading them.

    Raises UnsoundArtifact where the file does not keep to the format:
    https://huggingface.co/docs/safetensors/index#format
    """
    with opened(weights, None) as file:
        return _tensors(file)


def check_tensors(tensors: Mapping[str, Tensor], ranks: Collection[int]) -> None:
    """Raise UnsoundArtifact unless ``tensors`` are pairs of low-rank weights of those ranks."""
    if not tensors:
        raise UnsoundArtifact("It holds no weights.")
    halves: dict[str, dict[bool, Tensor]] = {}
    for name, tensor in tensors.items():
        module, is_a = _module_of(name)
        if tensor.dtype not in _DTYPES:
            raise UnsoundArtifact(f"{name} is of type {tensor.dtype}, which can't be served.")
        if len(tensor.shape) != 2:
            raise UnsoundArtifact(f"{name} has shape {tensor.shape}; a matrix was expected.")
        halves.setdefault(module, {})[is_a] = tensor
    for module, pair in halves.items():
        if len(pair) != 2:
            raise UnsoundArtifact(f"{module} has only its lora_{'A' if True in pair else 'B'}.")
        inner = pair[True].shape[0]
        if inner != pair[False].shape[1]:
            raise UnsoundArtifact(
                f"{module}: lora_A has shape {pair[True].shape}, lora_B {pair[False].shape}."
            )
        # The experts of a mixture share one tensor, so theirs is a multiple.
        if inner not in ranks and ".experts" not in module:
            said = " or ".join(map(str, sorted(ranks)))
            raise UnsoundArtifact(f"{module} has rank {inner}, but {CONFIG} says {said}.")


def check_against_base(tensors: Mapping[str, Tensor], base: BaseModules) -> None:
    """Raise UnsoundArtifact where the base model has no such module, or of another width.

    If the base model's files name none of the adapter's modules, they name them by another
    convention, and nothing can be said.
    """
    modules = {name: _module_of(name) for name in tensors}
    if not any(module in base for module, _ in modules.values()):
        return
    for name, (module, is_a) in modules.items():
        if module not in base:
            raise UnsoundArtifact(f"The base model has no {module}.")
        if (shape := base[module]) is None:
            continue
        width_out, width_in = reversed(shape) if "lora_embedding" in name else shape
        expected, found = (
            (width_in, tensors[name].shape[1]) if is_a else (width_out, tensors[name].shape[0])
        )
        if expected != found:
            raise UnsoundArtifact(
                f"{name} is {found} wide, but the base model's {module} is {expected} wide: "
                "it was trained on another base model."
            )


def base_modules(model: str | Path) -> BaseModules:
    """A base model's modules, from the headers of a local folder's safetensors files.

    Empty for a hub name, or a folder without such files.
    """
    modules: dict[str, tuple[int, int] | None] = {}
    for file in sorted(Path(model).glob("*.safetensors")):
        for name, tensor in read_header(file).items():
            module, _, weight = name.rpartition(".")
            plain = weight == "weight" and tensor.dtype in {*_DTYPES, "F8_E4M3", "F8_E5M2"}
            if plain and len(tensor.shape) == 2:
                modules[module] = (tensor.shape[0], tensor.shape[1])
            else:
                modules.setdefault(module, None)
    return modules


def _check_has_weights(folder: Path) -> None:
    if os.path.lexists(folder / WEIGHTS):
        return
    others = sorted(file.name for file in folder.glob("adapter_model.*"))
    if others:
        raise UnsoundArtifact(
            f"{folder} has its weights in {others[0]}; save them as {WEIGHTS}, "
            "which runs no code when it is read."
        )
    raise MissingArtifact(f"There is no {WEIGHTS} in {folder}.")


def _digest(weights: OpenedFile) -> str:
    weights.file.seek(0)
    try:
        return hashlib.file_digest(weights.file, "sha256").hexdigest()
    except OSError as error:
        raise MissingArtifact(f"{weights.path} can't be read: {error.strerror}.") from error


def _peft_config(file: OpenedFile) -> PeftConfig:
    path = file.path
    config = _json_object(file.read_at(0, file.size_bytes), path)
    if config.get("peft_type", "LORA") != "LORA":
        raise UnsoundArtifact(f"{path} is not the configuration of a LoRA adapter.")
    for name in _UNSUPPORTED:
        if config.get(name):
            raise UnsoundArtifact(
                f"{path} sets {name}, which vLLM can't serve; train the adapter without it."
            )
    _check_init(config.get("init_lora_weights"), path)
    if config.get("bias", "none") != "none" or config.get("modules_to_save"):
        raise UnsoundArtifact(
            f"{path} trains more than low-rank weights, which vLLM can't serve; train the adapter "
            "without bias and modules_to_save."
        )
    if "target_modules" not in config:
        raise UnsoundArtifact(f"{path} names no target_modules; save the adapter again with PEFT.")
    base_model = config.get("base_model_name_or_path")
    return PeftConfig(
        base_model=base_model if isinstance(base_model, str) else None,
        ranks=_ranks(config, path),
        lora_alpha=_number(config.get("lora_alpha"), "lora_alpha", path),
        target_modules=_names(config.get("target_modules")),
    )


def _check_init(init: object, path: Path) -> None:
    """Raise UnsoundArtifact for weights that fit a base model which PEFT changed for them."""
    if not isinstance(init, str) or init.lower() in _PLAIN_INITS:
        return
    remedy = (
        "convert it with PEFT's save_pretrained(..., path_initial_model_for_weight_conversion=...),"
        " as docs/adapters.md shows"
        if init.lower().startswith(_CONVERTIBLE_INITS)
        else "train it without, or set this to true if what the workers serve is that base model"
    )
    raise UnsoundArtifact(
        f"{path} has init_lora_weights {init!r}, which vLLM can't serve, because the weights fit "
        f"only a base model that was changed in training: {remedy}."
    )


def _json_object(content: bytes, path: Path) -> dict[str, Any]:
    """Each name stands there once: an engine's reader may take the other one of two.

    Raises UnsoundArtifact for that, and for all else that strict readers of JSON refuse.
    """
    try:
        orjson.loads(content)  # no NaN, no half surrogate pairs, no other encoding than UTF-8
        found = json.loads(content, object_pairs_hook=_without_doubles)
    except (ValueError, RecursionError) as error:
        raise UnsoundArtifact(f"{path} holds no sound JSON: {error}.") from error
    if not isinstance(found, dict):
        raise UnsoundArtifact(f"{path} holds JSON, but no object.")
    return found


def _without_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name stands there twice")
    return found


def _tensors(weights: OpenedFile) -> dict[str, Tensor]:
    size = weights.size_bytes
    if size < _HEADER_LENGTH_BYTES:
        raise _no_safetensors(weights, f"it has {size} bytes")
    length = int.from_bytes(weights.read_at(0, _HEADER_LENGTH_BYTES), "little")
    start = _HEADER_LENGTH_BYTES + length
    if length > _MAX_HEADER_BYTES or start > size:
        raise _no_safetensors(weights, f"its header would have {length:,} bytes")
    header = _json_object(weights.read_at(_HEADER_LENGTH_BYTES, length), weights.path)
    metadata = header.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(type(text) is str for text in metadata.values()):
        raise _no_safetensors(weights, "its metadata are no texts")
    tensors = {name: _tensor(weights, name, entry, start) for name, entry in header.items()}
    places = sorted((tensor.begin, tensor.end) for tensor in tensors.values())
    # Without gaps and overlaps: every byte belongs to one tensor.
    if any(end != begin for (_, end), (begin, _) in pairwise([(0, start), *places, (size, size)])):
        raise _no_safetensors(weights, "its tensors do not fill it")
    return tensors


def _tensor(weights: OpenedFile, name: str, entry: object, start: int) -> Tensor:
    match entry:
        case {"dtype": str(dtype), "shape": list(shape), "data_offsets": [begin, end]} if len(
            shape
        ) <= _MAX_DIMENSIONS and all(
            type(number) is int and 0 <= number < 1 << 63 for number in (*shape, begin, end)
        ):
            tensor = Tensor(tuple(shape), dtype, start + begin, start + end)
        case _:
            raise _no_safetensors(weights, f"its header does not describe {name}")
    width = np.dtype(_DTYPES[dtype]).itemsize if dtype in _DTYPES else None
    if begin > end or (width is not None and math.prod(shape) * width != end - begin):
        raise _no_safetensors(weights, f"the bytes of {name} are not those of its shape")
    return tensor


def _no_safetensors(weights: OpenedFile, reason: str) -> UnsoundArtifact:
    return UnsoundArtifact(
        f"{weights.path} is no sound safetensors file: {reason}; save the adapter again."
    )


def _check_finite(weights: OpenedFile, tensors: Mapping[str, Tensor]) -> None:
    for name, tensor in tensors.items():
        for offset in range(tensor.begin, tensor.end, _CHUNK_BYTES):
            part = weights.read_at(offset, min(_CHUNK_BYTES, tensor.end - offset))
            if not _all_finite(part, tensor.dtype):
                raise UnsoundArtifact(
                    f"{name} holds numbers that are not finite: its training went wrong, "
                    "train it again."
                )


def _module_of(name: str) -> tuple[str, bool]:
    """The base model's module that a tensor belongs to, and whether it is an A half."""
    for ending, is_a in _HALVES.items():
        if name.endswith(ending):
            return name.removesuffix(ending).removeprefix("base_model.model."), is_a
    raise UnsoundArtifact(f"{name} is no low-rank weight as PEFT names them.")


def _ranks(config: Mapping[str, Any], path: Path) -> frozenset[int]:
    pattern = config.get("rank_pattern") or {}
    ranks = [config.get("r"), *(pattern.values() if isinstance(pattern, dict) else [None])]
    if not all(type(rank) is int and rank > 0 for rank in ranks):
        raise UnsoundArtifact(f'{path} has no rank: "r" must be a positive integer.')
    return frozenset(rank for rank in ranks if rank is not None)


def _number(value: Any, name: str, path: Path) -> float:
    try:
        if type(value) in (int, float) and math.isfinite(value):
            return float(value)
    except OverflowError:
        pass  # an int beyond every float
    raise UnsoundArtifact(f"{path}: {name} must be a number.")


def _names(modules: object) -> tuple[str, ...]:
    if isinstance(modules, str):
        return (modules,)
    return tuple(sorted(map(str, modules))) if isinstance(modules, Iterable) else ()


def _all_finite(part: bytes, dtype: str) -> bool:
    numbers = np.frombuffer(part, _DTYPES[dtype])
    if dtype == "BF16":
        return not bool(((numbers & _BF16_EXPONENT) == _BF16_EXPONENT).any())
    return bool(np.isfinite(numbers).all())
