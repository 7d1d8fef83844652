"""Where this user's programs keep what they can make or fetch again."""

import os
from pathlib import Path

from schemas.errors import ConfigurationError


def user_cache(name: str) -> Path:
    """Lorelay's folder ``name`` there (XDG Base Directory Specification); it may not exist.

    Raises ConfigurationError where the user has no home folder.
    """
    caches = Path(os.environ.get("XDG_CACHE_HOME", ""))
    if not caches.is_absolute():
        try:
            caches = Path.home() / ".cache"
        except RuntimeError:
            raise ConfigurationError(
                "You have no home folder to keep files in: set XDG_CACHE_HOME to a folder, by its "
                "whole path."
            ) from None
    return caches / "lorelay" / name
