import re
from collections.abc import Iterator
from typing import get_args

import pytest

from schemas import errors
from schemas.errors import Category, InternalError, LorelayError, UnknownAdapter, as_request_error

LINE = re.compile(r"^ *[|+ -]*(?P<name>[A-Z]\w+) +(?P<category>\w+) +(?P<marks>.*)$")


def kinds(root: type[LorelayError]) -> Iterator[type[LorelayError]]:
    yield root
    for kind in root.__subclasses__():
        if kind.__module__ == errors.__name__:
            yield from kinds(kind)


def drawn() -> dict[str, tuple[str, bool, bool]]:
    """The tree of the docstring: category, retryable and dead letter by name."""
    found = {}
    for line in (errors.__doc__ or "").splitlines():
        if line.lstrip().startswith("+-") or line.lstrip().startswith("|"):
            match = LINE.match(line)
            if match:
                retryable, dead_letter = match["marks"].split()
                found[match["name"]] = (match["category"], retryable == "yes", dead_letter == "yes")
    return found


@pytest.mark.parametrize("kind", list(kinds(LorelayError)), ids=lambda kind: kind.__name__)
def test_every_error_is_what_the_drawn_tree_says(kind: type[LorelayError]) -> None:
    assert kind.category in get_args(Category)
    if kind.__name__ in ("LorelayError", "RequestError"):
        return
    assert drawn()[kind.__name__] == (kind.category, kind.retryable, kind.dead_letter)


def test_nothing_is_drawn_that_is_not_there() -> None:
    assert set(drawn()) <= {kind.__name__ for kind in kinds(LorelayError)}


def test_codes_tell_errors_apart() -> None:
    codes = [kind.code for kind in kinds(LorelayError)]
    shared = {code for code in codes if codes.count(code) > 1}
    assert shared == {"internal"}  # the roots and the fault of our own


def test_a_response_carries_category_code_message_and_whether_to_retry() -> None:
    info = UnknownAdapter("legal-q", ["legal-qa", "legal-qa-v1"]).to_info()
    assert info.category == info.code == "unknown_adapter"
    assert info.message == "There is no adapter legal-q. Did you mean legal-qa or legal-qa-v1?"
    assert not info.retryable


def test_a_message_that_quotes_much_is_cut_off_where_a_response_carries_it() -> None:
    info = UnknownAdapter("ü" * 1_000_000).to_info()
    assert info.message.startswith("There is no adapter üü")
    assert 4090 < len(info.message.encode()) <= 4096


def test_an_adapter_that_cannot_be_asked_for_says_why() -> None:
    error = UnknownAdapter("legal-qa-v1@1.0.0", state="is retired")
    assert str(error) == "Adapter legal-qa-v1@1.0.0 is retired."


@pytest.mark.parametrize(
    ("error", "message"),
    [(KeyError("x"), "KeyError: 'x'"), (RuntimeError(), "RuntimeError")],
)
def test_any_other_exception_becomes_a_fault_of_ours(error: Exception, message: str) -> None:
    found = as_request_error(error)
    assert isinstance(found, InternalError)
    assert str(found) == message
    assert as_request_error(found) is found
