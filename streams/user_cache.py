"""Where this user's programs keep what they can make or fetch again."""

import os
from pathlib import Path


def user_cache(name: str) -> Path:
    """Lorelay's folder ``name`` there (XDG Base Directory Specification); it may not exist.

    Raises RuntimeError where the user has no home folder.
    """
    caches = Path(os.environ.get("XDG_CACHE_HOME", ""))
    if not caches.is_absolute():
        caches = Path.home() / ".cache"
    return caches / "lorelay" / name
