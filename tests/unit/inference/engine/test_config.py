"""The engine's settings and the file that vLLM users have."""

from pathlib import Path

import pytest
import yaml

from inference.engine.config import LoraModule, check_options, load_settings
from schemas.errors import ConfigurationError

KNOWN = {"model", "max_num_batched_tokens", "gpu_memory_utilization", "tensor_parallel_size"}


def write(folder: Path, text: str) -> Path:
    path = folder / "vllm_config.yaml"
    path.write_text(text)
    return path


def test_a_file_of_vllm_users_is_read_as_it_is(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        """
        model: meta-llama/Llama-3.1-8B-Instruct
        tensor_parallel_size: 2
        max_num_seqs: 128
        max-model-len: 8192
        enable_lora: true
        max_loras: 8
        max_lora_rank: 32
        lora_dtype: auto
        gpu_memory_utilization: 0.9
        lora_modules:
          - name: legal-qa-v1@1.0.0
            path: /adapters/legal
          - medical-v1@1.0.0=/adapters/medical
        """,
    )
    settings = load_settings(path)
    assert settings.model == "meta-llama/Llama-3.1-8B-Instruct"
    assert (settings.max_num_seqs, settings.max_model_len) == (128, 8192)
    assert (settings.max_loras, settings.max_lora_rank) == (8, 32)
    assert settings.lora_modules == (
        LoraModule(name="legal-qa-v1@1.0.0", path=Path("/adapters/legal")),
        LoraModule(name="medical-v1@1.0.0", path=Path("/adapters/medical")),
    )
    assert settings.options == {
        "tensor_parallel_size": 2,
        "lora_dtype": "auto",
        "gpu_memory_utilization": 0.9,
    }


def test_the_example_file_is_read(repository: Path) -> None:
    path = repository / "examples" / "vllm_config.yaml"
    assert load_settings(path).model == yaml.safe_load(path.read_text())["model"]


@pytest.fixture
def repository() -> Path:
    return Path(__file__).parents[4]


def test_a_variable_wins_over_the_file_and_an_argument_over_both(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path, "model: from-file\nmax_loras: 2\nmax_num_seqs: 3\n")
    monkeypatch.setenv("LORELAY_MAX_LORAS", "5")
    monkeypatch.setenv("LORELAY_MODEL", "from-variable")
    settings = load_settings(path, model="from-argument")
    assert settings.model == "from-argument"
    assert (settings.max_loras, settings.max_num_seqs) == (5, 3)


def test_options_in_a_variable_add_to_those_in_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path, "seed: 3\noptions: {block_size: 16}\ngpu-memory-utilization: 0.9\n")
    monkeypatch.setenv("LORELAY_OPTIONS", '{"gpu_memory_utilization": 0.4, "dtype": "float16"}')
    monkeypatch.setenv("LORELAY_LORA_MODULES", '["law@1.0.0=/adapters/law"]')
    settings = load_settings(path)
    assert settings.options == {
        "seed": 3,
        "block_size": 16,
        "gpu_memory_utilization": 0.4,
        "dtype": "float16",
    }
    assert settings.lora_modules == (LoraModule(name="law@1.0.0", path=Path("/adapters/law")),)


def test_a_field_among_the_options_is_that_field(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path, "model: x\nmax_loras: 2\noptions: {max-num-seqs: 7, max_loras: 3}\n")
    monkeypatch.setenv("LORELAY_OPTIONS", '{"model": "y", "max-model-len": "8K", "seed": 1}')
    settings = load_settings(path)
    assert (settings.model, settings.max_model_len) == ("y", 8192)
    assert (settings.max_num_seqs, settings.max_loras) == (7, 2)
    assert settings.options == {"seed": 1}
    monkeypatch.setenv("LORELAY_MODEL", "z")
    assert load_settings(path).model == "z"
    assert load_settings(path, model="argument").model == "argument"


def test_dashes_and_underscores_are_one_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path, "gpu-memory-utilization: 0.9\noptions: {block-size: 8}\n")
    monkeypatch.setenv("LORELAY_OPTIONS", '{"gpu-memory-utilization": 0.4, "block_size": 16}')
    assert load_settings(path).options == {"gpu_memory_utilization": 0.4, "block_size": 16}


@pytest.mark.parametrize("options", ["[1]", "3", "text"])
def test_options_in_the_file_must_be_a_mapping_too(tmp_path: Path, options: str) -> None:
    with pytest.raises(ConfigurationError, match=r"is wrong: options: .* is no mapping"):
        load_settings(write(tmp_path, f"options: {options}\n"))


def test_options_in_the_file_may_be_json_or_empty(tmp_path: Path) -> None:
    assert load_settings(write(tmp_path, "options: '{\"seed\": 1}'\n")).options == {"seed": 1}
    assert load_settings(write(tmp_path, "options:\n")).options == {}


