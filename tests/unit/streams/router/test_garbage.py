"""What lives as long as the router isn't looked at by every collection."""

import gc
from collections.abc import Iterator
from weakref import ref

import pytest

from streams.router.garbage import spare_what_is_there


class Node:
    """May refer to itself."""

    other: "Node | None" = None


@pytest.fixture(autouse=True)
def thawed() -> Iterator[None]:
    yield
    gc.unfreeze()


def test_what_is_there_is_spared_and_garbage_is_not() -> None:
    cycle, kept = Node(), Node()
    cycle.other = cycle
    gone = ref(cycle)
    del cycle
    spare_what_is_there()
    assert gone() is None
    assert not any(one is kept for one in gc.get_objects())


def test_what_is_spared_is_still_freed_with_its_last_reference() -> None:
    kept = Node()
    gone = ref(kept)
    spare_what_is_there()
    del kept
    assert gone() is None


def test_what_comes_later_is_still_collected() -> None:
    spare_what_is_there()
    cycle = Node()
    cycle.other = cycle
    gone = ref(cycle)
    del cycle
    gc.collect()
    assert gone() is None
