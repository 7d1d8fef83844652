"""The adapters that queries find: the demo's, or stand-ins with its metadata and examples."""

import json
import shutil
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from benchmarks.queries import ADAPTERS, DATA
from schemas.codec import Codec
from streams.kafka.settings import KafkaSettings
from streams.registry.candidate import read_candidate
from streams.registry.writer import RegistryWriter

#: Hidden width of the stand-ins; no engine that looks at it ever gets one.
_WIDTH = 16


def stand_ins(folder: Path) -> list[Path]:
    """Sound adapter folders for an engine that reads no weights, one for each of the demo's."""
    return [_stand_in(folder / adapter_id, adapter_id) for adapter_id in ADAPTERS]


def base_model(adapter: Path) -> tuple[str, str]:
    """Name and version of the base model that an adapter's metadata names."""
    named = json.loads((adapter / "metadata.json").read_text("utf-8"))["base_model"]
    return named["name"], named["version"]


async def register(settings: KafkaSettings, folders: list[Path]) -> None:
    """Registers them as `lorelay adapters register` does. Raises: RegistrationRefused."""
    now = datetime.now(UTC)
    async with RegistryWriter(settings, Codec(), "benchmark") as writer:
        for folder in folders:
            await writer.register(read_candidate(folder, now), now)


def _stand_in(folder: Path, adapter_id: str) -> Path:
    folder.mkdir(parents=True)
    metadata = json.loads((DATA / "metadata" / f"{adapter_id}.json").read_text("utf-8"))
    rank = metadata["training"]["lora_rank"]
    (folder / "metadata.json").write_text(json.dumps(metadata), "utf-8")
    config = {
        "peft_type": "LORA",
        "r": rank,
        "lora_alpha": rank,
        "target_modules": ["q_proj"],
        "base_model_name_or_path": metadata["base_model"]["name"],
    }
    (folder / "adapter_config.json").write_text(json.dumps(config), "utf-8")
    layer = "base_model.model.model.layers.0.self_attn.q_proj"
    weights = {
        f"{layer}.lora_A.weight": np.zeros((rank, _WIDTH), np.float32),
        f"{layer}.lora_B.weight": np.zeros((_WIDTH, rank), np.float32),
    }
    save_file(weights, folder / "adapter_model.safetensors")
    shutil.copy(DATA / f"{adapter_id.removesuffix('-v1')}.jsonl", folder / "examples.jsonl")
    return folder
