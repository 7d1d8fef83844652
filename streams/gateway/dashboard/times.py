"""Times as the page takes them. Pure."""

from datetime import datetime


def milliseconds(time: datetime | None) -> int | None:
    """Since 1970."""
    return None if time is None else round(time.timestamp() * 1000)
