"""POST /api/adapters/register, as ThemisDB has it; for the admin."""

from typing import Any

from fastapi import APIRouter, Depends, Request, Response
from pydantic import Field

from streams.gateway.bodies import json_response
from streams.gateway.request_body import RequestBody
from streams.gateway.routes.of import answers, errors, gateway_of, only_admin
from streams.gateway.routes.shapes import RegisteredVersion
from streams.registry.validation import Novelty

router = APIRouter(tags=["Registry"], dependencies=[Depends(only_admin)])


class Registration(RequestBody):
    """A version to register."""

    adapter_metadata: dict[str, Any] = Field(
        description="Flat or nested, as ThemisDB lists or exports it. `adapter_path` says where "
        "the weights lie, as the gateway and the workers reach them."
    )
    examples: list[dict[str, Any]] = Field(
        default=[],
        max_length=10_000,
        fail_fast=True,
        description="What selection learns from; else examples.jsonl beside the weights.",
    )


@router.post(
    "/api/adapters/register",
    response_model=None,
    status_code=201,
    summary="Register a version",
    responses={
        **answers(RegisteredVersion, 200, "It was there already, or now lies at another place"),
        **answers(RegisteredVersion, 201, "It is registered"),
        **errors(400, 401, 403, 409, 413, 503),
    },
)
async def register(registration: Registration, request: Request) -> Response:
    """The first version of a family serves within seconds; a later one stands by."""
    registrar = gateway_of(request).registrar
    done = await registrar.register(registration.adapter_metadata, registration.examples)
    content = {
        "adapter_id": done.version.adapter_id,
        "adapter_version": done.version.adapter_version,
        "status": done.version.status,
        "result": done.novelty.name.lower(),
        "warnings": done.warnings,
    }
    return json_response(201 if done.novelty is Novelty.NEW else 200, content)
