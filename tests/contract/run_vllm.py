"""A process that does what a worker does with vLLM: start it, say so, wait to be killed."""

import asyncio
import json
import sys
from typing import Any

from inference.engine.config import load_settings
from inference.engine.factory import make_engine
from tests.contract.tiny_model import KV_CACHE_BYTES


async def main(model: str, options: dict[str, Any]) -> None:
    settings = load_settings(
        model=model,
        max_model_len=128,
        max_num_seqs=4,
        options={"kv_cache_memory_bytes": KV_CACHE_BYTES, **options},
    )
    engine = make_engine("vllm", settings)
    await engine.start()
    print("ready", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], json.loads(sys.argv[2])))
