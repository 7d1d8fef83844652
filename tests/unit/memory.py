"""What is kept in memory, counted and not measured."""

import gc
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def kept() -> Iterator[Callable[[], int]]:
    """Of what is allocated inside, how many bytes are still there at its end."""
    found = 0
    gc.collect()
    tracemalloc.start()
    try:
        yield lambda: found
        gc.collect()
        found, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
