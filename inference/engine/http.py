"""Any OpenAI-compatible server as an engine, a remote vLLM above all.

Adapters are loaded through vLLM's ``/v1/load_lora_adapter`` where the server allows it
(``VLLM_ALLOW_RUNTIME_LORA_UPDATING=1``); else they must be among its models under their
``id@version``. The adapter's folder has to lie at the same path on the server's machine.

Times are the server's own if it sends them (vLLM does with ``--enable-per-request-metrics``).
Else ``inference_ms`` is measured here, from the request to its last byte, so it holds the
server's queue and the network; ``first_token_ms`` is known only when streaming.
"""

from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from time import monotonic
from typing import Any

import httpx

from inference.engine.config import EngineSettings
from inference.engine.http_answer import Answer, send, streamed, whole
from inference.engine.http_errors import (
    UnknownModel,
    message_of,
    refuse,
    shape_errors,
    transport_errors,
)
from inference.engine.prompt import adapter_text, check_sampling, conversation, lines
from inference.engine.protocol import (
    Completion,
    Delta,
    EngineLimits,
    Generation,
    LoadedAdapter,
)
from inference.engine.running import Running, check_loadable
from schemas.errors import (
    AdapterUnavailable,
    ConfigurationError,
    EngineError,
    EngineUnavailable,
    RequestError,
)
from schemas.records import BaseModel

_DEFAULT_CONTEXT = 4096
_DEFAULT_SEQUENCES = 64
_IDLE_S = 2.0  # well below the 5 s after which vLLM's server closes an idle connection
_TOKENS = ("vllm:prompt_tokens_total", "vllm:generation_tokens_total")


