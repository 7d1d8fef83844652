"""The engine without a model, where it differs from the others."""

import asyncio

from inference.engine.config import load_settings
from inference.engine.echo import EchoEngine
from inference.engine.factory import make_engine
from inference.engine.protocol import Completion, Generation
from schemas.records import Message, Sampling


async def started(**settings: object) -> EchoEngine:
    engine = make_engine("echo", load_settings(**settings))
    assert isinstance(engine, EchoEngine)
    await engine.start()
    return engine


async def complete(engine: EchoEngine, generation: Generation) -> Completion:
    *_, completion = [event async for event in engine.generate(generation)]
    assert isinstance(completion, Completion)
    return completion


async def test_it_answers_with_the_last_message_and_the_name_of_who_answers() -> None:
    engine = await started()
    turns = (Message("user", "One?"), Message("assistant", "Two."), Message("user", "And three?"))
    completion = await complete(engine, Generation("a", messages=turns))
    assert completion.text == "[base] And three?"
    assert completion.finish_reason == "stop"


async def test_a_token_is_a_word() -> None:
    engine = await started()
    completion = await complete(
        engine, Generation("a", "eins  zwei\ndrei vier", sampling=Sampling(max_tokens=3))
    )
    assert completion.text == "[base] eins  zwei"
    assert completion.finish_reason == "length"
    assert (completion.usage.prompt_tokens, completion.usage.completion_tokens) == (4, 3)


async def test_higher_priorities_are_served_first_and_among_equals_who_overtakes() -> None:
    engine = await started(max_num_seqs=1)
    order: list[str] = []

    async def ask(name: str, priority: int, overtakes: bool = False) -> None:
        await complete(engine, Generation(name, "x", priority=priority, overtakes=overtakes))
        order.append(name)

    await asyncio.gather(
        ask("running", 5),
        ask("low", 1),
        ask("equal", 5),
        ask("highest", 9),
        ask("overtaking", 5, overtakes=True),
        ask("high", 7),
    )
    assert order == ["running", "highest", "high", "overtaking", "equal", "low"]
