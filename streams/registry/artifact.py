"""An adapter's folder as PEFT writes it: what is in it, and whether it is sound.

An engine does not notice most of what is checked here. vLLM 0.32 loads weights of a wrong width,
of layers that the base model lacks, or that are not finite, and answers nonsense as if all were
well. Nothing here loads a tensor into an engine or a framework; sizes are checked before bytes
are read.
"""

import hashlib
import json
import math
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open

from schemas.errors import LorelayError

WEIGHTS = "adapter_model.safetensors"
CONFIG = "adapter_config.json"

MAX_BYTES = 4 << 30
"""The largest weight file that is looked at: rank 256 on all projections of a 70 B model."""

_MAX_CONFIG_BYTES = 1 << 20
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

#: Settings of PEFT's that change what the weights mean and that vLLM does not implement.
_UNSUPPORTED = ("use_dora", "lora_bias", "use_qalora", "use_bdlora", "layer_replication")


#: A base model's modules and the (out, in) of their weight; None where it is quantised.
BaseModules = Mapping[str, tuple[int, int] | None]


class UnsoundArtifact(LorelayError):
    """The folder is no adapter that can be served; the message says what is wrong with it."""

    code = "adapter_corrupt"


class MissingArtifact(UnsoundArtifact):
    """The folder, or a file in it, is not there."""

    code = "adapter_missing"


@dataclass(frozen=True, slots=True)
class Tensor:
    """A tensor as the file's header has it; ``dtype`` in safetensors' names, such as BF16."""

    shape: tuple[int, ...]
    dtype: str


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
    """A folder that passed every check; ``path`` is absolute."""

    path: Path
    config: PeftConfig
    sha256: str
    size_bytes: int


def check_folder(
    folder: Path,
    *,
    sha256: str | None = None,
    max_rank: int | None = None,
    max_bytes: int = MAX_BYTES,
    base: BaseModules | None = None,
) -> AdapterFolder:
    """Read and check an adapter's folder; takes a second or two per GB.

    ``sha256`` is what the weights must have, ``max_rank`` the engine's limit, ``base`` what
    ``base_modules`` found. Raises UnsoundArtifact, or MissingArtifact.
    """
    weights = _weights_file(folder)
    size = weights.stat().st_size
    if size > max_bytes:
        raise UnsoundArtifact(f"{weights} has {size:,} bytes, {max_bytes:,} are allowed.")
    config = read_config(folder)
    if max_rank is not None and config.rank > max_rank:
        raise UnsoundArtifact(f"Its rank {config.rank} is above the engine's {max_rank}.")
    tensors = read_header(weights)
    check_tensors(tensors, config.ranks)
    if base:
        check_against_base(tensors, base)
    found = digest(weights)
    if sha256 is not None and found != sha256.lower():
        raise UnsoundArtifact(f"{weights} has sha256 {found}, but {sha256} was registered.")
    check_finite(weights)
    return AdapterFolder(folder.absolute(), config, found, size)


def digest(weights: Path) -> str:
    """The sha256 of a weight file's bytes, as hexadecimal digits."""
    try:
        with weights.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise MissingArtifact(f"{weights} can't be read: {error.strerror}.") from error


def read_config(folder: Path) -> PeftConfig:
    """Read PEFT's ``adapter_config.json``; UnsoundArtifact for one that vLLM can't serve."""
    path = folder / CONFIG
    try:
        if path.stat().st_size > _MAX_CONFIG_BYTES:
            raise UnsoundArtifact(f"{path} is too large for a PEFT configuration.")
        config = json.loads(path.read_bytes())
    except OSError as error:
        raise MissingArtifact(f"{path} can't be read: {error.strerror}.") from error
    except ValueError as error:
        raise UnsoundArtifact(f"{path} is no JSON: {error}.") from error
    if not isinstance(config, dict) or config.get("peft_type", "LORA") != "LORA":
        raise UnsoundArtifact(f"{path} is not the configuration of a LoRA adapter.")
    for name in _UNSUPPORTED:
        if config.get(name):
            raise UnsoundArtifact(f"{path} sets {name}, which vLLM can't serve.")
    if config.get("bias", "none") != "none" or config.get("modules_to_save"):
        raise UnsoundArtifact(f"{path} trains more than low-rank weights, which vLLM can't serve.")
    return PeftConfig(
        base_model=config.get("base_model_name_or_path"),
        ranks=_ranks(config, path),
        lora_alpha=_number(config.get("lora_alpha"), "lora_alpha", path),
        target_modules=_names(config.get("target_modules")),
    )