@pytest.mark.parametrize(
    ("text", "tokens"), [("32k", 32_000), ("8K", 8_192), ("1.5m", 1_500_000), ("4096", 4_096)]
)
def test_a_length_may_be_written_as_vllm_does(tmp_path: Path, text: str, tokens: int) -> None:
    assert load_settings(write(tmp_path, f"max-model-len: {text}\n")).max_model_len == tokens
    assert load_settings(max_model_len=text).max_model_len == tokens


@pytest.mark.parametrize(
    "text", ["32 kilo", "k", "-1k", "0k", "1.5", "1.5K", "\u0661k", "9" * 400 + "k"]
)
def test_other_lengths_are_refused(text: str) -> None:
    with pytest.raises(ConfigurationError, match="max_model_len"):
        load_settings(max_model_len=text)


@pytest.mark.parametrize("name", ["options", "lora_modules", "default_chat_template_kwargs"])
@pytest.mark.parametrize("text", ["gpu_memory_utilization=0.4", "", "3", '"{}"', "[" * 99_999])
def test_a_variable_that_must_be_json_and_is_not_is_named(
    name: str, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(f"LORELAY_{name.upper()}", text)
    with pytest.raises(ConfigurationError, match=f"is wrong: {name}: "):
        load_settings()


def test_the_base_model_is_named_after_its_folder_unless_it_has_a_served_name(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "tiny"
    folder.mkdir()
    assert load_settings(model=str(folder)).base_model.name == "tiny"
    assert load_settings(model="org/model").base_model.name == "org/model"
    named = load_settings(model=str(folder), served_model_name=["a", "b"], model_version="2")
    assert str(named.base_model) == "a@2"


def test_a_model_folder_that_says_its_name_and_version_is_called_so(tmp_path: Path) -> None:
    (tmp_path / "lorelay.json").write_text('{"name": "tiny", "version": "1.0.0"}')

    assert str(load_settings(model=str(tmp_path)).base_model) == "tiny@1.0.0"
    assert str(load_settings(model=str(tmp_path), model_version="2").base_model) == "tiny@2"


@pytest.mark.parametrize(
    ("settings", "resident"),
    [
        ({}, 32),
        ({"max_loras": 40}, 40),
        ({"max_cpu_loras": 6}, 6),
        ({"enable_lora": False}, 0),
    ],
)
def test_adapters_held_loaded(settings: dict[str, object], resident: int) -> None:
    assert load_settings(**settings).resident_adapters == resident


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("max_num_seqs: many", "max_num_seqs.*integer"),
        ("- model", "one option a line"),
        ("model: [", "no valid YAML"),
        ("lora_modules: [nameless]", "lora_modules.0"),
    ],
)
def test_a_file_that_cannot_be_used_is_explained(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        load_settings(write(tmp_path, text))


def test_a_missing_file_is_explained(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"nowhere\.yaml can't be read"):
        load_settings(tmp_path / "nowhere.yaml")


def test_an_empty_file_leaves_the_defaults(tmp_path: Path) -> None:
    assert load_settings(write(tmp_path, "# nothing\n")) == load_settings()


def test_known_options_pass() -> None:
    assert check_options({"tensor_parallel_size": 2}, KNOWN) == ({"tensor_parallel_size": 2}, [])


def test_an_option_that_vllm_has_dropped_is_warned_of_and_left_out() -> None:
    passed, (warning,) = check_options({"swap_space": 4, "tensor_parallel_size": 1}, KNOWN)
    assert passed == {"tensor_parallel_size": 1}
    assert "no longer knows swap_space" in warning


def test_an_option_of_vllms_server_is_warned_of_and_left_out() -> None:
    passed, (warning,) = check_options({"port": 8000}, KNOWN, server_only={"port"})
    assert passed == {}
    assert "port is for vLLM's HTTP server" in warning


def test_a_misspelt_option_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(ConfigurationError, match="Did you mean max_num_batched_tokens"):
        check_options({"max_num_batch_tokens": 1}, KNOWN)
    with pytest.raises(ConfigurationError, match="max_num_seqs"):
        check_options({"max_num_seq": 1}, KNOWN)


def test_a_name_that_settings_and_vllm_have_is_named_once() -> None:
    with pytest.raises(ConfigurationError) as refused:
        check_options({"max_modle_len": 5}, {"max_model_len"})
    assert str(refused.value).count("max_model_len") == 1


def test_an_option_like_no_other_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="Remove it"):
        check_options({"xyzzy": 1}, KNOWN)


@pytest.mark.parametrize(
    "url", ["nonsense", "127.0.0.1:8000", "http://", "http://127.0.0.1:99999", "http://[::1"]
)
def test_a_server_has_an_address(url: str) -> None:
    with pytest.raises(ConfigurationError, match="http_url"):
        load_settings(http_url=url)
