"""The real encoder, loaded once."""

import pytest

from streams.selection.encoder import SentenceEncoder, load_encoder


@pytest.fixture(scope="session")
def use() -> SentenceEncoder:
    encoder = load_encoder("use-multilingual", threads=2)
    assert isinstance(encoder, SentenceEncoder)
    return encoder
