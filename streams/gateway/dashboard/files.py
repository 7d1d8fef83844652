"""The files of the page, as the package holds them."""

from hashlib import sha256
from importlib.resources import files
from typing import Final

from starlette.responses import Response

_TYPES: Final = {
    "html": "text/html; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
}

_FILES: Final = {
    file.name: file.read_bytes()
    for file in sorted((files(__package__) / "page").iterdir(), key=lambda file: file.name)
    if file.name.rpartition(".")[2] in _TYPES
}

DIGEST: Final = sha256(b"".join(_FILES.values())).hexdigest()[:16]
"""Names this state of the page: one of another state loads itself anew."""

#: Nothing from elsewhere, no inline script or style, and no string that becomes HTML.
_HEADERS: Final = {
    "content-security-policy": "; ".join(
        [
            "default-src 'none'",
            *(f"{kind}-src 'self'" for kind in ("script", "style", "img", "connect")),
            *(f"{kind} 'none'" for kind in ("base-uri", "form-action", "frame-ancestors")),
            "require-trusted-types-for 'script'",
            "trusted-types 'none'",
        ]
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-cache",
}


def page_file(name: str) -> Response | None:
    """The file as a response; None where there is none of that name."""
    content = _FILES.get(name)
    if content is None:
        return None
    media_type = _TYPES[name.rpartition(".")[2]]
    return Response(content, headers=_HEADERS, media_type=media_type)
