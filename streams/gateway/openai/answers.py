"""Answers as OpenAI's clients read them, whole and in pieces. Pure."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from schemas.records import BASE, Response, Usage
from streams.gateway.openai.decision import decision

Kind = Literal["completion", "chat"]


def model_name(adapter: str | None, base_model: str | None) -> str:
    """The `model` of an answer: who gave it."""
    return adapter or base_model or BASE


def usage(used: Usage) -> dict[str, int]:
    """The tokens, with their sum."""
    return {
        "prompt_tokens": used.prompt_tokens,
        "completion_tokens": used.completion_tokens,
        "total_tokens": used.prompt_tokens + used.completion_tokens,
    }


def answer(kind: Kind, response: Response) -> dict[str, Any]:
    """The body for a response that is no error."""
    text = response.text or ""
    choice: dict[str, Any] = {"index": 0, "logprobs": None, "finish_reason": _finish(response)}
    if kind == "chat":
        choice["message"] = {"role": "assistant", "content": text, "refusal": None}
    else:
        choice["text"] = text
    return {
        "id": response.query_id,
        "object": "chat.completion" if kind == "chat" else "text_completion",
        "created": _seconds(response.created_at),
        "model": model_name(response.adapter, response.base_model),
        "choices": [choice],
        "usage": usage(response.usage),
        "lorelay": decision(response),
    }


def _finish(response: Response) -> str:
    return response.finish_reason or "stop"


def _seconds(time: datetime | None) -> int:
    return int(time.timestamp()) if time else 0


@dataclass(slots=True)
class StreamShape:
    """The pieces of one streamed answer; `model` is what is known before the response."""

    kind: Kind
    query_id: str
    created: datetime
    include_usage: bool
    model: str = BASE
    has_begun: bool = False

    def delta(self, text: str) -> dict[str, Any]:
        """A piece with more text; the first of a chat names the role."""
        if self.kind == "completion":
            return self._piece({"text": text})
        delta = {"content": text} if self.has_begun else {"role": "assistant", "content": text}
        self.has_begun = True
        return self._piece({"delta": delta})

    def last(self, response: Response) -> dict[str, Any]:
        """The piece that says why the answer ends, and who gave it."""
        self.model = model_name(response.adapter, response.base_model)
        content: dict[str, Any] = {"text": ""} if self.kind == "completion" else {"delta": {}}
        piece = self._piece(content, _finish(response))
        return piece | {"lorelay": decision(response)}

    def usage(self, response: Response) -> dict[str, Any]:
        """The piece after the last, where it was asked for."""
        return self._body() | {"choices": [], "usage": usage(response.usage)}

    def _piece(self, content: dict[str, Any], finish_reason: str | None = None) -> dict[str, Any]:
        choice = {"index": 0, **content, "logprobs": None, "finish_reason": finish_reason}
        body = self._body() | {"choices": [choice]}
        return body | {"usage": None} if self.include_usage else body

    def _body(self) -> dict[str, Any]:
        return {
            "id": self.query_id,
            "object": "chat.completion.chunk" if self.kind == "chat" else "text_completion",
            "created": int(self.created.timestamp()),
            "model": self.model,
        }
