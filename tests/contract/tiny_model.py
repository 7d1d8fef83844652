"""A random Llama of 64 hidden units and random LoRA adapters: the contract needs no trained model.

Its answers mean nothing but are deterministic when decoded greedily, and an adapter's weights are
large enough that every adapter answers differently from the base model and from the others.
"""

import json
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

HIDDEN = 64
INTERMEDIATE = 128
LAYERS = 2
HEADS = 2
KV_HEADS = 1
HEAD_DIM = HIDDEN // HEADS  # 32 is the least that vLLM's CPU attention knows
MAX_POSITIONS = 256

#: For some hundred prompts as long as they may be. To fill a GiB with zeros takes each start half a
#: second of CPU.
KV_CACHE_BYTES = 64 << 20

#: (input, output) width of each projection that an adapter targets.
PROJECTIONS = {
    "self_attn.q_proj": (HIDDEN, HEADS * HEAD_DIM),
    "self_attn.v_proj": (HIDDEN, KV_HEADS * HEAD_DIM),
    "mlp.down_proj": (INTERMEDIATE, HIDDEN),
}

CHAT_TEMPLATE = (
    "{% for message in messages %}<{{ message['role'] }}> {{ message['content'] }}\n{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)

_SENTENCES = [
    "The relay hands every question to the adapter that knows its field.",
    "Der Bote bringt jede Frage zu dem Adapter, der ihr Fach kennt.",
    "A lease ends when its term ends, and the keys go back to the owner.",
    "Fieber über drei Tage gehört in die Hände einer Ärztin oder eines Arztes.",
    "zero one two three four five six seven eight nine ten eleven twelve",
]


def build_base(
    folder: Path, *, chat_template: bool = True, max_positions: int = MAX_POSITIONS, seed: int = 0
) -> Path:
    """Write a loadable base model with its tokenizer into `folder`."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.train_from_iterator(
        _SENTENCES,
        trainers.BpeTrainer(
            vocab_size=400,
            special_tokens=["<s>", "</s>"],
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        ),
    )
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", pad_token="</s>"
    )
    if chat_template:
        fast.chat_template = CHAT_TEMPLATE
    fast.save_pretrained(folder)

    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=len(fast),
        hidden_size=HIDDEN,
        intermediate_size=INTERMEDIATE,
        num_hidden_layers=LAYERS,
        num_attention_heads=HEADS,
        num_key_value_heads=KV_HEADS,
        max_position_embeddings=max_positions,
        bos_token_id=fast.bos_token_id,
        eos_token_id=fast.eos_token_id,
        initializer_range=0.4,
    )
    LlamaForCausalLM(config).save_pretrained(folder, safe_serialization=True)
    return folder


def adapter_tensors(rank: int, seed: int) -> dict[str, np.ndarray]:
    """Random LoRA weights named as PEFT names them; A is (rank, in), B is (out, rank)."""
    rng = np.random.default_rng(seed)
    tensors = {}
    for layer in range(LAYERS):
        for module, (width_in, width_out) in PROJECTIONS.items():
            name = f"base_model.model.model.layers.{layer}.{module}"
            tensors[f"{name}.lora_A.weight"] = rng.normal(0, 0.5, (rank, width_in))
            tensors[f"{name}.lora_B.weight"] = rng.normal(0, 0.5, (width_out, rank))
    return {name: tensor.astype(np.float32) for name, tensor in tensors.items()}


def build_adapter(folder: Path, *, rank: int = 8, seed: int = 1, base: str = "tiny") -> Path:
    """Write a PEFT adapter folder: adapter_config.json and adapter_model.safetensors."""
    folder.mkdir(parents=True, exist_ok=True)
    save_file(adapter_tensors(rank, seed), folder / "adapter_model.safetensors")
    config = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": base,
        "r": rank,
        "lora_alpha": 2 * rank,
        "lora_dropout": 0.0,
        "bias": "none",
        "target_modules": sorted(name.split(".")[1] for name in PROJECTIONS),
    }
    (folder / "adapter_config.json").write_text(json.dumps(config, indent=2))
    return folder
