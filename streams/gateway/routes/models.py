"""GET /v1/models: what may be named as `model`."""

from typing import Annotated

from fastapi import APIRouter, Depends, Path, Request, Response

from streams.gateway.bodies import json_response
from streams.gateway.catalogue import catalogue, entry
from streams.gateway.routes.of import answers, errors, gateway_of, only_readers
from streams.gateway.routes.shapes import Model, ModelList

router = APIRouter(tags=["OpenAI"], dependencies=[Depends(only_readers)], responses=errors(401))


@router.get(
    "/v1/models",
    response_model=None,
    summary="List models and adapters",
    responses=answers(ModelList),
)
async def list_models(request: Request) -> Response:
    """Automatic selection, the base model, and every adapter that can be asked for."""
    gateway = gateway_of(request)
    found = catalogue(gateway.registry, gateway.base_models.names())
    return json_response(200, {"object": "list", "data": found})


@router.get(
    "/v1/models/{model_id:path}",
    response_model=None,
    summary="Show one of them",
    responses={**answers(Model), **errors(404)},
)
async def show_model(
    model_id: Annotated[str, Path(description="As the list has it.")], request: Request
) -> Response:
    """One entry of the list."""
    gateway = gateway_of(request)
    return json_response(200, entry(model_id, gateway.registry, gateway.base_models.names()))
