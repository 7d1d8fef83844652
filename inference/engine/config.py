"""The engine's settings, and the file that vLLM users keep them in.

``vllm_config.yaml`` is the file of ``vllm serve --config``: a mapping of vLLM's options, with
dashes or underscores. What EngineSettings has no field for is passed to vLLM as it is, which
knows some 200 more.
"""

import difflib
import json
import re
from collections.abc import Collection, Iterable, Mapping
from decimal import Decimal
from pathlib import Path
from textwrap import shorten
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

import pydantic
import yaml
from pydantic import Field, NonNegativeFloat, PositiveInt, SecretStr, field_validator
from pydantic_settings import BaseSettings, EnvSettingsSource, NoDecode, SettingsConfigDict

from inference.training.base import base_identity
from schemas.errors import ConfigurationError
from schemas.records import BaseModel

_LONGEST_QUOTE = 60
#: vLLM's suffixes: 32k is 32,000 and 32K 32,768. Parts of a K or M are none to it, either.
_SUFFIXES = {"k": 10**3, "m": 10**6, "K": 2**10, "M": 2**20}
_NUMBER = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,6}(?=[km]))?)([kmKM])")


class LoraModule(pydantic.BaseModel):
    """An adapter folder to load at start-up under ``name``, best an ``id@version``."""

    name: str
    path: Path


class EngineSettings(BaseSettings):
    """What an engine serves and how; a variable ``LORELAY_MAX_LORAS`` wins over the file.

    Fields of vLLM's have vLLM's names; None leaves its default. Lists and mappings in variables
    are JSON: ``LORELAY_OPTIONS='{"gpu_memory_utilization": 0.4}'``, which adds to the file's. What
    stands among the options and is a field is taken as that field.
    """

    model_config = SettingsConfigDict(env_prefix="LORELAY_", extra="ignore", frozen=True)

    model: str | None = Field(None, description="The base model's folder or hub name.")
    served_model_name: str | None = Field(
        None, description="The base model's name in responses; by default the model's own."
    )
    model_version: str | None = Field(None, description="The base model's version in responses.")
    max_model_len: PositiveInt | None = Field(
        None, description="Tokens of prompt and answer together; by default the model's limit."
    )
    max_num_seqs: PositiveInt | None = Field(None, description="Requests in one batch.")
    enable_lora: bool = Field(True, description="Whether adapters can be served at all.")
    max_loras: PositiveInt = Field(4, description="Different adapters in one batch.")
    max_cpu_loras: PositiveInt | None = Field(
        None, description="Adapters held loaded; by default 32, or max_loras if that is more."
    )
    max_lora_rank: PositiveInt = Field(16, description="The highest rank that can be loaded.")
    lora_modules: Annotated[tuple[LoraModule, ...], NoDecode] = Field(
        (), description='Adapters to load at start-up: {name, path} or "name=path".'
    )
    chat_template: str | None = Field(
        None, description="A chat template or its file, in place of the tokenizer's own."
    )
    default_chat_template_kwargs: Annotated[dict[str, Any], NoDecode] = Field(
        default_factory=dict, description="What every chat template is given."
    )
    options: Annotated[dict[str, Any], NoDecode] = Field(
        default_factory=dict, description="Further options of vLLM's AsyncEngineArgs."
    )

    http_url: str = Field("http://127.0.0.1:8000", description="An OpenAI-compatible server.")
    http_api_key: SecretStr | None = Field(None, description="Its key, sent as bearer token.")
    http_endpoint: Literal["chat", "completions"] = Field(
        "chat", description="/v1/chat/completions, or /v1/completions with the text as it is."
    )
    http_adapters: Literal["folders", "served"] = Field(
        "folders",
        description="folders: adapters lie at the same path here and there, are verified here and "
        "loaded by the server at run time; served: the server has them by id@version already.",
    )
    http_priority: bool = Field(
        False, description="Send priorities; vLLM must run with --scheduling-policy priority."
    )
    http_timeout_s: float = Field(600.0, gt=0, description="Longest wait for its next byte.")

    service_ms: NonNegativeFloat = Field(0.0, description="What the echo engine takes a request.")
    load_ms: NonNegativeFloat = Field(0.0, description="And to load an adapter.")
    crash_on: str | None = Field(
        None, description="The echo engine dies of a prompt that holds this: for trying it out."
    )
    kill_on: str | None = Field(
        None, description="And of one with this the whole worker, as if it had no memory left."
    )

    @field_validator("lora_modules", mode="before")
    @classmethod
    def _name_and_path(cls, modules: object) -> object:
        if not isinstance(modules, list | tuple):
            return modules
        return tuple(
            dict(zip(("name", "path"), module.split("=", 1), strict=True))
            if isinstance(module, str) and "=" in module
            else module
            for module in modules
        )

    @field_validator("lora_modules", "default_chat_template_kwargs", mode="before")
    @classmethod
    # Of two such validators pydantic calls the later one first.
    def _decoded(cls, value: object) -> object:
        found = _from_json(value) if isinstance(value, str) else value
        if isinstance(found, str):
            raise ValueError(f"{shorten(repr(value), _LONGEST_QUOTE)} is no JSON")
        return found

    @field_validator("max_model_len", mode="before")
    @classmethod
    def _with_suffix(cls, length: object) -> object:
        if isinstance(length, str) and (found := _NUMBER.fullmatch(length.strip())):
            return int(Decimal(found[1]) * _SUFFIXES[found[2]])
        return length

    @field_validator("http_url")
    @classmethod
    def _is_an_address(cls, url: str) -> str:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.port == 0:
            raise ValueError(f"{url!r} is no address such as http://127.0.0.1:8000")
        return url

    @field_validator("served_model_name", mode="before")
    @classmethod
    def _first_name(cls, names: object) -> object:
        return names[0] if isinstance(names, list) and names else names

    @property
    def base_model(self) -> BaseModel:
        """What responses name as the base model, and adapters must be trained on."""
        model = self.model or "echo"
        folder = Path(model)
        own = base_identity(model) or BaseModel(folder.resolve().name if folder.is_dir() else model)
        return BaseModel(self.served_model_name or own.name, self.model_version or own.version)

    @property
    def resident_adapters(self) -> int:
        """How many adapters are held loaded at most; 0 without LoRA."""
        if not self.enable_lora:
            return 0
        return self.max_cpu_loras or max(32, self.max_loras)


