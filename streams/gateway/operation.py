"""What traces and metrics tell of a question to a model: how it ends, and what it took."""

from time import perf_counter
from types import TracebackType
from typing import Self

from schemas.errors import Cancelled, RequestError, as_request_error
from schemas.records import ErrorInfo, Query, Response
from streams.gateway.openai.errors import http_error_of
from streams.telemetry.attributes import asked_attributes, response_attributes
from streams.telemetry.gateway import GatewayMetrics
from streams.telemetry.operations import SELECTION
from streams.telemetry.tracing import Trace


class Operation:
    """A query, from here until its block is left.

    It fails where its client gets a status of 5xx, or less than the whole of what was begun.
    """

    def __init__(self, query: Query, trace: Trace, metrics: GatewayMetrics) -> None:
        self.trace = trace
        self._query = query
        self._metrics = metrics
        self._since = perf_counter()
        self._response: Response | None = None
        self._error: ErrorInfo | None = None
        self._is_cut = False
        if trace.is_recorded:
            trace.describe(asked_attributes(query, query.adapter or SELECTION))
            trace.describe({"messaging.message.id": query.id or ""})

    def begun(self, seconds: float) -> None:
        """The first chunk of a stream is there, so long after it was asked for."""
        self.trace.describe({"gen_ai.response.time_to_first_chunk": seconds})

    def answered(self, response: Response, *, is_cut: bool) -> None:
        """The response is there; an error in it cuts what was begun."""
        self._response = response
        if response.error is not None:
            self.failed(response.error, is_cut=is_cut)

    def failed(self, error: ErrorInfo, *, is_cut: bool) -> None:
        """It ends with that error; of several the last counts."""
        self._error = error
        self._is_cut = is_cut

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if error is not None:
            self.failed(_request_error(error).to_info(), is_cut=True)
        self._metrics.observe_operation(
            self._query, self._response, self._error, perf_counter() - self._since
        )
        if not self.trace.is_recorded:
            return
        if self._response is not None:
            self.trace.describe(response_attributes(self._response))
        if self._error is not None:
            self.trace.describe({"lorelay.error.code": self._error.code})
            if self._is_cut or http_error_of(self._error).status >= 500:
                self.trace.fail(self._error.category)


def _request_error(error: BaseException) -> RequestError:
    if isinstance(error, Exception):
        return as_request_error(error)
    return Cancelled("The request was dropped.")
