"""How long the engine takes for a request, whatever comes of it."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import perf_counter

from inference.engine.protocol import Completion
from schemas.errors import as_request_error
from streams.interruption import Interruption
from streams.telemetry.gen_ai import Labels, ServerMetrics


@contextmanager
def measured(
    metrics: ServerMetrics, labels: Labels, interruption: Interruption
) -> Iterator[Callable[[Completion], None]]:
    """Counts the answer that is told within the block, or what ends the block without one.

    A request that another member takes over, which nothing has ended, is not counted.
    """
    since = perf_counter()

    def answered(completion: Completion) -> None:
        seconds = perf_counter() - since
        tokens = completion.usage.completion_tokens
        metrics.answered(labels, seconds, completion.first_token_ms, tokens)

    try:
        yield answered
    except asyncio.CancelledError:
        if interruption.reason is not None:
            metrics.failed(labels, perf_counter() - since, interruption.reason.category)
        raise
    except Exception as error:
        metrics.failed(labels, perf_counter() - since, as_request_error(error).category)
        raise