def load_settings(path: Path | None = None, **overrides: Any) -> EngineSettings:
    """Settings from ``overrides``, else ``LORELAY_*`` variables, else the file at ``path``.

    Raises ConfigurationError, in one sentence, for a file or value that can't be used.
    """
    settings, options = _sorted_out(read_file(path) if path else {})
    variables, more = _sorted_out(EnvSettingsSource(EngineSettings)())
    values = settings | variables | {"options": options | more} | overrides
    try:
        return EngineSettings(**values)
    except pydantic.ValidationError as error:
        where = f" in {path}" if path else ""
        raise ConfigurationError(f"The configuration{where} is wrong: {problem(error)}") from error


def _sorted_out(values: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """(fields, other options of vLLM's), wherever they stand; a field's own place wins."""
    fields = EngineSettings.model_fields
    options = {str(name).replace("-", "_"): v for name, v in _mapping(values.pop("options", {}))}
    found = options | values
    settings = {name: found.pop(name) for name in fields if name in found}
    return settings, found


def _mapping(options: object) -> Iterable[tuple[object, Any]]:
    """The items of a mapping, or of one in JSON, as a variable holds it."""
    found = _from_json(options) if isinstance(options, str) else options
    if found is None:
        return ()
    if not isinstance(found, dict):
        raise ConfigurationError(
            f"The configuration is wrong: options: {shorten(repr(options), _LONGEST_QUOTE)} is no "
            'mapping, as {"gpu_memory_utilization": 0.4} is.'
        )
    return found.items()


def _from_json(text: str) -> object:
    """What it says, or the text itself where it is no JSON."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def problem(error: pydantic.ValidationError) -> str:
    """The first thing that pydantic found wrong, with the name of the option."""
    first = error.errors()[0]
    option = ".".join(str(part) for part in first["loc"])
    reason = first["msg"].removeprefix("Value error, ")
    return f"{option}: {reason}" if option else reason


def read_file(path: Path) -> dict[str, Any]:
    """The options in a ``vllm_config.yaml``, by their names with underscores."""
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path} can't be read: {error}.") from error
    except yaml.YAMLError as error:
        raise ConfigurationError(f"{path} is no valid YAML: {error}") from error
    if content is None:
        return {}
    if not isinstance(content, dict) or not all(isinstance(name, str) for name in content):
        raise ConfigurationError(f"{path} must hold one option a line, as in `max_loras: 4`.")
    return {name.replace("-", "_"): value for name, value in content.items()}


#: Options that vLLM had once, and what became of them. A file that still has one works.
GONE = {
    "disable_log_requests": "requests are not logged unless enable_log_requests is set",
    "engine_use_ray": "choose distributed_executor_backend: ray",
    "guided_decoding_backend": "see structured_outputs_config",
    "long_lora_scaling_factors": "vLLM serves no long-context LoRA any more",
    "lora_extra_vocab_size": "adapters can't add tokens any more",
    "max_seq_len_to_capture": "see max_cudagraph_capture_size",
    "num_scheduler_steps": "the scheduler needs no steps any more",
    "preemption_mode": "preempted requests are always computed again",
    "swap_space": "nothing is swapped to the CPU any more",
    "use_v2_block_manager": "there is only one block manager",
    "worker_use_ray": "choose distributed_executor_backend: ray",
}


def check_options(
    options: Mapping[str, Any], known: Collection[str], server_only: Collection[str] = ()
) -> tuple[dict[str, Any], list[str]]:
    """The ``options`` that are ``known``, and a warning for each that has no effect here.

    An option that vLLM has dropped, or that belongs to its HTTP server (``server_only``), costs
    nothing but its effect, so the engine starts without it. Any other is taken for a slip of
    the pen and raises ConfigurationError with the nearest names: an engine that silently runs
    without `max_num_batched_tokens` would be worse than none.
    """
    warnings = []
    for name in sorted(options.keys() - set(known)):
        if name in server_only:
            warnings.append(f"{name} is for vLLM's HTTP server and has no effect here.")
        elif name in GONE:
            warnings.append(f"This vLLM no longer knows {name}: {GONE[name]}.")
        else:
            names = sorted({*known, *EngineSettings.model_fields})
            near = difflib.get_close_matches(name, names, n=2)
            hint = f" Did you mean {' or '.join(near)}?" if near else " Remove it."
            raise ConfigurationError(f"This vLLM does not know the option {name}.{hint}")
    return {name: value for name, value in options.items() if name in known}, warnings
