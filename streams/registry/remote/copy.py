"""An adapter's folder elsewhere as a folder here, for as long as it is looked at."""

import asyncio
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from streams.registry.artifact import CONFIG, MAX_BYTES, MAX_CONFIG_BYTES, WEIGHTS
from streams.registry.files import MissingArtifact
from streams.registry.remote.download import download, here
from streams.registry.remote.opened import NotThere
from streams.registry.remote.places import Place, allowed_place
from streams.registry.remote.settings import RemoteSettings


@contextmanager
def copied(uri: str, settings: RemoteSettings, optional: dict[str, int]) -> Iterator[Path]:
    """A folder with PEFT's two files, and those of the ``optional`` ones that are there.

    ``optional`` has how many bytes each may have. Blocks while it downloads. Raises
    MissingArtifact, or UnsoundArtifact for files that are too large.
    """
    place = allowed_place(uri, settings.sources)
    with tempfile.TemporaryDirectory(prefix="lorelay-adapter-") as name:
        folder = Path(name)
        here(_copy(place, folder, settings, optional))
        yield folder


_REQUIRED: Final = {CONFIG: MAX_CONFIG_BYTES, WEIGHTS: MAX_BYTES}


async def _copy(
    place: Place, folder: Path, settings: RemoteSettings, optional: dict[str, int]
) -> None:
    try:
        async with asyncio.timeout(settings.adapter_fetch_seconds):
            for name, max_bytes in (_REQUIRED | optional).items():
                await _copy_file(place, folder / name, settings, max_bytes, name in optional)
    except TimeoutError as error:
        raise MissingArtifact(
            f"{place} was not here after {settings.adapter_fetch_seconds:g} s."
        ) from error
    except OSError as error:
        raise MissingArtifact(f"{place} can't be written to {folder}: {error.strerror}.") from error


async def _copy_file(
    place: Place, path: Path, settings: RemoteSettings, max_bytes: int, may_lack: bool
) -> None:
    try:
        with path.open("xb") as target:
            await download(
                place,
                path.name,
                target,
                sources=settings.sources,
                idle_s=settings.adapter_idle_seconds,
                max_bytes=max_bytes,
            )
    except NotThere:
        os.unlink(path)
        if not may_lack:
            raise
