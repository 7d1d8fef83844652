"""Adapter folders and records for the registry's tests, small and sound."""

import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

from schemas.records import AdapterVersion, Artifact, BaseModel, Example, Training, WorkerState

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def metadata(**changes: Any) -> dict[str, Any]:
    """Nested metadata, shaped as ThemisDB's exporter writes it."""
    return {
        "adapter_id": "legal-qa-v1",
        "adapter_version": "1.2.0",
        "base_model": {"name": "demo-base", "version": "1.0"},
        "task": {"type": "question-answering", "domain": "legal", "language": "de"},
        "training": {
            "dataset_name": "legal_2024",
            "num_samples": 150,
            "epochs": 3,
            "learning_rate": 0.0002,
            "lora_rank": 4,
            "lora_alpha": 8.0,
            "lora_dropout": 0.1,
            "target_modules": ["q_proj", "v_proj"],
        },
        "provenance": {
            "created_by": "ml-team",
            "data_source_uri": "themisdb://prod/legal",
            "parent_adapter_id": "",
        },
        "custom": {"compliance": "GDPR"},
        "vllm": {
            "enabled": True,
            "adapter_path": "",
            "vllm_version": ">=0.4.0",
            "max_lora_rank": 16,
            "enable_multi_lora": True,
        },
        "exported_at": "2026-02-28T10:00:00Z",
    } | changes


def version(
    adapter_id: str = "legal-qa-v1", number: str = "1.0.0", **changes: Any
) -> AdapterVersion:
    """A registered, active version."""
    made = AdapterVersion(
        adapter_id=adapter_id,
        adapter_version=number,
        family=adapter_id.rpartition("-v")[0],
        domain=adapter_id.partition("-")[0],
        task_type="question-answering",
        base_model=BaseModel("demo-base", "1.0"),
        training=Training(lora_rank=8),
        artifact=Artifact("file:///models/x", "0" * 64, 1),
        status="active",
    )
    return replace(made, **changes)


def worker(**changes: Any) -> WorkerState:
    """A worker that lives at NOW and serves the base model of ``version``."""
    made = WorkerState(
        worker_id="w-1",
        base_model=BaseModel("demo-base", "1.0"),
        max_loras=4,
        max_lora_rank=16,
        heartbeat_at=NOW,
    )
    return replace(made, **changes)


def write_weights(folder: Path, rank: int = 4, seed: int = 0) -> None:
    """PEFT's two files of an adapter of one module, width 8."""
    folder.mkdir(parents=True, exist_ok=True)
    module = "base_model.model.model.layers.0.self_attn.q_proj"
    numbers = np.random.default_rng(seed).normal(size=(rank, 8)).astype(np.float32)
    tensors = {f"{module}.lora_A.weight": numbers, f"{module}.lora_B.weight": numbers.T.copy()}
    save_file(tensors, folder / "adapter_model.safetensors")
    config = {"peft_type": "LORA", "r": rank, "lora_alpha": 2 * rank, "target_modules": ["q_proj"]}
    (folder / "adapter_config.json").write_text(json.dumps(config))


def write_adapter(
    folder: Path, *, rank: int = 4, seed: int = 0, examples: int = 4, **changes: Any
) -> Path:
    """A whole folder: weights, metadata.json and examples.jsonl; returns it."""
    write_weights(folder, rank, seed)
    (folder / "metadata.json").write_text(json.dumps(metadata(**changes)))
    if examples:
        lines = [
            json.dumps({"text": f"Frage {n}?", "language": "de", "held_out": n % 4 == 0})
            for n in range(examples)
        ]
        (folder / "examples.jsonl").write_text("\n".join(lines) + "\n")
    return folder


def some_examples(count: int) -> tuple[Example, ...]:
    """Examples that are all different."""
    return tuple(Example(f"Frage {number}?", "de") for number in range(count))