class HttpEngine:
    """Sends each request to ``settings.http_url`` and reads the answer from there."""

    def __init__(
        self, settings: EngineSettings, transport: httpx.AsyncBaseTransport | None = None
    ) -> None:
        self._settings = settings
        self._transport = transport
        self._client: httpx.AsyncClient | None = None
        self._limits: EngineLimits | None = None
        self._running = Running()
        self._is_vllm = False
        self._base_name = ""

    @property
    def limits(self) -> EngineLimits:
        """The server's where it tells them, else the settings'."""
        if self._limits is None:
            raise EngineUnavailable(f"{self._settings.http_url} was not reached yet.")
        return self._limits

    async def start(self) -> None:
        """Ask the server for its models; EngineUnavailable if it can't be reached."""
        settings = self._settings
        key = settings.http_api_key
        secret = f"Bearer {key.get_secret_value()}".encode() if key else b""
        headers = {b"Authorization": secret} if key else {}
        self._client = httpx.AsyncClient(
            base_url=settings.http_url,
            headers=headers,
            timeout=httpx.Timeout(settings.http_timeout_s, connect=10.0),
            # The worker bounds what is in flight; a pool of its own would only queue once more.
            limits=httpx.Limits(
                max_connections=None, max_keepalive_connections=256, keepalive_expiry=_IDLE_S
            ),
            transport=self._transport,
        )
        models = await self._models()
        wanted = settings.served_model_name or settings.model
        base = models.get(wanted) if wanted else next(iter(models.values()), None)
        if base is None:
            raise ConfigurationError(
                f"{settings.http_url} serves {', '.join(models) or 'no model'}, not {wanted}."
            )
        self._base_name = base["id"]
        self._is_vllm = base.get("owned_by") == "vllm"
        self._limits = EngineLimits(
            base_model=BaseModel(settings.served_model_name or base["id"], settings.model_version),
            max_model_len=settings.max_model_len or base.get("max_model_len") or _DEFAULT_CONTEXT,
            max_num_seqs=settings.max_num_seqs or _DEFAULT_SEQUENCES,
            max_loras=settings.max_loras if settings.enable_lora else 0,
            max_cpu_loras=settings.resident_adapters,
            max_lora_rank=settings.max_lora_rank,
        )

    async def stop(self) -> None:
        """End what runs with EngineUnavailable and close the connections."""
        self._running.end_all(EngineUnavailable("The engine was stopped."))
        self._running = Running()
        client, self._client, self._limits = self._client, None, None
        if client is not None:
            await client.aclose()

    async def load(self, adapter: LoadedAdapter) -> None:
        """Have the server load the adapter, or find it among the server's models."""
        async with self._running.changing(adapter.key):
            loaded = self._running.adapters
            if adapter.key in loaded:
                return
            check_loadable(adapter, self.limits, len(loaded))
            if adapter.key not in await self._models():
                await self._load_at_runtime(adapter)
            self._running.admit(adapter)

    async def unload(self, key: str) -> None:
        """Refuse new requests for ``key``, wait for the running ones, then have it unloaded."""
        async with self._running.changing(key):
            if await self._running.retire(key):
                # A server without run-time loading answers 404 and keeps what it serves.
                await self._post("/v1/unload_lora_adapter", {"lora_name": key})

    async def generate(self, generation: Generation) -> AsyncGenerator[Delta | Completion, None]:
        """See the protocol."""
        client = self._connected()
        check_sampling(generation.sampling)
        with self._running.track(generation) as request, transport_errors():
            body, path = self._body(generation)
            answer = Answer(monotonic())
            pieces = streamed if generation.stream else whole
            async with aclosing(pieces(client, path, body)) as events:
                while True:
                    try:
                        with request.interruptible():
                            event = await anext(events, None)
                    except UnknownModel as error:
                        raise await self._forgotten(generation.adapter, error) from error
                    if event is None:
                        break
                    text = answer.add(event)
                    if generation.stream and text:
                        yield Delta(text, 1)
            request.check()
            completion = answer.completion(monotonic(), timed=generation.stream)
        yield completion

    async def abort(self, request_id: str) -> None:
        """End that request with Cancelled; vLLM aborts it when its connection closes."""
        self._running.abort(request_id)

    def metrics_text(self) -> bytes:
        """Nothing: the server's metrics are to be had at the server."""
        return b""

    async def progress(self) -> int | None:
        """Tokens that a vLLM server has read and written, for all its clients; else None.

        Its own count, since a request that does not stream shows nothing until its end.
        """
        if not self._is_vllm:
            return None
        try:
            with transport_errors():
                response = await self._get("/metrics")
        except RequestError:
            return None
        counts = [
            float(line.rpartition(" ")[2])
            for line in response.text.splitlines()
            if line.startswith(_TOKENS)
        ]
        return int(sum(counts)) if counts else None

    async def healthy(self) -> bool:
        """Whether the server lists its models."""
        try:
            return bool(await self._models())
        except RequestError:
            return False

    def _connected(self) -> httpx.AsyncClient:
        if self._client is None:
            raise EngineUnavailable("The engine is not running.")
        return self._client

    async def _models(self) -> dict[str, Any]:
        with transport_errors():
            response = await self._get("/v1/models")
        await refuse(response)
        with shape_errors():
            return {model["id"]: model for model in response.json()["data"]}

    async def _get(self, path: str) -> httpx.Response:
        client = self._connected()
        return await send(client, client.build_request("GET", path, timeout=10.0))

    async def _post(self, path: str, body: Mapping[str, Any]) -> httpx.Response:
        client = self._connected()
        with transport_errors():
            return await send(client, client.build_request("POST", path, json=body))

    async def _load_at_runtime(self, adapter: LoadedAdapter) -> None:
        body = {"lora_name": adapter.key, "lora_path": adapter.path}
        response = await self._post("/v1/load_lora_adapter", body)
        if response.status_code in (404, 405) and "No adapter found" not in response.text:
            raise AdapterUnavailable(
                adapter.key,
                "the server does not serve it and loads nothing at run time; start it with "
                f"VLLM_ALLOW_RUNTIME_LORA_UPDATING=1 or --lora-modules {adapter.key}=PATH.",
            )
        if response.is_error:
            raise AdapterUnavailable(adapter.key, message_of(response))

    async def _forgotten(self, adapter: LoadedAdapter | None, error: RequestError) -> RequestError:
        """What to raise for a model that the server should have: it may have been restarted."""
        if adapter is None:
            return EngineError(str(error))
        await self._load_at_runtime(adapter)
        return AdapterUnavailable(adapter.key, "the server had lost it and has loaded it again.")

    def _body(self, generation: Generation) -> tuple[dict[str, Any], str]:
        """The request's JSON and the path it goes to."""
        sampling = generation.sampling
        body: dict[str, Any] = {
            "model": generation.adapter.key if generation.adapter else self._base_name,
            "max_tokens": sampling.max_tokens,
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "seed": sampling.seed,
            "stop": list(sampling.stop) or None,
            "stream": generation.stream or None,
            "stream_options": {"include_usage": True} if generation.stream else None,
        }
        if self._settings.http_priority:
            body["priority"] = generation.rank
        text = adapter_text(generation)
        if text is None and self._settings.http_endpoint == "chat":
            path = "/v1/chat/completions"
            body["messages"] = [
                {"role": turn.role, "content": turn.content} for turn in conversation(generation)
            ]
        else:
            path = "/v1/completions"
            body["prompt"] = lines(conversation(generation)) if text is None else text
        body = {name: value for name, value in body.items() if value is not None}
        if self._is_vllm and path == "/v1/completions":
            # Left out it would be 16 for vLLM here; null is what the context leaves, as in chats.
            body["max_tokens"] = sampling.max_tokens
        return body, path
