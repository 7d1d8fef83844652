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
from typing import TypeVar
from zipfile import BadZipFile, ZipFile

import numpy as np

from streams.user_cache import user_cache

log = logging.getLogger(__name__)

Loaded = TypeVar("Loaded")


def load_unpacked(packed: Path, load: Callable[[Path], Loaded]) -> Loaded:
    """What ``load`` makes of the weights in ``packed``, an .npz file, or of an unpacked copy.

    The copy is kept in the user's cache folder. One that can't be read is made anew; where none
    can be kept, ``packed`` itself is loaded.
    """
    try:
        copy = _place(packed)
        if copy.exists():
            # numpy leaves a file open that is no archive.
            with suppress(BadZipFile, ValueError, KeyError, EOFError), ZipFile(copy):
                return load(copy)
            log.warning("%s is damaged and made anew", copy)
        _unpack(packed, copy)
    except (OSError, RuntimeError) as error:
        log.debug("%s stays packed: %s", packed, error)
        return load(packed)
    return load(copy)


def _place(packed: Path) -> Path:
    """Named after what is in ``packed``, as its table of contents tells it."""
    with ZipFile(packed) as archive:
        contents = [(array.filename, array.file_size, array.CRC) for array in archive.infolist()]
    return user_cache("encoders") / f"{sha256(repr(contents).encode()).hexdigest()[:16]}.npz"


def _unpack(packed: Path, copy: Path) -> None:
    """Whole or not at all, whoever else does the same meanwhile."""
    copy.parent.mkdir(parents=True, exist_ok=True)
    with NamedTemporaryFile(dir=copy.parent, suffix=".part", delete=False) as part:
        try:
            with np.load(packed, allow_pickle=False) as arrays:
                np.savez(part, allow_pickle=False, **arrays)
            Path(part.name).replace(copy)
        except BaseException:
            Path(part.name).unlink(missing_ok=True)
            raise
