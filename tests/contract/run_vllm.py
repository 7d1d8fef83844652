"""A process that does what a worker does with vLLM: start it, say so, wait to be killed."""

import asyncio
import sys

from inference.engine.config import load_settings
from inference.engine.factory import make_engine


async def main(model: str) -> None:
    engine = make_engine("vllm", load_settings(model=model, max_model_len=128, max_num_seqs=4))
    await engine.start()
    print("ready", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
