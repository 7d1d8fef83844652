"""The AsyncLLM that a worker has, alone in the process that asks it: the engine's own rate."""

import asyncio
import json
import sys
from itertools import count
from threading import Event
from typing import Any

from benchmarks.pieces.closed_loop import closed_loop
from inference.engine.config import load_settings
from inference.engine.vllm_start import launch

Question = tuple[str, str | None]


async def measure(
    settings: dict[str, Any],
    adapters: dict[str, str],
    questions: list[Question],
    max_tokens: int,
    concurrency: list[int],
    warm: float,
    seconds: float,
) -> dict[str, Any]:
    """By concurrency. ``adapters``: folders by the names that ``questions`` have them by."""
    from vllm.lora.request import LoRARequest
    from vllm.sampling_params import RequestOutputKind, SamplingParams

    llm = await asyncio.to_thread(launch, load_settings(**settings), Event())
    try:
        requests = {
            name: LoRARequest(name, number, path)
            for number, (name, path) in enumerate(adapters.items(), 1)
        }
        for request in requests.values():
            await llm.add_lora(request)
        tokenizer: Any = llm.get_tokenizer()
        if asyncio.iscoroutine(tokenizer):
            tokenizer = await tokenizer
        ids = count()

        async def ask(number: int) -> int:
            text, adapter = questions[number % len(questions)]
            tokens = tokenizer.apply_chat_template(
                [{"role": "user", "content": text}], add_generation_prompt=True, return_dict=False
            )
            params = SamplingParams(
                max_tokens=max_tokens, temperature=0, output_kind=RequestOutputKind.FINAL_ONLY
            )
            lora = requests[adapter] if adapter else None
            outputs = llm.generate(
                {"prompt_token_ids": tokens}, params, str(next(ids)), lora_request=lora
            )
            # FINAL_ONLY: one output with the whole answer.
            (length,) = [len(output.outputs[0].token_ids) async for output in outputs]
            return length

        return {str(c): await closed_loop(ask, c, warm, seconds) for c in concurrency}
    finally:
        llm.shutdown()


if __name__ == "__main__":
    print(json.dumps(asyncio.run(measure(**json.loads(sys.argv[1])))))
