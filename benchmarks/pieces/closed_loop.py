"""Keeps so many requests under way and counts what is answered. Only the standard library."""

import asyncio
from collections.abc import Awaitable, Callable
from time import perf_counter
from typing import Any

#: Asks the question of that number and returns the answer's tokens.
Ask = Callable[[int], Awaitable[int]]


async def closed_loop(ask: Ask, concurrency: int, warm: float, seconds: float) -> dict[str, Any]:
    """Requests a second over ``seconds`` after ``warm``, and tokens a request."""
    start = perf_counter() + warm
    end = start + seconds
    numbers = iter(range(1 << 62))
    answered: list[int] = []

    async def keep_asking() -> None:
        while perf_counter() < end:
            tokens = await ask(next(numbers))
            if start <= perf_counter() < end:
                answered.append(tokens)

    async with asyncio.TaskGroup() as tasks:
        for _ in range(concurrency):
            tasks.create_task(keep_asking())
    return {
        "rate": len(answered) / seconds,
        "tokens": sum(answered) / max(len(answered), 1),
    }
