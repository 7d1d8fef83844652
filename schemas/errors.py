"""Everything that can go wrong, by what becomes of it.

    LorelayError                category             retryable  dead letter
    +- ConfigurationError       internal             -          -
    +- RegistrationRefused      invalid_request      -          -
    |  +- RegistryConflict      invalid_request      yes        -
    +- ChangeRefused            invalid_request      -          -
    +- SchemaRegistryUnavailable  internal           yes        -
    +- DeadLettersConflict      internal             yes        -
    +- RequestError
       +- InvalidRequest        invalid_request      -          -
       |  +- PromptTooLong      invalid_request      -          -
       |  +- DecodeError        invalid_request      -          yes
       |     +- MalformedRecord invalid_request      -          yes
       |     +- InvalidField    invalid_request      -          yes
       |     +- RecordTooLarge  invalid_request      -          yes
       |     +- UnknownSchema   invalid_request      yes        yes
       +- UnknownAdapter        unknown_adapter      -          -
       +- AdapterUnavailable    adapter_unavailable  yes        yes
       |  +- AdapterCorrupt     adapter_unavailable  -          yes
       +- DeadlineExceeded      deadline_exceeded    -          -
       +- Cancelled             cancelled            -          -
       +- Overloaded            overloaded           yes        -
       +- EngineError           engine               yes        yes
       |  +- EngineUnavailable  engine               yes        yes
       |     +- EngineCrashed   engine               yes        yes
       +- InternalError         internal             -          yes

A RequestError becomes a response with status "error"; the others stop a command.
``retryable`` says that the same request may succeed later or on another worker.
``dead_letter`` says that the original bytes are kept for an operator, beside the response.
"""

from collections.abc import Sequence
from typing import ClassVar, Final, Literal

from schemas.records import ErrorInfo

#: A message may quote what a client sent; a response must fit a record all the same.
MAX_MESSAGE_BYTES: Final = 4096

Category = Literal[
    "invalid_request",
    "unknown_adapter",
    "adapter_unavailable",
    "deadline_exceeded",
    "cancelled",
    "overloaded",
    "engine",
    "internal",
]


class LorelayError(Exception):
    """The root; its message is one plain sentence for the person who can act on it."""

    category: ClassVar[Category] = "internal"
    code: ClassVar[str] = "internal"
    retryable: ClassVar[bool] = False
    dead_letter: ClassVar[bool] = False

    def __str__(self) -> str:
        # It may quote what somebody sent or named a file; what carries it further is UTF-8.
        return super().__str__().encode(errors="backslashreplace").decode()

    def to_info(self) -> ErrorInfo:
        """The error as a response carries it, with the first MAX_MESSAGE_BYTES of its message."""
        message = str(self).encode()[:MAX_MESSAGE_BYTES].decode(errors="ignore")
        return ErrorInfo(self.category, self.code, message, self.retryable)


class ConfigurationError(LorelayError):
    """A setting, file or command that can't work; says what to do instead."""

    code = "configuration"


class RegistrationRefused(LorelayError):
    """An adapter version that can't be registered, and why."""

    category = "invalid_request"
    code = "registration_refused"

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class RegistryConflict(RegistrationRefused):
    """Another writer changed the registry meanwhile; nothing was written."""

    code = "registry_conflict"
    retryable = True


class ChangeRefused(LorelayError):
    """A change to the versions of a family that can't be made, and what can be done instead."""

    category = "invalid_request"
    code = "change_refused"


class SchemaRegistryUnavailable(LorelayError):
    """The schema registry did not answer: a record may be readable, but not now."""

    code = "schema_registry_unavailable"
    retryable = True


class DeadLettersConflict(LorelayError):
    """Another command began to redrive or purge: of ``total`` dead letters ``done`` are done."""

    code = "dead_letters_conflict"
    retryable = True

    def __init__(self, done: int, total: int) -> None:
        super().__init__(
            "Another command has begun to redrive or purge dead letters, so this one stopped "
            f"after {done:,} of {total:,}: run it again, what is done will not be done twice."
        )
        self.done = done
        self.total = total


class RequestError(LorelayError):
    """What ends one query and becomes its response.

    For ``retry_after_s`` seconds another try is known to end in the same way.
    """

    retry_after_s: float = 0.0


