"""The real encoder, loaded once."""

import pytest

from streams.selection.encoder import SentenceEncoder, load_encoder


@pytest.fixture(scope="session")
def use() -> SentenceEncoder:
    return load_encoder("use-multilingual", threads=2)
