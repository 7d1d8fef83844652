"""An output folder that is either complete or not there at all."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from schemas.errors import ConfigurationError


def check_free(out: Path, force: bool) -> None:
    """Raise ConfigurationError if `out` holds something and `force` does not allow its loss."""
    if out.exists() and not out.is_dir():
        raise ConfigurationError(f"{out} is a file; --out names the folder to write.")
    if out.is_dir() and any(out.iterdir()) and not force:
        raise ConfigurationError(f"The folder {out} is not empty; use --force to replace it.")


@contextmanager
def complete_folder(out: Path, force: bool = False) -> Iterator[Path]:
    """A folder beside `out` to write into, which takes `out`'s place when the block succeeds.

    Files get mode 0644 (safetensors writes 0600, which another user's worker cannot read). When
    the block raises, or the process dies, `out` is as it was.
    """
    check_free(out, force)
    out = out.absolute()
    out.parent.mkdir(parents=True, exist_ok=True)
    partial = out.with_name(f".{out.name}.{os.getpid()}.partial")
    replaced = out.with_name(f".{out.name}.{os.getpid()}.replaced")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(mode=0o755)
    try:
        yield partial
        for file in partial.rglob("*"):
            file.chmod(0o755 if file.is_dir() else 0o644)
        if out.exists():
            out.rename(replaced)
        partial.rename(out)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
        shutil.rmtree(replaced, ignore_errors=True)
