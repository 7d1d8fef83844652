"""Users' keys: what each allows, and the file that they are kept in, hashed."""

import fcntl
import os
import secrets
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from stat import S_IMODE
from typing import Any, Final

import orjson
from pydantic import TypeAdapter, ValidationError

from schemas.errors import ConfigurationError

_PREFIX: Final = "lk-"
_SECRET_BYTES: Final = 32


@dataclass(frozen=True, slots=True)
class Key:
    """What a key allows; None is no limit. Its text is known to its owner alone.

    `priority` is the highest that its queries get.
    """

    id: str
    sha256: str
    tenant: str
    name: str | None = None
    requests_per_minute: int | None = None
    tokens_per_day: int | None = None
    most_at_once: int | None = None
    priority: int = 9
    created_at: datetime | None = None
    revoked_at: datetime | None = None


_KEYS: Final = TypeAdapter(list[Key])


def digest(text: str) -> str:
    """What is kept of a key. Of 256 random bits nobody guesses one, so no slow hash is needed."""
    return sha256(text.encode()).hexdigest()


def make_key(tenant: str, now: datetime, **limits: Any) -> tuple[Key, str]:
    """A new key, and its text, which is kept nowhere."""
    number = secrets.token_hex(4)
    text = f"{_PREFIX}{number}-{secrets.token_urlsafe(_SECRET_BYTES)}"
    return Key(number, digest(text), tenant, created_at=now, **limits), text


def read_keys(path: Path) -> list[Key]:
    """The keys of a file. Raises: ConfigurationError where it can't be read."""
    try:
        return _KEYS.validate_json(path.read_bytes())
    except OSError as error:
        raise ConfigurationError(
            f"The keys in {path} can't be read ({error.strerror}); `lorelay gateway keys add` "
            "makes the file."
        ) from error
    except ValidationError as error:
        raise ConfigurationError(
            f"{path} is no file of keys as `lorelay gateway keys` writes it."
        ) from error


def change_keys(path: Path, change: Callable[[list[Key]], Sequence[Key]]) -> None:
    """Replaces the file by what `change` makes of its keys.

    A new one only its owner may read; one that was there keeps its owner, group and mode, for the
    gateway may run as somebody else than who changes it. One change at a time, and whole or not at
    all. Raises: ConfigurationError.
    """
    try:
        with _lock(path.parent):
            keys = change(read_keys(path) if path.exists() else [])
            _write(path, orjson.dumps([asdict(k) for k in keys], option=orjson.OPT_INDENT_2))
    except OSError as error:
        raise ConfigurationError(f"{path} can't be written ({error.strerror}).") from error


def _write(path: Path, content: bytes) -> None:
    partial = path.with_name(f".{path.name}.{os.getpid()}.part")
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        with open(descriptor, "wb") as file:
            if path.exists():
                _keep_rights(path.stat(), descriptor)
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except OSError:
        partial.unlink(missing_ok=True)
        raise


def _keep_rights(old: os.stat_result, descriptor: int) -> None:
    new = os.fstat(descriptor)
    if (new.st_uid, new.st_gid) != (old.st_uid, old.st_gid):
        os.fchown(descriptor, old.st_uid, old.st_gid)
    os.fchmod(descriptor, S_IMODE(old.st_mode))


@contextmanager
def _lock(folder: Path) -> Iterator[None]:
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError as error:
        raise ConfigurationError(f"There is no folder {folder} for the keys.") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
