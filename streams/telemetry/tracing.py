"""The way of a record or a request through a process, as traces tell it; told to nobody unless
asked to.

A trace's steps are told once they are over. None holds a prompt or an answer.
"""

import os
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Final, Protocol, TypeAlias

from schemas.errors import ConfigurationError

Attribute: TypeAlias = str | bool | int | float | Sequence[str]
Attributes: TypeAlias = Mapping[str, Attribute]
Headers: TypeAlias = Sequence[tuple[str, bytes | None]]

_EXPORTERS: Final = ("none", "otlp", "console")
_ENDPOINTS: Final = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")


class Trace(Protocol):
    """A record's or a request's way through this process. Times are ``time.perf_counter``'s."""

    @property
    def is_recorded(self) -> bool:
        """Whether attributes are worth making."""

    def describe(self, attributes: Attributes) -> None:
        """Says more of the record."""

    def step(
        self,
        name: str,
        since: float,
        until: float | None = None,
        attributes: Attributes | None = None,
    ) -> None:
        """Tells what has been done with it; ``until`` is now if left out."""

    def hand_on(self, topic: str, headers: Headers) -> Headers:
        """The headers of what it became, which is about to be written to ``topic``."""

    def sending(self, topic: str, headers: Headers) -> AbstractContextManager[Headers]:
        """The same where it is written within the block; what gets out of that has failed it."""

    def fail(self, kind: str) -> None:
        """Says that it ends with an error of that kind."""

    def end(self) -> None:
        """What it became is committed, or the request is over."""


class Tracing(Protocol):
    """Where a process's traces go."""

    @property
    def is_told(self) -> bool:
        """Whether they go anywhere."""

    def begin(
        self, topic: str, partition: int, offset: int, headers: Headers, since: float
    ) -> Trace:
        """The way of a record that was read at ``since``, and where it comes from."""

    def begin_request(
        self, name: str, headers: Headers, attributes: Attributes, since: float
    ) -> Trace:
        """The way of a request that came at ``since``, with what its headers say of its trace."""

    def close(self) -> None:
        """Sends what is left; it may take some seconds."""


class _Untold:
    """A way that nobody wants to hear of."""

    is_recorded = False

    def describe(self, attributes: Attributes) -> None: ...

    def step(
        self,
        name: str,
        since: float,
        until: float | None = None,
        attributes: Attributes | None = None,
    ) -> None: ...

    def hand_on(self, topic: str, headers: Headers) -> Headers:
        return headers

    def sending(self, topic: str, headers: Headers) -> AbstractContextManager[Headers]:
        return nullcontext(headers)

    def fail(self, kind: str) -> None: ...

    def end(self) -> None: ...


UNTOLD: Final[Trace] = _Untold()


class NoTracing:
    """Tells nobody; the records' trace context goes on untouched."""

    is_told = False

    def begin(
        self, topic: str, partition: int, offset: int, headers: Headers, since: float
    ) -> Trace:
        """A way that nobody wants to hear of."""
        return UNTOLD

    def begin_request(
        self, name: str, headers: Headers, attributes: Attributes, since: float
    ) -> Trace:
        """A way that nobody wants to hear of."""
        return UNTOLD

    def close(self) -> None:
        """Nothing is left."""


def open_tracing(process: str, name: str, variables: Mapping[str, str] = os.environ) -> Tracing:
    """What OpenTelemetry's variables ask for; nothing where they ask for nothing.

    That is where neither an exporter nor an endpoint is named. Raises: ConfigurationError for
    an exporter or a protocol that is none of ours.
    """
    exporter = _exporter(variables)
    if exporter == "none":
        return NoTracing()
    from streams.telemetry.spans import SpanTracing

    return SpanTracing.exporting(exporter, process, name)


def _exporter(variables: Mapping[str, str]) -> str:
    if variables.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return "none"
    endpoint = any(variables.get(name) for name in _ENDPOINTS)
    exporter = variables.get("OTEL_TRACES_EXPORTER") or ("otlp" if endpoint else "none")
    if exporter not in _EXPORTERS:
        raise ConfigurationError(
            f"OTEL_TRACES_EXPORTER={exporter!r} is none that Lorelay has: set it to "
            f"{', '.join(_EXPORTERS[:-1])} or {_EXPORTERS[-1]}."
        )
    protocol = variables.get("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL") or variables.get(
        "OTEL_EXPORTER_OTLP_PROTOCOL"
    )
    if exporter == "otlp" and protocol not in (None, "", "http/protobuf"):
        raise ConfigurationError(
            f"Traces are sent over http/protobuf, not over {protocol!r}: unset "
            "OTEL_EXPORTER_OTLP_PROTOCOL, and name the collector's HTTP port, usually 4318."
        )
    return exporter
