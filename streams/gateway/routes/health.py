"""GET /health and /ready."""

from fastapi import APIRouter, Request, Response

from streams.gateway.bodies import json_response
from streams.gateway.routes.of import answers, gateway_of
from streams.gateway.routes.shapes import Health

router = APIRouter(tags=["Health"])


@router.get(
    "/health", response_model=None, summary="Whether the process lives", responses=answers(Health)
)
async def health() -> Response:
    """Always 200: who gets it has reached a living gateway."""
    return json_response(200, {"status": "ok"})


@router.get(
    "/ready",
    response_model=None,
    summary="Whether queries are taken",
    responses={
        **answers(Health),
        **answers(Health, 503, "Not now; `waits_for` says for what"),
    },
)
async def ready(request: Request) -> Response:
    """200 while queries can be sent, else 503 and what the gateway waits for."""
    reason = gateway_of(request).waits_for()
    if reason is None:
        return json_response(200, {"status": "ready"})
    return json_response(503, {"status": "not ready", "waits_for": reason})
