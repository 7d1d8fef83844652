"""An earlier answer in the shape of OpenAI's Response object. Pure."""

from dataclasses import asdict
from typing import Any, Final

from schemas.records import ErrorInfo, Response
from streams.gateway.openai.answers import model_name
from streams.gateway.openai.decision import decision

#: OpenAI's own codes, of which there are no others; ours stands in the `lorelay` field.
_CODES: Final = {
    "invalid_request": "invalid_prompt",
    "unknown_adapter": "invalid_prompt",
    "overloaded": "rate_limit_exceeded",
}


def stored_answer(response: Response) -> dict[str, Any]:
    """What OpenAI's client reads as `responses.retrieve(id)`, and the `lorelay` field."""
    is_cut = response.finish_reason == "length"
    status = "incomplete" if is_cut else "completed"
    output: list[dict[str, Any]] = []
    if response.error is not None:
        status = "cancelled" if response.error.category == "cancelled" else "failed"
    else:
        text = {"type": "output_text", "text": response.text or "", "annotations": []}
        message = {"type": "message", "role": "assistant", "status": status, "content": [text]}
        output.append({"id": f"msg_{response.query_id}", **message})
    used = response.usage
    body = _body(response.query_id, status, output)
    return body | {
        "created_at": response.created_at.timestamp() if response.created_at else 0,
        "model": model_name(response.adapter, response.base_model),
        "error": response.error and _error(response.error),
        "incomplete_details": {"reason": "max_output_tokens"} if is_cut else None,
        "usage": {
            "input_tokens": used.prompt_tokens,
            "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
            "output_tokens": used.completion_tokens,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": used.prompt_tokens + used.completion_tokens,
        },
        "lorelay": decision(response) | {"error": response.error and asdict(response.error)},
    }


def pending_answer(query_id: str) -> dict[str, Any]:
    """The same for a query that is under way."""
    return _body(query_id, "in_progress", []) | {
        "created_at": 0,
        "model": "",
        "error": None,
        "incomplete_details": None,
        "lorelay": {"query_id": query_id},
    }


def _error(error: ErrorInfo) -> dict[str, str]:
    return {"code": _CODES.get(error.category, "server_error"), "message": error.message}


def _body(query_id: str, status: str, output: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "id": query_id,
        "object": "response",
        "status": status,
        "output": output,
        "parallel_tool_calls": False,
        "tool_choice": "none",
        "tools": [],
    }
