"""The page that describes the API: no part of it comes from elsewhere."""

from importlib.resources import files

from fastapi import APIRouter, Request, Response
from fastapi.openapi.docs import get_swagger_ui_html
from starlette.responses import FileResponse, HTMLResponse, RedirectResponse

from streams.gateway.failures import UnknownRoute

router = APIRouter(include_in_schema=False)

_ASSETS = {
    "swagger-ui-bundle.js": "text/javascript",
    "swagger-ui.css": "text/css",
    "favicon.png": "image/png",
}
_FOLDER = files("fastapi_offline") / "static"


@router.get("/")
async def root() -> Response:
    """To the page that describes the API."""
    return RedirectResponse("docs")


@router.get("/docs")
async def docs() -> HTMLResponse:
    """Swagger UI, from the package that brings its files along."""
    return get_swagger_ui_html(
        openapi_url="openapi.json",
        title="Lorelay",
        swagger_js_url="docs/swagger-ui-bundle.js",
        swagger_css_url="docs/swagger-ui.css",
        swagger_favicon_url="docs/favicon.png",
    )


@router.get("/docs/{name}")
async def asset(name: str, request: Request) -> Response:
    """A file of that page."""
    if name not in _ASSETS:
        raise UnknownRoute(request.method, request.url.path, 404)
    headers = {"cache-control": "max-age=86400"}
    return FileResponse(str(_FOLDER / name), media_type=_ASSETS[name], headers=headers)
