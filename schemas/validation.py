"""What a query must keep beyond the types of its fields."""

import math
import re
from typing import Final

from schemas.errors import InvalidRequest
from schemas.records import Query, Sampling
from schemas.topics import Topics

ROLES: Final = ("system", "developer", "user", "assistant", "tool")
FALLBACKS: Final = ("previous", "base", "none")

#: Its response names it in its key, its body and its headers, and a dead letter once more.
MAX_ID_BYTES: Final = 1024

_LANGUAGE: Final = re.compile(r"[A-Za-z]{2,8}([-_][A-Za-z0-9]{1,8})*")


def validate_query(query: Query, topics: Topics | None = None) -> None:
    """Raises InvalidRequest, in one sentence for the client, for a query nobody can answer.

    ``topics`` names the topics that ``reply_to`` may point at.
    """
    _validate_question(query)
    _validate_sampling(query.sampling)
    if not 0 <= query.priority <= 9:
        _refuse(f"priority is {query.priority}, it must be between 0 and 9.")
    if query.timeout_ms is not None and not 0 < query.timeout_ms < math.inf:
        _refuse(f"timeout_ms is {query.timeout_ms}, it must be above 0.")
    if query.fallback is not None and query.fallback not in FALLBACKS:
        _refuse(f"fallback is {query.fallback!r}, it must be one of {', '.join(FALLBACKS)}.")
    if query.language is not None and not _LANGUAGE.fullmatch(query.language):
        _refuse(f"language is {query.language!r}, it must be a language tag such as de or en-GB.")
    for name in ("id", "adapter", "session"):
        if getattr(query, name) == "":
            _refuse(f"{name} is empty; leave it out instead.")
    if query.id is not None and not is_answerable(query.id):
        _refuse(f"id has more than {MAX_ID_BYTES:,} bytes, which is the most.")
    _validate_reply_to(query, topics or Topics())


def is_answerable(query_id: str) -> bool:
    """Whether a response can go by that id."""
    return 0 < len(query_id.encode(errors="backslashreplace")) <= MAX_ID_BYTES


def _validate_question(query: Query) -> None:
    if query.prompt is None and not query.messages:
        _refuse("The query has neither a prompt nor messages.")
    if query.prompt is not None and query.messages:
        _refuse("The query has both a prompt and messages; give one of them.")
    if query.prompt is not None and not query.prompt.strip():
        _refuse("The prompt is empty.")
    for index, message in enumerate(query.messages):
        if message.role not in ROLES:
            _refuse(
                f"messages[{index}].role is {message.role!r}, it must be one of {', '.join(ROLES)}."
            )
    if query.messages and not any(message.content.strip() for message in query.messages):
        _refuse("The messages are empty.")


def _validate_sampling(sampling: Sampling) -> None:
    if sampling.max_tokens is not None and sampling.max_tokens < 1:
        _refuse(f"sampling.max_tokens is {sampling.max_tokens}, it must be at least 1.")
    if sampling.temperature is not None and not 0 <= sampling.temperature <= 2:
        _refuse(f"sampling.temperature is {sampling.temperature}, it must be between 0 and 2.")
    if sampling.top_p is not None and not 0 < sampling.top_p <= 1:
        _refuse(f"sampling.top_p is {sampling.top_p}, it must be above 0 and at most 1.")
    if "" in sampling.stop:
        _refuse("sampling.stop has an empty text in it.")


def _validate_reply_to(query: Query, topics: Topics) -> None:
    if (reply_to := query.reply_to) is None:
        return
    if not topics.accepts_replies(reply_to.topic):
        _refuse(
            f"reply_to.topic is {reply_to.topic!r}, it must be {topics.replies} or start with "
            f"{topics.replies}. (with the dot), and be a name that Kafka takes."
        )
    if reply_to.partition is not None and reply_to.partition < 0:
        _refuse(f"reply_to.partition is {reply_to.partition}, it can't be negative.")


def _refuse(sentence: str) -> None:
    raise InvalidRequest(sentence)
