"""GET /dashboard: the live page, its files, and the events that keep it up to date."""

from fastapi import APIRouter, Depends, Request, Response

from streams.gateway.dashboard.files import page_file
from streams.gateway.dashboard.streaming import Streaming
from streams.gateway.failures import UnknownRoute
from streams.gateway.routes.of import gateway_of, only_viewers

router = APIRouter(include_in_schema=False)


@router.get("/dashboard")
async def dashboard(request: Request) -> Response:
    """The page; all it shows comes later."""
    return _file("index.html", request)


@router.get("/dashboard/feed", dependencies=[Depends(only_viewers)])
async def feed(request: Request) -> Response:
    """Server-sent events: all there is, and then every second what has changed."""
    return Streaming(gateway_of(request).feed)


@router.get("/dashboard/{name}")
async def asset(name: str, request: Request) -> Response:
    """A file of the page."""
    return _file(name, request)


def _file(name: str, request: Request) -> Response:
    found = page_file(name)
    if found is None:
        raise UnknownRoute(request.method, request.url.path, 404)
    return found