def read_header(weights: Path) -> dict[str, Tensor]:
    """Names, shapes and types of a safetensors file's tensors, without reading them."""
    try:
        # The library checks that sizes, offsets and the file's length agree.
        with safe_open(weights, framework="numpy") as file:
            slices = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118
            return {
                name: Tensor(tuple(part.get_shape()), part.get_dtype())
                for name, part in slices.items()
            }
    except (FileNotFoundError, PermissionError) as error:
        raise MissingArtifact(f"{weights} can't be read: {error}.") from error
    except (SafetensorError, OSError) as error:
        raise UnsoundArtifact(f"{weights} is no sound safetensors file: {error}.") from error


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


def check_finite(weights: Path) -> None:
    """Raise UnsoundArtifact for an infinite or undefined number in a sound file's tensors."""
    with weights.open("rb") as file:
        header_bytes = int.from_bytes(file.read(8), "little")
        header: dict[str, Any] = json.loads(file.read(header_bytes))
        start = 8 + header_bytes
        for name, entry in header.items():
            if name == "__metadata__":
                continue
            begin, end = entry["data_offsets"]
            file.seek(start + begin)
            for offset in range(begin, end, _CHUNK_BYTES):
                part = file.read(min(_CHUNK_BYTES, end - offset))
                if not _all_finite(part, entry["dtype"]):
                    raise UnsoundArtifact(f"{name} holds numbers that are not finite.")


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


def _weights_file(folder: Path) -> Path:
    if not folder.is_dir():
        raise MissingArtifact(f"There is no folder {folder}.")
    weights = folder / WEIGHTS
    if weights.is_file():
        return weights
    others = sorted(file.name for file in folder.glob("adapter_model.*"))
    if others:
        raise UnsoundArtifact(
            f"{folder} has its weights in {others[0]}; save them as {WEIGHTS}, "
            "which runs no code when it is read."
        )
    raise MissingArtifact(f"There is no {WEIGHTS} in {folder}.")


def _module_of(name: str) -> tuple[str, bool]:
    """The base model's module that a tensor belongs to, and whether it is an A half."""
    for ending, is_a in _HALVES.items():
        if name.endswith(ending):
            return name.removesuffix(ending).removeprefix("base_model.model."), is_a
    raise UnsoundArtifact(f"{name} is no low-rank weight as PEFT names them.")


def _ranks(config: Mapping[str, Any], path: Path) -> frozenset[int]:
    pattern = config.get("rank_pattern") or {}
    ranks = [config.get("r"), *(pattern.values() if isinstance(pattern, dict) else [None])]
    if not all(isinstance(rank, int) and rank > 0 for rank in ranks):
        raise UnsoundArtifact(f'{path} has no rank: "r" must be a positive integer.')
    return frozenset(rank for rank in ranks if rank is not None)


def _number(value: object, name: str, path: Path) -> float:
    if not isinstance(value, int | float) or not math.isfinite(value):
        raise UnsoundArtifact(f"{path}: {name} must be a number.")
    return float(value)


def _names(modules: object) -> tuple[str, ...]:
    if isinstance(modules, str):
        return (modules,)
    return tuple(sorted(map(str, modules))) if isinstance(modules, Iterable) else ()


def _all_finite(part: bytes, dtype: str) -> bool:
    numbers = np.frombuffer(part, _DTYPES[dtype])
    if dtype == "BF16":
        return not bool(((numbers & _BF16_EXPONENT) == _BF16_EXPONENT).any())
    return bool(np.isfinite(numbers).all())
