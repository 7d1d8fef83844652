"""OpenTelemetry's metrics for generative AI: of a gateway, who asks, and of a worker, who serves.

They are kept beside our own. Their labels (what was asked, chat or not, the error) and their
buckets are others, so that neither can be made of the other.
"""

from collections.abc import Iterable

from prometheus_client import CollectorRegistry

from schemas.records import ErrorInfo, Query, Response
from streams.telemetry import names
from streams.telemetry.durations import DurationHistogram
from streams.telemetry.families import histogram
from streams.telemetry.operations import PROVIDER, SELECTION, operation_of
from streams.telemetry.responses import AdapterLabels


class ClientMetrics:
    """The questions of a gateway's clients."""

    def __init__(self, registry: CollectorRegistry, adapters: AdapterLabels) -> None:
        self._operation = histogram(names.CLIENT_OPERATION, registry)
        self._tokens = histogram(names.CLIENT_TOKENS, registry)
        self._adapters = adapters
        self._models = AdapterLabels()

    def learn(self, models: Iterable[str]) -> None:
        """Take ``models`` for all names that an adapter can be asked by; others are ``other``."""
        self._models.learn(models)

    def observe(
        self, query: Query, response: Response | None, error: ErrorInfo | None, seconds: float
    ) -> None:
        """Count a question that has ended, with the response if it came that far."""
        asked = self._models.label(query.adapter) if query.adapter else SELECTION
        labels = (operation_of(query), PROVIDER, asked, self._answering(response))
        category = error.category if error else ""
        self._operation.labels(*labels, category).observe(seconds)
        if response is not None and response.status == "ok":
            self._tokens.labels(*labels, "input").observe(response.usage.prompt_tokens)
            self._tokens.labels(*labels, "output").observe(response.usage.completion_tokens)

    def _answering(self, response: Response | None) -> str:
        if response is None:
            return ""
        if response.adapter is None:
            return response.base_model or ""
        return self._adapters.label(response.adapter)


Labels = tuple[str, str, str, str]
"""Operation, provider, and the models that were asked and that answer."""


class ServerMetrics:
    """The requests that a worker's engine has served, each attempt by itself."""

    def __init__(self, registry: CollectorRegistry, adapters: AdapterLabels) -> None:
        self._request = DurationHistogram(names.SERVER_REQUEST, registry)
        self._first_token = DurationHistogram(names.SERVER_FIRST_TOKEN, registry)
        self._output_token = DurationHistogram(names.SERVER_OUTPUT_TOKEN, registry)
        self._adapters = adapters

    def labels(
        self, query: Query, asked: str | None, adapter: str | None, base_model: str
    ) -> Labels:
        """Of a request for the version ``asked`` that ``adapter`` serves; None: the base model."""
        asked_model, model = self._model(asked, base_model), self._model(adapter, base_model)
        return operation_of(query), PROVIDER, asked_model, model

    def answered(
        self, labels: Labels, seconds: float, first_token_ms: float | None, tokens: int
    ) -> None:
        """Count an answer of so many tokens, the first after the time that the engine tells."""
        self._request.child(*labels, "").observe(seconds * 1000)
        if first_token_ms is None:
            return
        self._first_token.child(*labels).observe(first_token_ms)
        if tokens > 1:
            each_ms = (seconds * 1000 - first_token_ms) / (tokens - 1)
            self._output_token.child(*labels).observe(each_ms)

    def failed(self, labels: Labels, seconds: float, category: str) -> None:
        """Count a request that the engine was given and has not answered."""
        self._request.child(*labels, category).observe(seconds * 1000)

    def _model(self, adapter: str | None, base_model: str) -> str:
        return base_model if adapter is None else self._adapters.label(adapter)
