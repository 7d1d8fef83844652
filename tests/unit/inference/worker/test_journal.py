"""What is known of a worker's death by the one that comes after it."""

import asyncio
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from time import time
from typing import Any

import pytest

from inference.worker.journal import Journal
from schemas.errors import ConfigurationError, EngineError


@dataclass(frozen=True)
class Place:
    """As much of a record as the journal looks at."""

    partition: int = 0
    offset: int = 7
    timestamp: int = 1_700_000_000_000


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "run" / "journal"


def a_record(**fields: int) -> Any:
    return Place(**fields)


def die_with(record: Any, file: Path) -> None:
    """Leaves the journal as a worker does that is killed with the record in work."""
    with Journal(file).running(record):
        found = file.read_bytes()
    file.write_bytes(found)


def test_a_death_with_a_record_in_work_is_counted_by_the_next_worker(file: Path) -> None:
    for deaths in range(3):
        assert Journal(file).deaths(a_record()) == deaths
        die_with(a_record(), file)


def test_what_ends_is_forgotten(file: Path) -> None:
    die_with(a_record(), file)
    with suppress(EngineError), Journal(file).running(a_record()):
        raise EngineError("no")
    assert Journal(file).deaths(a_record()) == 0


def test_a_record_that_is_left_to_others_keeps_its_deaths(file: Path) -> None:
    die_with(a_record(), file)
    with pytest.raises(asyncio.CancelledError), Journal(file).running(a_record()):
        raise asyncio.CancelledError
    assert Journal(file).deaths(a_record()) == 1


def test_records_are_told_apart_by_place_and_time(file: Path) -> None:
    die_with(a_record(), file)
    journal = Journal(file)
    others = [a_record(partition=1), a_record(offset=8), a_record(timestamp=1)]
    assert [journal.deaths(other) for other in others] == [0, 0, 0]


def test_many_run_at_once_and_more_than_there_are_places_cost_nothing(file: Path) -> None:
    with ExitStack() as stack:
        journal = Journal(file)
        for offset in range(3000):
            stack.enter_context(journal.running(a_record(offset=offset)))
        found = file.read_bytes()
    del journal
    file.write_bytes(found)
    counted = Journal(file)
    assert sum(counted.deaths(a_record(offset=offset)) for offset in range(3000)) == 2048


def test_what_was_in_work_long_ago_is_forgotten(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    die_with(a_record(), file)
    later = time() + 200_000
    monkeypatch.setattr("inference.worker.journal.time", lambda: later)
    assert Journal(file).deaths(a_record()) == 0


def test_without_a_file_nothing_is_counted() -> None:
    journal = Journal(None)
    with journal.running(a_record()):
        pass
    assert journal.deaths(a_record()) == 0


def test_two_workers_never_share_one(file: Path) -> None:
    first = Journal(file)
    with pytest.raises(ConfigurationError, match="another worker"):
        Journal(file)
    del first
    Journal(file)


def test_a_file_that_cannot_be_used_is_a_mistake_of_the_user(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="journal"):
        Journal(tmp_path)
