"""A ThemisDB that can't be asked."""

import pytest
from pydantic import SecretStr

from cli.sync.themisdb import SyncFailed, ThemisDb


@pytest.mark.parametrize(
    ("url", "token"),
    [
        ("http://127.0.0.1:1", "schlüssel"),
        ("http://127.0.0.1:99999", "a"),
        ("http://a..b", "a"),
        ("nonsense", "a"),
    ],
)
async def test_what_does_not_answer_is_told_in_a_sentence(url: str, token: str) -> None:
    with pytest.raises(SyncFailed, match="does not answer"):
        async with ThemisDb(url, SecretStr(token)) as themisdb:
            await themisdb.versions()
