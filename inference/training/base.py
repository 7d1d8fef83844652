"""Loading the base model: a folder or a Hugging Face name."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

from schemas.errors import ConfigurationError
from schemas.records import BaseModel

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

IDENTITY = "lorelay.json"
"""A file in a model's folder: ``{"name", "version"}``, what adapters of it are registered under."""


def base_identity(base: str) -> BaseModel | None:
    """The name and version in the model folder's lorelay.json, None where there is no such file."""
    try:
        identity = json.loads((Path(base) / IDENTITY).read_text(encoding="utf-8"))
        return BaseModel(identity["name"], identity.get("version"))
    except OSError:
        return None
    except (ValueError, KeyError, AttributeError) as error:
        raise ConfigurationError(
            f'{Path(base) / IDENTITY} must hold {{"name": ..., "version": ...}}: {error!r}.'
        ) from None


def silence_bars() -> None:
    """Keep transformers from drawing bars of its own through the one for training."""
    from transformers.utils import logging

    logging.disable_progress_bar()


def load_base(base: str) -> tuple["PreTrainedTokenizerBase", "PreTrainedModel"]:
    """(tokenizer, causal language model), on the GPU in the model's own precision if there is one,
    else on the CPU in float32.

    Raises ConfigurationError where `base` names no model that can be loaded.
    """
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    silence_bars()
    if base.startswith(("/", "./", "../")) and not Path(base).exists():
        raise ConfigurationError(f"There is no model folder {base}.")
    gpu = torch.cuda.is_available()
    try:
        tokenizer = AutoTokenizer.from_pretrained(base)
        model = AutoModelForCausalLM.from_pretrained(base, dtype="auto" if gpu else torch.float32)
    except (OSError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise ConfigurationError(
            f"--base {base} is no causal language model that can be loaded; give its folder or "
            f"its Hugging Face name ({reason})"
        ) from None
    # torch.nn.Module.to, as transformers wraps it in a decorator that hides its signature.
    return tokenizer, model.to("cuda" if gpu else "cpu")
