"""The adapters whose registration is measured: sound, and selected for what they are made for."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from benchmarks.adapters import stand_ins
from benchmarks.registering.fields import Field, adapters
from streams.registry.candidate import read_candidate
from streams.selection.encoder import load_encoder
from streams.selection.selector import Selector


@pytest.fixture
def fields(tmp_path: Path) -> list[Field]:
    return list(adapters(tmp_path / "fields", stand_ins(tmp_path / "pattern")[0], 20))


def test_each_can_be_registered_under_its_key(fields: list[Field]) -> None:
    now = datetime.now(UTC)
    candidates = [read_candidate(field.folder, now) for field in fields]
    assert [candidate.version.key for candidate in candidates] == [field.key for field in fields]
    assert len({candidate.version.family for candidate in candidates}) == 20
    assert not any(candidate.warnings for candidate in candidates)


def test_what_it_is_asked_first_selects_it_among_the_others(fields: list[Field]) -> None:
    selector = Selector(load_encoder())
    now = datetime.now(UTC)
    selector.change(
        {
            field.key: selector.study(read_candidate(field.folder, now).examples, ("en",))
            for field in fields
        }
    )
    texts = [field.texts[0] for field in fields]
    decisions = selector.select(selector.encoder.encode(texts), texts, [None] * len(texts))
    assert [decision.adapter for decision in decisions] == [field.key for field in fields]
