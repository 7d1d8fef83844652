"""The ASGI application: routes, limits, refusals."""

from typing import Any

from fastapi import FastAPI

from streams.gateway.gateway import Gateway
from streams.gateway.limits import BodyLimit
from streams.gateway.measuring import Measured
from streams.gateway.refusals import add_refusals
from streams.gateway.routes import (
    ask,
    dashboard,
    earlier,
    feedback,
    figures,
    health,
    models,
    pages,
    registering,
    registry,
)
from streams.gateway.tracing import Traced

_DESCRIPTION = """
Ask adapters of one base model, over Kafka: every query gets exactly one response.

The OpenAI-compatible routes work with OpenAI's own clients; `base_url` is this server's `/v1`.
Those below `/api/adapters` are the registry's, in ThemisDB's shapes.
"""


def make_app(gateway: Gateway) -> FastAPI:
    """Everything that the gateway serves."""
    app = FastAPI(
        title="Lorelay",
        description=_DESCRIPTION,
        version="1",
        docs_url=None,
        redoc_url=None,
        openapi_url="/openapi.json",
    )
    app.state.gateway = gateway
    for routes in (
        *(ask, earlier, feedback, models, registry, registering, figures, health),
        *(dashboard, pages),
    ):
        app.include_router(routes.router)
    add_refusals(app, gateway.settings.gateway_body_bytes)
    app.add_middleware(BodyLimit, most=gateway.settings.gateway_body_bytes)
    if gateway.tracing.is_told:
        app.add_middleware(Traced, tracing=gateway.tracing, paths=ask.PATHS)
    app.add_middleware(Measured, metrics=gateway.metrics)
    _describe(app)
    return app


def _describe(app: FastAPI) -> None:
    """Leaves out what FastAPI says of every route and none of ours does: a 422."""
    schema = app.openapi()
    for path in schema["paths"].values():
        for operation in path.values():
            operation["responses"].pop("422", None)
    parts: dict[str, Any] = schema.get("components", {}).get("schemas", {})
    for name in ("HTTPValidationError", "ValidationError"):
        parts.pop(name, None)
