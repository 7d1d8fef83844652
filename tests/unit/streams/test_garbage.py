"""What lives as long as the process isn't looked at by every collection."""

import gc
import importlib
import sys
from collections.abc import Iterator
from weakref import ref

import pytest

from streams.garbage import importing, spare_what_is_there


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


@pytest.mark.parametrize("is_enabled", [True, False])
def test_nothing_is_collected_while_something_is_imported_and_what_came_is_spared(
    monkeypatch: pytest.MonkeyPatch, is_enabled: bool
) -> None:
    monkeypatch.delitem(sys.modules, "this", raising=False)
    monkeypatch.setattr(sys, "stdout", sys.__stderr__)
    if not is_enabled:
        gc.disable()
    kept = Node()
    with importing():
        assert not gc.isenabled()
        importlib.import_module("this")
    assert gc.isenabled() is is_enabled
    gc.enable()
    assert not any(one is kept for one in gc.get_objects())


def test_where_all_was_imported_before_nothing_is_spared() -> None:
    kept = Node()
    with importing():
        importlib.import_module("gc")
    assert any(one is kept for one in gc.get_objects())


def test_an_import_that_fails_leaves_collections_on() -> None:
    with pytest.raises(ModuleNotFoundError), importing():
        importlib.import_module("nothing_of_that_name")
    assert gc.isenabled()
