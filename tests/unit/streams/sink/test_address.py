"""A database is named without its secrets."""

import pytest

from schemas.errors import ConfigurationError
from streams.sink.address import DatabaseAddress


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("postgresql://me:geheim@db.internal:5433/metrics", "db.internal:5433/metrics"),
        ("postgres://db.internal/metrics?password=geheim", "db.internal/metrics"),
        ("host=db.internal password=geheim", "db.internal"),
        ("service=metrics", "metrics"),
        ("", "the local one"),
    ],
)
def test_it_is_told_by_where_it_is(text: str, place: str) -> None:
    address = DatabaseAddress.parse(text)
    assert str(address) == place
    assert "geheim" not in f"{address} {address!r}"


@pytest.mark.parametrize(
    "text", ["postgresql:/me:geheim@db", "mysql://me:geheim@db/x", "postgresql://me:geheim%zz@db"]
)
def test_what_is_none_is_refused_and_not_quoted(text: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        DatabaseAddress.parse(text)
    assert "geheim" not in str(caught.value)
    assert caught.value.__suppress_context__
