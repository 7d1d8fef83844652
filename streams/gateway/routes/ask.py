"""POST /v1/completions and /v1/chat/completions."""

import re
from datetime import UTC, datetime
from typing import Annotated, Final

import uuid_utils
from fastapi import APIRouter, Header, Request, Response
from fastapi.routing import APIRoute

from streams.gateway.access.keys import Key
from streams.gateway.answering import Answering
from streams.gateway.failures import InvalidParameter
from streams.gateway.names import adapter_asked_for
from streams.gateway.openai.answers import Kind
from streams.gateway.openai.requests import Asked, AskedChat, AskedCompletion, query_of
from streams.gateway.operation import Operation
from streams.gateway.routes.of import User, answers, errors, gateway_of
from streams.gateway.routes.shapes import ChatCompletion, Completion
from streams.gateway.tracing import trace_headers, trace_of

router = APIRouter(
    tags=["OpenAI"], responses=errors(400, 401, 403, 404, 409, 413, 429, 499, 500, 502, 503, 504)
)

_STREAM: Final = "text/event-stream"
_ID: Final = re.compile(r"[!-~]{1,200}")
_REQUEST_ID: Final = "x-request-id"

RequestId = Annotated[
    str | None,
    Header(description="The query's id, where the body names none; else it is a new one."),
]
SessionId = Annotated[str | None, Header(description="The session, where the body names none.")]


@router.post(
    "/v1/completions",
    response_model=None,
    summary="Complete a prompt",
    responses=answers(Completion, stream=_STREAM),
)
async def complete(
    asked: AskedCompletion,
    request: Request,
    user: User,
    x_request_id: RequestId = None,
    x_session_id: SessionId = None,
) -> Response:
    """OpenAI's completions, whole or as server-sent events; one choice."""
    return _answering("completion", asked, request, user)


@router.post(
    "/v1/chat/completions",
    response_model=None,
    summary="Answer a conversation",
    responses=answers(ChatCompletion, stream=_STREAM),
)
async def chat(
    asked: AskedChat,
    request: Request,
    user: User,
    x_request_id: RequestId = None,
    x_session_id: SessionId = None,
) -> Response:
    """OpenAI's chat completions, whole or as server-sent events; one choice of text."""
    return _answering("chat", asked, request, user)


#: Of every route above.
PATHS: Final = frozenset(route.path for route in router.routes if isinstance(route, APIRoute))


def _answering(kind: Kind, asked: Asked, request: Request, user: Key | None) -> Response:
    gateway = gateway_of(request)
    settings = gateway.settings
    base_models = gateway.base_models.names()
    query = query_of(
        asked,
        query_id=_query_id(asked, request),
        adapter=adapter_asked_for(asked.model, asked.lora_name, gateway.registry, base_models),
        reply_to=gateway.reply_to,
        timeout_ms=settings.gateway_timeout * 1000,
        prompt_chars=settings.gateway_prompt_chars,
        now=datetime.now(UTC),
        headers=request.headers,
        tenant=user.tenant if user else None,
        highest_priority=user.priority if user else 9,
    )
    permit = gateway.budgets.permit(user)
    permit.take()
    options = asked.stream_options
    return Answering(
        gateway.exchange,
        query,
        trace_headers(request.headers),
        permit=permit,
        operation=Operation(query, trace_of(request), gateway.metrics),
        kind=kind,
        base_model=base_models[0] if base_models else None,
        include_usage=bool(options and options.include_usage),
        stall_seconds=settings.gateway_stall,
    )


def _query_id(asked: Asked, request: Request) -> str:
    if asked.id is not None:
        return asked.id
    named = request.headers.get(_REQUEST_ID)
    if named is None:
        return str(uuid_utils.uuid7())
    if not _ID.fullmatch(named):
        raise InvalidParameter(
            "X-Request-Id",
            "X-Request-Id: has to be 1 to 200 visible ASCII characters without a space.",
        )
    return named
