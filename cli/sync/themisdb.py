"""The adapters' routes of a ThemisDB, as its client sees them."""

from collections.abc import Mapping
from types import TracebackType
from typing import Any, Final, Self
from urllib.parse import quote

import httpx
from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from schemas.errors import LorelayError

_SECONDS: Final = 30.0


class SyncSettings(BaseSettings):
    """What is no option, as it is a secret."""

    model_config = SettingsConfigDict(env_prefix="LORELAY_")

    themisdb_token: SecretStr | None = Field(
        default=None, description="The bearer token that ThemisDB wants."
    )


class SyncFailed(LorelayError):
    """ThemisDB does not answer, or not as it should."""

    code = "sync_failed"


class ThemisDb:
    """Its registry; an async context manager."""

    def __init__(self, url: str, token: SecretStr | None) -> None:
        self._url = url.rstrip("/")
        secret = f"Bearer {token.get_secret_value()}".encode() if token else b""
        headers = {b"authorization": secret} if token else {}
        self._http = httpx.AsyncClient(headers=headers, timeout=_SECONDS)

    async def __aenter__(self) -> Self:
        await self._http.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._http.__aexit__(kind, error, traceback)

    async def versions(self) -> list[dict[str, Any]]:
        """The entries of its registry. Raises: SyncFailed."""
        found = await self._get("/api/adapters/registry")
        entries = found.get("adapters") if isinstance(found, dict) else None
        if not isinstance(entries, list):
            raise SyncFailed(f"{self._url}/api/adapters/registry answers with no list of adapters.")
        for entry in entries:
            names = entry if isinstance(entry, dict) else {}
            if not all(isinstance(names.get(n), str) for n in ("adapter_id", "adapter_version")):
                raise SyncFailed(f"{self._url} lists an adapter without an id and a version.")
        return entries

    async def metadata(self, adapter_id: str, version: str) -> dict[str, Any]:
        """All that it knows of that version. Raises: SyncFailed."""
        found = await self._get(f"/api/adapters/{quote(adapter_id, safe='')}@{version}/metadata")
        if found is None:  # a ThemisDB knows its adapters by their ids alone
            found = await self._get(f"/api/adapters/{quote(adapter_id, safe='')}/metadata")
        if not isinstance(found, dict):
            raise SyncFailed(f"{self._url} has no metadata of {adapter_id}.")
        stated = found.setdefault("adapter_version", version)
        if stated != version:
            raise SyncFailed(f"{self._url} has metadata of version {stated} only.")
        return found

    async def push(self, row: Mapping[str, Any]) -> None:
        """Hands it a row of `adapter_metrics`. Raises: SyncFailed."""
        path = f"/api/adapters/{quote(str(row['adapter_id']), safe='')}/metrics"
        await self._answer("POST", path, row)

    async def _get(self, path: str) -> Any:
        """What is there; None where nothing is."""
        response = await self._answer("GET", path)
        if response.status_code == httpx.codes.NOT_FOUND:
            return None
        try:
            return response.json()
        except (ValueError, RecursionError) as error:
            raise SyncFailed(f"{self._url}{path} answers with no JSON.") from error

    async def _answer(
        self, method: str, path: str, content: Mapping[str, Any] | None = None
    ) -> httpx.Response:
        try:
            response = await self._http.request(method, self._url + path, json=content)
        except (httpx.HTTPError, httpx.InvalidURL, ExceptionGroup) as error:
            # The last is anyio's, for a port that no host has.
            raise SyncFailed(f"{self._url} does not answer ({error!r}).") from error
        if response.status_code in (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN):
            raise SyncFailed(
                f"{self._url} does not let us in ({response.status_code}): LORELAY_THEMISDB_TOKEN "
                "has to be its admin's token."
            )
        is_missing = method == "GET" and response.status_code == httpx.codes.NOT_FOUND
        if response.is_error and not is_missing:
            raise SyncFailed(f"{self._url}{path} answers with {response.status_code}.")
        return response
