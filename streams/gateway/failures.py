"""What ends a request at the gateway, beside what ends a query anywhere.

    RequestError
    +- InvalidRequest
    |  +- InvalidParameter    a parameter that is wrong or not supported
    |  +- BodyTooLarge        the request has more bytes than are read
    |  +- HeadTooLarge        its URL and headers have more bytes than are read
    |  +- DuplicateId         a query of that id is under way, or was cancelled
    |  +- UnknownRoute        there is nothing at that address
    |  +- UnknownQuery        no query of that id is known
    |  +- NotAnswered         there is no answer yet to say something of
    |  +- Unauthenticated     a token or key that is missing, unknown or revoked
    |  +- Forbidden           the caller is known, and may not do that
    |  +- AdminOff            nobody can be admin at this gateway
    +- Overloaded
    |  +- KafkaUnavailable    the broker does not take the query
    |  +- Stopping            the gateway stops; the query goes on without it
    |  +- LimitReached        more requests than the caller's key allows at a time
    |     +- QuotaExhausted   the tokens of the key's day are used up
    +- DeadlineExceeded
    |  +- Unanswered          no answer within the query's time; it may still come
    +- Cancelled
    |  +- ClientLeft          nobody waits for the answer any more
    |  +- ClientTooSlow       the client does not take what it is sent
    +- EngineError
       +- StreamBroken        the answer is not the one whose beginning was sent

The two that are Cancelled take the query back.
"""

from collections.abc import Mapping

from schemas.errors import (
    Cancelled,
    DeadlineExceeded,
    EngineError,
    InvalidRequest,
    Overloaded,
)


class InvalidParameter(InvalidRequest):
    """A parameter of the wrong kind, or one that is not supported; `param` is its path."""

    code = "invalid_parameter"

    def __init__(self, param: str | None, message: str, code: str | None = None) -> None:
        super().__init__(message)
        self.param = param
        self.openai_code = code


class BodyTooLarge(InvalidRequest):
    """The request has more bytes than are read."""

    code = "body_too_large"

    def __init__(self, limit: int) -> None:
        super().__init__(f"The body has more than the {limit:,} bytes that are allowed.")


class HeadTooLarge(InvalidRequest):
    """The request's URL and headers have more bytes than are read."""

    code = "head_too_large"

    def __init__(self, limit: int) -> None:
        super().__init__(
            f"The URL and headers have more than the {limit:,} bytes that are allowed."
        )


class DuplicateId(InvalidRequest):
    """A query of that id is under way here, or was cancelled."""

    code = "duplicate_id"


class UnknownRoute(InvalidRequest):
    """There is nothing at that address, or not for that method."""

    code = "unknown_url"

    def __init__(self, method: str, path: str, status: int) -> None:
        super().__init__(f"There is no {method} {path}; /docs lists what there is.")
        self.status = status


class UnknownQuery(InvalidRequest):
    """No query of that id is known."""

    code = "unknown_query"

    def __init__(self, query_id: str) -> None:
        super().__init__(f"No query of the id {query_id} is known, or it is too long ago.")


class NotAnswered(InvalidRequest):
    """There is no answer yet to say something of."""

    code = "not_answered"

    def __init__(self, query_id: str) -> None:
        super().__init__(f"The query {query_id} is not answered yet.")


class Unauthenticated(InvalidRequest):
    """The caller's token or key is missing, unknown or revoked."""

    code = "invalid_api_key"


class Forbidden(InvalidRequest):
    """The caller is known, and may not do that."""

    code = "forbidden"


class AdminOff(InvalidRequest):
    """What only an admin may do, where nobody is one."""

    code = "admin_off"


class KafkaUnavailable(Overloaded):
    """The broker does not take the query, or can't be asked."""

    code = "kafka_unavailable"


class Stopping(Overloaded):
    """The gateway stops; a query that was sent goes on without it."""

    code = "stopping"


class LimitReached(Overloaded):
    """More requests than the caller's key allows; `headers` say how many it does."""

    code = "rate_limit_exceeded"

    def __init__(self, message: str, retry_after_s: float, headers: Mapping[str, str]) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s
        self.headers = headers


class QuotaExhausted(LimitReached):
    """The tokens of the key's day are used up."""

    code = "insufficient_quota"
    retryable = False


class Unanswered(DeadlineExceeded):
    """No answer has come within the query's time; it may still come."""

    code = "unanswered"


class ClientLeft(Cancelled):
    """Nobody waits for the answer any more."""

    code = "client_left"


class ClientTooSlow(Cancelled):
    """The client does not take what it is sent."""

    code = "client_too_slow"


class StreamBroken(EngineError):
    """The answer was begun anew and is not the one whose beginning was sent."""

    code = "stream_broken"
    dead_letter = False
