"""GET /api/adapters/registry and /api/adapters/{adapter}/metadata, as ThemisDB has them."""

from typing import Annotated

from fastapi import APIRouter, Depends, Path, Request, Response

from streams.gateway.bodies import json_response
from streams.gateway.routes.of import answers, errors, gateway_of, only_readers
from streams.gateway.routes.shapes import VersionList, VersionMetadata
from streams.gateway.themis.shapes import metadata, named, registry_listing

router = APIRouter(tags=["Registry"], dependencies=[Depends(only_readers)])

AdapterName = Annotated[str, Path(description="id@version, or an id: the version that serves.")]


@router.get(
    "/api/adapters/registry",
    response_model=None,
    summary="List adapter versions",
    responses={**answers(VersionList), **errors(401)},
)
async def list_versions(request: Request) -> Response:
    """Every version that is registered, whatever its state."""
    return json_response(200, registry_listing(gateway_of(request).registry.versions()))


@router.get(
    "/api/adapters/{adapter}/metadata",
    response_model=None,
    summary="Show all metadata of one",
    responses={**answers(VersionMetadata), **errors(401, 404)},
)
async def show_metadata(adapter: AdapterName, request: Request) -> Response:
    """Nested as in ThemisDB's export; what registration reads."""
    return json_response(200, metadata(named(gateway_of(request).registry, adapter)))