class InvalidRequest(RequestError):
    """The query contradicts itself or asks for what nobody can do."""

    category = "invalid_request"
    code = "invalid_request"


class PromptTooLong(InvalidRequest):
    """The prompt, or the prompt and ``max_tokens``, exceed the engine's context."""

    code = "prompt_too_long"


class DecodeError(InvalidRequest):
    """A record that can't be read."""

    code = "undecodable"
    dead_letter = True


class MalformedRecord(DecodeError):
    """Bytes in no known encoding, or broken within it."""

    code = "malformed_record"


class InvalidField(DecodeError):
    """A field of the wrong type; ``field`` is its path, as ``messages[0].role``."""

    code = "invalid_field"

    def __init__(self, field: str, problem: str) -> None:
        super().__init__(f"{field}: {problem}")
        self.field = field


class RecordTooLarge(DecodeError):
    """A record above the size limit; ``size`` and ``limit`` in bytes."""

    code = "record_too_large"

    def __init__(self, size: int, limit: int) -> None:
        super().__init__(f"The record has {size:,} bytes, {limit:,} are allowed.")
        self.size = size
        self.limit = limit


class UnknownSchema(DecodeError):
    """An Avro record whose schema nobody here knows yet.

    Either ``fingerprint``, the key to look for on the ``schemas`` topic, or ``schema_id``,
    the schema registry's. ``why`` is a sentence on what hinders looking it up, if so.
    """

    code = "unknown_schema"
    retryable = True

    def __init__(
        self, fingerprint: str | None = None, *, schema_id: int | None = None, why: str = ""
    ) -> None:
        which = f"fingerprint {fingerprint}" if schema_id is None else f"registry id {schema_id}"
        super().__init__(f"The record's Avro schema is not known: {which}. {why}".rstrip())
        self.fingerprint = fingerprint
        self.schema_id = schema_id


class UnknownAdapter(RequestError):
    """No adapter of that name can be asked for.

    ``near`` are names like it; ``state`` says why an adapter that is registered can't be asked
    for, such as "is retired".
    """

    category = "unknown_adapter"
    code = "unknown_adapter"

    def __init__(
        self, reference: str, near: Sequence[str] = (), *, state: str | None = None
    ) -> None:
        sentence = f"Adapter {reference} {state}." if state else f"There is no adapter {reference}."
        hint = f" Did you mean {' or '.join(near)}?" if near else ""
        super().__init__(sentence + hint)
        self.reference = reference
        self.near = tuple(near)
        self.state = state


class AdapterUnavailable(RequestError):
    """The adapter is registered, but can't be loaded here and now."""

    category = "adapter_unavailable"
    code = "adapter_unavailable"
    retryable = True
    dead_letter = True

    def __init__(self, adapter: str, problem: str) -> None:
        super().__init__(f"Adapter {adapter} can't be served: {problem}")
        self.adapter = adapter


class AdapterCorrupt(AdapterUnavailable):
    """The adapter's files are not what was registered, or not sound."""

    code = "adapter_corrupt"
    retryable = False


class DeadlineExceeded(RequestError):
    """The query's time was over before its answer was there."""

    category = "deadline_exceeded"
    code = "deadline_exceeded"


class Cancelled(RequestError):
    """Somebody took the query back."""

    category = "cancelled"
    code = "cancelled"


class Overloaded(RequestError):
    """There is no room for the query now."""

    category = "overloaded"
    code = "overloaded"
    retryable = True


class EngineError(RequestError):
    """The engine failed on this request."""

    category = "engine"
    code = "engine_failed"
    retryable = True
    dead_letter = True


class EngineUnavailable(EngineError):
    """The engine is dead, stopped or not reached."""

    code = "engine_unavailable"


class EngineCrashed(EngineUnavailable):
    """The engine's process died with the request in it, which may have been why."""

    code = "engine_crashed"


class InternalError(RequestError):
    """A fault of Lorelay's own."""

    category = "internal"
    code = "internal"
    dead_letter = True


def as_request_error(error: Exception) -> RequestError:
    """``error`` as what a response can carry: itself, or an InternalError that names it."""
    if isinstance(error, RequestError):
        return error
    return InternalError(f"{type(error).__name__}: {error}" if str(error) else type(error).__name__)
