"""A generation's prompt as vLLM takes it: rendered by vLLM's own renderer, and tokenized."""

from typing import Any

from inference.engine.config import EngineSettings
from inference.engine.prompt import adapter_text, conversation, lines
from inference.engine.protocol import Generation
from schemas.errors import PromptTooLong

#: Characters that are tokenized on the event loop: 2,000 take about a millisecond, and handing
#: a prompt over to a thread and back costs about as much.
_SHORT = 2_000


class Prompts:
    """Renders by ``renderer``, vLLM's, for a context of ``max_model_len`` tokens."""

    def __init__(self, renderer: Any, settings: EngineSettings, max_model_len: int) -> None:
        self._renderer = renderer
        self._max_model_len = max_model_len
        self._chat_params = _chat_params(settings)
        self._has_chat_template = _has_chat_template(renderer, self._chat_params)

    async def render(self, generation: Generation) -> Any:
        """vLLM's EngineInput. PromptTooLong if it leaves no room for an answer."""
        messages = conversation(generation)
        text = adapter_text(generation)
        if text is None and not self._has_chat_template:
            text = lines(messages)
        if text is not None:
            prompt = await self._render_text(text)
        else:
            prompt = await self._render_chat(
                [{"role": turn.role, "content": turn.content} for turn in messages]
            )
        length = len(prompt["prompt_token_ids"])
        if length >= self._max_model_len:
            raise PromptTooLong(
                f"The prompt has {length} tokens; prompt and answer together may have "
                f"{self._max_model_len}."
            )
        return prompt

    async def _render_text(self, text: str) -> Any:
        prompts = [{"prompt": text}]
        if len(text) <= _SHORT:
            (prompt,) = self._renderer.render_cmpl(prompts)
        else:
            (prompt,) = await self._renderer.render_cmpl_async(prompts)
        return prompt

    async def _render_chat(self, messages: list[dict[str, str]]) -> Any:
        if sum(len(turn["content"]) for turn in messages) <= _SHORT:
            _, (prompt,) = self._renderer.render_chat([messages], self._chat_params)
        else:
            _, (prompt,) = await self._renderer.render_chat_async([messages], self._chat_params)
        return prompt


def _chat_params(settings: EngineSettings) -> Any:
    from vllm.renderers import ChatParams
    from vllm.renderers.chat_utils import load_chat_template

    return ChatParams(
        chat_template=load_chat_template(settings.chat_template),
        chat_template_kwargs={"add_generation_prompt": True}
        | settings.default_chat_template_kwargs,
    )


def _has_chat_template(renderer: Any, chat_params: Any) -> bool:
    from vllm.renderers.chat_utils import ChatTemplateResolutionError

    try:
        renderer.render_chat([[{"role": "user", "content": "?"}]], chat_params)
    except ChatTemplateResolutionError:
        return False
    return True
