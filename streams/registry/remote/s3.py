"""Reads files from S3 or a store that speaks its protocol.

Address and credentials are those of s3fs: AWS_* variables and files, an instance's role, and
FSSPEC_S3_* variables. All runs on fsspec's loop.
"""

from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Final

import fsspec
import fsspec.config

from streams.registry.files import MissingArtifact
from streams.registry.remote.opened import RemoteFile, broken, not_there, refused, silent

_CHUNK_BYTES: Final = 1 << 20
_MOST_ATTEMPTS: Final = 2
_CREDENTIALS: Final = "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, AWS_PROFILE, or a role"


@asynccontextmanager
async def opened_s3(url: str, idle_s: float) -> AsyncIterator[RemoteFile]:
    """The object at ``url``. Raises MissingArtifact, also while reading."""
    store = _store(idle_s)
    bucket, key, _ = store.split_path(url)
    with _failures(url, idle_s):
        with _refusals(url, bucket):
            found = await store._call_s3("get_object", Bucket=bucket, Key=key)
        async with found["Body"] as body:
            yield RemoteFile(url, found.get("ContentLength"), body.iter_chunks(_CHUNK_BYTES))


async def listed_s3(folder: str, idle_s: float) -> Mapping[str, int]:
    """Names and sizes of the objects right below it, of the first thousand. Raises
    MissingArtifact."""
    store = _store(idle_s)
    bucket, key, _ = store.split_path(folder)
    prefix = f"{key}/" if key else ""
    with _failures(folder, idle_s), _refusals(folder, bucket):
        found = await store._call_s3("list_objects_v2", Bucket=bucket, Prefix=prefix, Delimiter="/")
    return {entry["Key"][len(prefix) :]: entry["Size"] for entry in found.get("Contents", ())}


@contextmanager
def _failures(url: str, idle_s: float) -> Iterator[None]:
    """Raises MissingArtifact for what breaks between us and the store."""
    import aiohttp
    from botocore.exceptions import BotoCoreError, ConnectTimeoutError, ReadTimeoutError

    try:
        yield
    except (ReadTimeoutError, ConnectTimeoutError, aiohttp.ServerTimeoutError) as error:
        raise silent(url, idle_s) from error
    except (BotoCoreError, aiohttp.ClientError) as error:
        raise broken(url, str(error)) from error


@contextmanager
def _refusals(url: str, bucket: str) -> Iterator[None]:
    """Raises MissingArtifact for what the store answers in place of what it was asked for."""
    from botocore.exceptions import BotoCoreError, NoCredentialsError, PartialCredentialsError

    try:
        yield
    except FileNotFoundError as error:
        if _code(error) == "NoSuchBucket":
            raise MissingArtifact(
                f"There is no bucket {bucket}; AWS_ENDPOINT_URL and AWS_PROFILE say in which "
                "store it is looked for."
            ) from error
        raise not_there(url) from error
    except (NoCredentialsError, PartialCredentialsError) as error:
        raise MissingArtifact(
            f"{url} can't be read: this process's environment has no credentials for S3; set "
            f"{_CREDENTIALS}."
        ) from error
    except PermissionError as error:
        raise refused(url, _CREDENTIALS) from error
    except BotoCoreError:
        raise  # its time-outs are OSErrors, too
    except OSError as error:  # whatever else S3 answers
        raise broken(url, str(error)) from error


def _code(error: OSError) -> str:
    """What S3 calls the error."""
    answer: Any = getattr(error.__cause__, "response", {})
    return str(answer.get("Error", {}).get("Code", ""))


def _store(idle_s: float) -> Any:
    """One for the whole process, as fsspec keeps them; its client is made at the first call."""
    config = fsspec.config.conf.get("s3", {}).get("config_kwargs", {}) | {
        "connect_timeout": idle_s,
        "read_timeout": idle_s,
        "retries": {"total_max_attempts": _MOST_ATTEMPTS},
    }
    store = fsspec.filesystem("s3", config_kwargs=config)
    store.retries = 1  # the client beneath tries again already
    return store
