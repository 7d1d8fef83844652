"""The echo engine alone: its own rate, and what it costs the process that it runs in."""

import asyncio
import json
import os
import sys
from itertools import count
from typing import Any

from benchmarks.cpu_time import cpu_ms
from benchmarks.pieces.closed_loop import closed_loop
from benchmarks.queries import questions
from inference.engine.echo import EchoEngine
from inference.engine.protocol import Completion, EngineLimits, Generation
from schemas.records import BaseModel


async def measure(
    service_ms: float, max_num_seqs: int, concurrency: int, warm: float, seconds: float
) -> dict[str, Any]:
    """Requests a second, and CPU milliseconds a request."""
    limits = EngineLimits(BaseModel("echo"), 4096, max_num_seqs, 0, 0, 0)
    engine = EchoEngine(limits, service_ms=service_ms)
    await engine.start()
    known = questions()
    ids = count()
    asked = 0

    async def ask(number: int) -> int:
        nonlocal asked
        asked += 1
        generation = Generation(str(next(ids)), prompt=known[number % len(known)].text)
        async for part in engine.generate(generation):
            if isinstance(part, Completion):
                return part.usage.completion_tokens
        raise AssertionError("an engine always ends with a Completion")

    before = cpu_ms(os.getpid())
    found = await closed_loop(ask, concurrency, warm, seconds)
    found["cpu_ms"] = (cpu_ms(os.getpid()) - before) / asked
    await engine.stop()
    return found


if __name__ == "__main__":
    print(json.dumps(asyncio.run(measure(**json.loads(sys.argv[1])))))
