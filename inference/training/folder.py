"""An output folder that is either complete or not there at all."""

import errno
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError

from schemas.errors import ConfigurationError, LorelayError


class FolderKept(LorelayError):
    """The files are complete, but not where they were to go; the message says where they are."""


def check_free(out: Path, force: bool) -> None:
    """Raise ConfigurationError unless a folder can be written and renamed to `out`: it is tried.

    What `out` holds may be lost only by `force`. Missing parents are made; `out` stays as it is.
    """
    _, partial = _begin(out, force)
    shutil.rmtree(partial, ignore_errors=True)


@contextmanager
def complete_folder(out: Path, force: bool = False) -> Iterator[Path]:
    """A folder beside `out` to write into, which takes `out`'s place when the block succeeds.

    An `out` that is empty and can't be replaced, such as a mounted volume, is filled in place.
    Files get mode 0644 (safetensors writes 0600, which another user's worker cannot read). When
    the block raises, `out` is as it was. Where the new folder can't take the place after all, so
    it is too, and FolderKept says where the new one is. A process that dies leaves `out` as it
    was, or, between two renames, what it held in a hidden folder beside it.
    """
    real, partial = _begin(out, force)
    try:
        yield partial
        _make_readable(partial)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    try:
        _place(partial, real)
    except OSError as error:
        raise _kept(partial, out, error, _replaced(partial)) from error


def write_folder(out: Path, write: Callable[[Path], None], force: bool = False) -> None:
    """Have `write` fill a folder that takes `out`'s place, as `complete_folder` says.

    Where that can't be written, on a full disk for one, `write` fills a new folder beside `out`,
    else among the system's temporary ones; then FolderKept says where it is.
    """
    try:
        with complete_folder(out, force) as folder:
            write(folder)
    except (ConfigurationError, OSError, SafetensorError) as error:
        for parent in (Path(os.path.realpath(out)).parent, None):
            if (kept := _written_in(parent, out.name, write)) is not None:
                raise _kept(kept, out, error) from error
        raise LorelayError(
            f"{out} could not be written ({_reason(error)}), nor could a temporary folder, so "
            "what was to be written is lost; make room and try again."
        ) from error


def _begin(out: Path, force: bool) -> tuple[Path, Path]:
    """(`out` without symlinks, a new folder that can take its place or, being in it, fill it)."""
    real = Path(os.path.realpath(out))
    try:
        if os.path.lexists(real) and not real.is_dir():
            raise ConfigurationError(f"{out} is a file; --out names the folder to write.")
        full = real.is_dir() and any(real.iterdir())
        if full and not force:
            raise ConfigurationError(f"The folder {out} is not empty; use --force to replace it.")
        try:
            return real, _beside(real)
        except OSError as error:
            if full:
                raise ConfigurationError(
                    f"{out} can't be replaced ({error.strerror}); empty it, or name a folder in "
                    "it with --out."
                ) from None
            if not real.is_dir():
                raise
            return real, _within(real)
    except OSError as error:
        raise ConfigurationError(
            f"{out} can't be written ({error.strerror}); name another folder with --out."
        ) from None


def _beside(out: Path) -> Path:
    """A new folder beside `out`; OSError where it could not take `out`'s place."""
    if not out.parent.exists():
        out.parent.mkdir(parents=True, exist_ok=True)
    made = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.parent))
    partial = made.with_name(f"{made.name}.partial")
    try:
        (made / "trial").write_bytes(b"trial")
        made.rename(partial)
        if out.exists():
            _try_to_move(out, partial)
        (partial / "trial").unlink()
    except OSError:
        for folder in (made, partial):
            shutil.rmtree(folder, ignore_errors=True)
        raise
    return partial


def _try_to_move(out: Path, onto: Path) -> None:
    """OSError if `out` can't be renamed, which it never is: `onto` is a folder with a file in it.

    Permissions and mounts are looked at before that: rename(2) fails with ENOTEMPTY only where
    nothing else is in the way.
    """
    try:
        out.rename(onto)
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise


def _within(out: Path) -> Path:
    """A new folder in `out`; OSError where its files could not be moved into `out`."""
    partial = Path(tempfile.mkdtemp(prefix=".", suffix=".partial", dir=out))
    trial = partial / "trial"
    try:
        trial.write_bytes(b"trial")
        trial.rename(out / f"{partial.name}.trial").unlink()
    except OSError:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    return partial


def _make_readable(folder: Path) -> None:
    folder.chmod(0o755)
    for path in folder.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)


def _place(partial: Path, out: Path) -> None:
    """Make `partial` `out`, or raise and leave both as they are."""
    if partial.parent == out:
        _move_up(partial, out)
    elif out.exists():
        replaced = _replaced(partial)
        out.rename(replaced)
        try:
            partial.rename(out)
        except BaseException:
            replaced.rename(out)
            raise
        shutil.rmtree(replaced, ignore_errors=True)
    else:
        partial.rename(out)


def _move_up(partial: Path, out: Path) -> None:
    moved: list[Path] = []
    try:
        # By name, so metadata.json comes last: without it the folder is no adapter's.
        for path in sorted(partial.iterdir()):
            moved.append(path.rename(out / path.name))
    except BaseException:
        for path in moved:
            path.rename(partial / path.name)
        raise
    shutil.rmtree(partial, ignore_errors=True)


def _replaced(partial: Path) -> Path:
    """Where what `out` held is while `partial` takes its place."""
    return partial.with_suffix(".replaced")


def _written_in(parent: Path | None, name: str, write: Callable[[Path], None]) -> Path | None:
    """A new folder that `write` has filled, None where it can't; `parent` None: a temporary one."""
    try:
        folder = Path(tempfile.mkdtemp(prefix=f"{name}-", dir=parent))
    except OSError:
        return None
    try:
        write(folder)
        _make_readable(folder)
    except (OSError, SafetensorError):
        shutil.rmtree(folder, ignore_errors=True)
        return None
    return folder


def _kept(folder: Path, out: Path, error: Exception, old: Path | None = None) -> FolderKept:
    return FolderKept(
        f"The new files are complete, but {out} could not be written ({_reason(error)}): move "
        f"them there from {folder}"
        + (f"; what it held before is in {old}." if old and old.exists() else ".")
    )


def _reason(error: Exception) -> str:
    return ((error.strerror if isinstance(error, OSError) else None) or str(error)).rstrip(".")
