"""An encoder's weights without the compression that they are packed with.

Decompressing them is most of what loading USE multilingual takes: 0.70 s of CPU of 0.89, and 0.15
without. Every router and every `adapters register` does it.
"""

import logging
from collections.abc import Callable
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from tempfile import NamedTemporaryFile
from time import time
from typing import TypeVar
from zipfile import BadZipFile, ZipFile

import numpy as np

from schemas.errors import ConfigurationError
from streams.user_cache import user_cache

log = logging.getLogger(__name__)

_PART = ".part"
_LONG_AGO_SECONDS = 3600.0

Loaded = TypeVar("Loaded")


def load_unpacked(packed: Path, load: Callable[[Path], Loaded]) -> Loaded:
    """What ``load`` makes of the weights in ``packed``, an .npz file, or of an unpacked copy.

    The copy is kept in the user's cache folder. One that can't be read is made anew; where none
    can be kept, ``packed`` itself is loaded.
    """
    try:
        contents = _contents(packed)
        copy = user_cache("encoders") / f"{sha256(repr(contents).encode()).hexdigest()[:16]}.npz"
        if copy.is_file():
            with suppress(BadZipFile, ValueError, KeyError, EOFError):
                if _contents(copy) == contents:
                    return load(copy)
            log.warning("%s is damaged and made anew", copy)
        _unpack(packed, copy)
    except (OSError, ConfigurationError) as error:
        log.debug("%s stays packed: %s", packed, error)
        return load(packed)
    return load(copy)


def _contents(file: Path) -> list[tuple[str, int, int]]:
    """(name, size, checksum) of each array; who reads an array compares it with its checksum."""
    with ZipFile(file) as archive:
        return sorted((array.filename, array.file_size, array.CRC) for array in archive.infolist())


def _unpack(packed: Path, copy: Path) -> None:
    """Whole or not at all, whoever else does the same meanwhile."""
    copy.parent.mkdir(parents=True, exist_ok=True)
    for part in copy.parent.glob(f"*{_PART}"):
        # Of one that was killed.
        if time() - part.stat().st_mtime > _LONG_AGO_SECONDS:
            part.unlink(missing_ok=True)
    with NamedTemporaryFile(dir=copy.parent, suffix=_PART, delete=False) as part_file:
        try:
            with np.load(packed, allow_pickle=False) as arrays:
                np.savez(part_file, allow_pickle=False, **arrays)
            part_file.flush()
            Path(part_file.name).replace(copy)
        except BaseException:
            Path(part_file.name).unlink(missing_ok=True)
            raise
