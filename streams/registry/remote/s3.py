"""Reads a file from S3 or a store that speaks its protocol.

Address and credentials are those of s3fs: AWS_* variables and files, an instance's role, and
FSSPEC_S3_* variables.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

import fsspec
import fsspec.config

from streams.registry.remote.opened import RemoteFile, broken, not_there, refused, silent

_CHUNK_BYTES: Final = 1 << 20
_MOST_ATTEMPTS: Final = 2


@asynccontextmanager
async def opened_s3(url: str, idle_s: float) -> AsyncIterator[RemoteFile]:
    """The object at ``url``. Raises MissingArtifact, also while reading; runs on fsspec's loop."""
    import aiohttp
    from botocore.exceptions import (
        BotoCoreError,
        ConnectTimeoutError,
        NoCredentialsError,
        ReadTimeoutError,
    )

    store = _store(idle_s)
    bucket, key, _ = store.split_path(url)
    try:
        try:
            found = await store._call_s3("get_object", Bucket=bucket, Key=key)
        except FileNotFoundError as error:
            raise not_there(url) from error
        except (PermissionError, NoCredentialsError) as error:
            raise refused(url) from error
        except BotoCoreError:
            raise  # its time-outs are OSErrors, too
        except OSError as error:  # whatever else S3 answers
            raise broken(url, str(error)) from error
        async with found["Body"] as body:
            yield RemoteFile(url, found.get("ContentLength"), body.iter_chunks(_CHUNK_BYTES))
    except (ReadTimeoutError, ConnectTimeoutError, aiohttp.ServerTimeoutError) as error:
        raise silent(url, idle_s) from error
    except (BotoCoreError, aiohttp.ClientError) as error:
        raise broken(url, str(error)) from error


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
