"""The openai client, asking vLLM's own HTTP server."""

import asyncio
import json
import sys
from importlib import import_module
from typing import Any

from benchmarks.pieces.closed_loop import closed_loop

Question = tuple[str, str | None]


async def measure(
    url: str,
    base: str,
    questions: list[Question],
    max_tokens: int,
    concurrency: list[int],
    warm: float,
    seconds: float,
) -> dict[str, Any]:
    """By concurrency; ``base`` is the name of the base model, an adapter's is its own."""
    # Installed in the worker environment alone, where no types are checked.
    openai: Any = import_module("openai")
    async with openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0) as client:

        async def ask(number: int) -> int:
            text, adapter = questions[number % len(questions)]
            answer = await client.chat.completions.create(
                model=adapter or base,
                messages=[{"role": "user", "content": text}],
                max_tokens=max_tokens,
                temperature=0,
            )
            return int(answer.usage.completion_tokens)

        return {str(c): await closed_loop(ask, c, warm, seconds) for c in concurrency}


if __name__ == "__main__":
    print(json.dumps(asyncio.run(measure(**json.loads(sys.argv[1])))))
