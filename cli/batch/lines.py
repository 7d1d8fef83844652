"""The lines of a batch, as OpenAI's batch API has them. Pure."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from typing import Any, Final

import orjson
from pydantic import ValidationError

from schemas.errors import DecodeError, RequestError
from schemas.records import Query, Response
from streams.gateway.failures import InvalidParameter
from streams.gateway.names import adapter_asked_for
from streams.gateway.openai.answers import Kind, answer
from streams.gateway.openai.decision import decision
from streams.gateway.openai.errors import HttpError, http_error, http_error_of
from streams.gateway.openai.requests import Asked, AskedChat, AskedCompletion, query_of
from streams.gateway.refusals import invalid
from streams.registry.reader import Registry

_KINDS: Final[dict[str, tuple[Kind, type[AskedChat] | type[AskedCompletion]]]] = {
    "/v1/chat/completions": ("chat", AskedChat),
    "/v1/completions": ("completion", AskedCompletion),
}
_MOST_CHARS: Final = 1_000_000
#: What ids begin with; those of earlier versions were made of the whole file, and did not.
_REQUEST: Final = "batch-line-"
_BAD_LINE: Final = "batch-bad-line-"
#: Of a line of the output.
_BEGINNINGS: Final = tuple(b'{"id":"' + kind.encode() for kind in (_REQUEST, _BAD_LINE))


@dataclass(frozen=True, slots=True)
class Line:
    """A request of the file. Its id is the query's, and the same wherever this line stands."""

    id: str
    custom_id: str
    url: str
    body: dict[str, Any]


@dataclass(frozen=True, slots=True)
class BadLine:
    """A line that is no request, and why."""

    id: str
    problem: str


def read_lines(lines: Iterable[bytes], run: str) -> Iterator[Line | BadLine]:
    """What the file asks; another `run` has other ids.

    Of lines with the same custom_id the first one counts.
    """
    seen: set[str] = set()
    for number, text in enumerate(lines, 1):
        if not text.strip():
            continue
        try:
            line = _read(text, run)
            if line.custom_id in seen:
                raise ValueError(f"custom_id {line.custom_id!r} was there before")
        except ValueError as error:
            name = _digest(f"{run}\n{number}", text)
            yield BadLine(f"{_BAD_LINE}{name}", f"line {number}: {error}")
            continue
        seen.add(line.custom_id)
        yield line


def _read(text: bytes, run: str) -> Line:
    """Raises: ValueError."""
    try:
        found = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise ValueError(f"it is no JSON ({error})") from error
    if not isinstance(found, dict):
        raise ValueError("it is no JSON object")
    custom_id = found.get("custom_id")
    if not isinstance(custom_id, str) or not custom_id:
        raise ValueError("custom_id is missing, or is no text")
    if found.get("method", "POST") != "POST":
        raise ValueError(f"method is {found['method']!r}, it must be POST")
    url = found.get("url")
    if not isinstance(url, str) or url not in _KINDS:
        raise ValueError(f"url is {url!r}, it must be one of {', '.join(_KINDS)}")
    body = found.get("body")
    if not isinstance(body, dict):
        raise ValueError("body is missing, or is no object")
    return Line(f"{_REQUEST}{_digest(run, text)}", custom_id, url, body)


def _digest(place: str, text: bytes) -> str:
    # How the line ends is not part of it: a last line may have no end until another comes.
    return sha256(place.encode(errors="surrogatepass") + b"\n" + text.strip()).hexdigest()[:32]


class Questions:
    """Makes queries of lines, as the gateway does of requests."""

    def __init__(self, registry: Registry, base_models: list[str], timeout_ms: float) -> None:
        self._registry = registry
        self._base_models = base_models
        self._timeout_ms = timeout_ms

    def query(self, line: Line, now: datetime) -> Query:
        """Raises: RequestError, which is the line's answer then."""
        asked = self._asked(line)
        return query_of(
            asked,
            query_id=line.id,
            adapter=adapter_asked_for(
                asked.model, asked.lora_name, self._registry, self._base_models
            ),
            reply_to=None,
            timeout_ms=self._timeout_ms,
            prompt_chars=_MOST_CHARS,
            now=now,
            headers={},
        )

    def _asked(self, line: Line) -> Asked:
        try:
            asked = _KINDS[line.url][1].model_validate(line.body)
        except ValidationError as error:
            raise invalid([p | {"loc": ("body", *p["loc"])} for p in error.errors()]) from error
        if asked.stream:
            raise InvalidParameter("stream", "stream: a batch has no streams.", "invalid_value")
        return asked


def answered(line: Line, response: Response) -> bytes:
    """The line of the output for a response, be it an error."""
    if response.error is None:
        return _answered(line, 200, answer(_KINDS[line.url][0], response))
    told = http_error_of(response.error, lorelay=decision(response))
    return _answered(line, told.status, told.content)


def refused(line: Line, error: RequestError) -> bytes:
    """The line of the output for a request that was never sent."""
    told: HttpError = http_error(error, line.id)
    return _answered(line, told.status, told.content)


def unanswered(line: Line, problem: str) -> bytes:
    """The line of the output for a query whose answer did not come."""
    return _line(line.id, line.custom_id, None, {"code": "batch_expired", "message": problem})


def undecodable(line: Line, error: DecodeError) -> bytes:
    """The line of the output for a query whose answer is there, but can't be read."""
    problem = f"The answer is there, but can't be read: {error}"
    return _line(line.id, line.custom_id, None, {"code": error.code, "message": problem})


def unreadable(line: BadLine) -> bytes:
    """The line of the output for one that was no request."""
    return _line(line.id, None, None, {"code": "invalid_line", "message": line.problem})


def _answered(line: Line, status: int, body: dict[str, Any]) -> bytes:
    response = {"status_code": status, "request_id": line.id, "body": body}
    return _line(line.id, line.custom_id, response, None)


def _line(name: str, custom_id: str | None, response: Any, error: Any) -> bytes:
    content = {"id": name, "custom_id": custom_id, "response": response, "error": error}
    return orjson.dumps(content, option=orjson.OPT_APPEND_NEWLINE)


def may_begin_a_line(text: bytes) -> bool:
    """Whether a writer of such lines may have been killed when it had written just this."""
    return any(text[: len(start)] == start[: len(text)] for start in _BEGINNINGS)


def name_of(line: bytes) -> str:
    """The id of a line of the output. Raises: ValueError, KeyError, TypeError where it is none."""
    name = orjson.loads(line)["id"]
    if not isinstance(name, str) or not name.startswith((_REQUEST, _BAD_LINE)):
        raise ValueError(f"{name!r} is no id that this version gives")
    return name


def is_failure(line: bytes) -> bool:
    """Whether a line of the output says that there is no answer."""
    found = orjson.loads(line)
    return found["error"] is not None or found["response"]["status_code"] != 200
