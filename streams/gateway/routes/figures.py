"""GET /api/adapters/{adapter}/metrics, as a row of ThemisDB's `adapter_metrics`."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request, Response

from streams.gateway.bodies import json_response
from streams.gateway.failures import InvalidParameter
from streams.gateway.routes.of import answers, errors, gateway_of, only_readers
from streams.gateway.routes.registry import AdapterName
from streams.gateway.routes.shapes import VersionFigures
from streams.gateway.themis.shapes import figures, named

router = APIRouter(tags=["Registry"], dependencies=[Depends(only_readers)])

Seconds = Annotated[
    float | None, Query(ge=1, description="Over how long; all that is kept, if not given.")
]


@router.get(
    "/api/adapters/{adapter}/metrics",
    response_model=None,
    summary="Show the figures of one",
    responses={**answers(VersionFigures), **errors(400, 401, 404)},
)
async def show_figures(adapter: AdapterName, request: Request, seconds: Seconds = None) -> Response:
    """Requests, latencies, errors and throughput of the last minutes.

    Of an id without version those of all its versions together.
    """
    gateway = gateway_of(request)
    version = named(gateway.registry, adapter)
    asked = version.key if adapter == version.key else version.adapter_id
    kept = gateway.figures.span.total_seconds()
    if seconds is not None and seconds > kept:
        raise InvalidParameter(
            "seconds", f"seconds: figures are kept for {kept:g} s here.", "invalid_value"
        )
    window = timedelta(seconds=seconds or kept)
    async with gateway.figures.turn:
        records = gateway.figures.of(asked, window)
        told = await asyncio.to_thread(figures, asked, records, window, datetime.now(UTC))
    return json_response(200, told)
