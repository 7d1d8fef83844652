"""Many streams open at a time."""

import asyncio
import json
import resource
import sys
from typing import Any

import aiohttp


async def measure(url: str, streams: int, opened_a_second: float) -> dict[str, Any]:
    """How many were open together at most, and how many ended as they should."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    is_open = held = ended = 0

    async def one(http: aiohttp.ClientSession, number: int) -> None:
        nonlocal is_open, held, ended
        body = {"model": "base", "prompt": f"stream {number}", "stream": True}
        async with http.post(f"{url}/v1/completions", json=body) as response:
            if response.status != 200:
                return
            is_open += 1
            held = max(held, is_open)
            text = await response.text()
            is_open -= 1
            ended += "[DONE]" in text

    timeout = aiohttp.ClientTimeout(total=None)
    connector = aiohttp.TCPConnector(limit=0)
    async with (
        aiohttp.ClientSession(connector=connector, timeout=timeout) as http,
        asyncio.TaskGroup() as tasks,
    ):
        for number in range(streams):
            tasks.create_task(one(http, number))
            await asyncio.sleep(1 / opened_a_second)
    return {"held": held, "ended": ended}


if __name__ == "__main__":
    print(json.dumps(asyncio.run(measure(**json.loads(sys.argv[1])))))
