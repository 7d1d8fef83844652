"""The prompt that vLLM reads is the prompt that an adapter was trained on."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from inference.engine.config import load_settings
from inference.engine.protocol import Generation, LoadedAdapter
from inference.engine.vllm_prompt import Prompts
from inference.engine.vllm_start import engine_config
from inference.training.prompt import prompt_ids
from schemas.errors import ConfigurationError, PromptTooLong
from schemas.records import Message
from tests.contract.conftest import needs_vllm
from tests.contract.tiny_model import build_base

pytestmark = [needs_vllm, pytest.mark.filterwarnings("ignore")]

CONTEXT = 4096
TURNS = (Message("user", "Wer hilft?"), Message("assistant", "Ich."), Message("user", "Womit?"))
LONG = (Message("user", "zero one two three " * 150),)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Callable[[bool], Path]:
    """Folders of a base model with and without chat template."""
    root = tmp_path_factory.mktemp("bases")
    folders = {
        has: build_base(root / str(has), chat_template=has, max_positions=CONTEXT)
        for has in (True, False)
    }
    return folders.__getitem__


def prompts(base: Path, max_model_len: int = CONTEXT, **settings: Any) -> Prompts:
    """What the engine renders by; no process is started."""
    from vllm.renderers import renderer_from_config

    chosen = load_settings(model=str(base), max_model_len=CONTEXT, **settings)
    return Prompts(renderer_from_config(engine_config(chosen)), chosen, max_model_len)


def tokenizer(base: Path) -> Any:
    """What training tokenizes by."""
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(base)


@pytest.mark.parametrize("messages", [TURNS[:1], TURNS, LONG], ids=["one", "turns", "long"])
@pytest.mark.parametrize("template", [None, "### Frage: {prompt}\n### Antwort:"])
@pytest.mark.parametrize("has_chat_template", [True, False])
async def test_serving_and_training_agree(
    base: Callable[[bool], Path],
    has_chat_template: bool,
    template: str | None,
    messages: tuple[Message, ...],
) -> None:
    folder = base(has_chat_template)
    adapter = LoadedAdapter("a@1.0.0", "/nowhere", 8, template)
    rendered = await prompts(folder).render(Generation("a", messages=messages, adapter=adapter))
    assert rendered["prompt_token_ids"] == prompt_ids(tokenizer(folder), messages, template)


async def test_a_prompt_that_leaves_no_room_for_an_answer_is_too_long(
    base: Callable[[bool], Path],
) -> None:
    rendered = await prompts(base(True)).render(Generation("a", messages=TURNS))
    length = len(rendered["prompt_token_ids"])
    await prompts(base(True), length + 1).render(Generation("a", messages=TURNS))
    with pytest.raises(PromptTooLong):
        await prompts(base(True), length).render(Generation("a", messages=TURNS))


async def test_the_settings_chat_template_goes_before_the_tokenizers(
    base: Callable[[bool], Path],
) -> None:
    template = "{{ greeting }} {{ messages[0]['content'] }}"
    rendered = await prompts(
        base(True), chat_template=template, default_chat_template_kwargs={"greeting": "Hallo"}
    ).render(Generation("a", "Welt"))
    expected = tokenizer(base(True)).encode("Hallo Welt", add_special_tokens=False)
    assert rendered["prompt_token_ids"] == expected


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"max_lora_rank": 7}, "max_lora_rank"),
        ({"options": {"max_num_batch_tokens": 64}}, "Did you mean max_num_batched_tokens"),
        ({"options": {"dtype": "float33"}}, "dtype|float33"),
        ({"options": {"max_num_batched_tokens": "many"}}, "batched-tokens: .* 'many'"),
        ({"options": {"enforce_eager": "true"}}, "enforce-eager.*: must be true or false"),
        ({"max_model_len": 10 * CONTEXT}, "max_model_len"),
    ],
)
def test_what_vllm_refuses_is_a_mistake_of_the_user(
    base: Callable[[bool], Path], settings: dict[str, Any], problem: str
) -> None:
    with pytest.raises(ConfigurationError, match=problem):
        engine_config(load_settings(model=str(base(True)), **settings))


def test_texts_are_read_as_vllms_command_line_reads_them(base: Callable[[bool], Path]) -> None:
    options = {"max_num_batched_tokens": "1k", "dtype": "half", "compilation_config": '{"mode": 0}'}
    config = engine_config(
        load_settings(model=str(base(True)), max_model_len=256, max_num_seqs=8, options=options)
    )
    assert config.scheduler_config.max_num_batched_tokens == 1_000
    assert str(config.model_config.dtype) == "torch.float16"
    assert config.compilation_config.mode == 0


def test_options_without_effect_are_warned_of(
    base: Callable[[bool], Path], caplog: pytest.LogCaptureFixture
) -> None:
    options = {"swap_space": 4, "port": 8000, "max_num_batched_tokens": 512}
    config = engine_config(
        load_settings(model=str(base(True)), max_model_len=256, max_num_seqs=8, options=options)
    )
    assert config.scheduler_config.max_num_batched_tokens == 512
    assert "no longer knows swap_space" in caplog.text
    assert "port is for vLLM's HTTP server" in caplog.text
