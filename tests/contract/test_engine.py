"""What every engine promises the worker, checked on each of them."""

import asyncio
import itertools
import shutil
from contextlib import aclosing
from dataclasses import replace

import psutil
import pytest
import pytest_asyncio
from prometheus_client.parser import text_string_to_metric_families

from inference.engine.protocol import Completion, Delta, Engine, Generation, LoadedAdapter
from schemas.errors import (
    AdapterUnavailable,
    Cancelled,
    EngineUnavailable,
    InternalError,
    InvalidRequest,
    PromptTooLong,
)
from schemas.records import Message, Sampling
from tests.contract.conftest import MAX_CPU_LORAS, MAX_LORA_RANK, Models

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.filterwarnings("ignore"),  # vLLM and torch warn on import
    pytest.mark.timeout(400),
]

PROMPT = "one two three four five six seven eight nine ten eleven twelve"
GREEDY = Sampling(max_tokens=8, temperature=0.0)

_ids = itertools.count()


def a_generation(prompt: str | None = PROMPT, **fields: object) -> Generation:
    values = {"sampling": GREEDY} | fields
    return Generation(f"request-{next(_ids)}", prompt, **values)  # type: ignore[arg-type]


async def generate(engine: Engine, generation: Generation) -> tuple[list[Delta], Completion]:
    async with aclosing(engine.generate(generation)) as events:
        *deltas, completion = [event async for event in events]
    assert isinstance(completion, Completion)
    assert all(isinstance(delta, Delta) for delta in deltas)
    return deltas, completion  # type: ignore[return-value]


async def answer(engine: Engine, adapter: LoadedAdapter | None = None, **fields: object) -> str:
    _, completion = await generate(engine, a_generation(adapter=adapter, **fields))
    return completion.text


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def adapters(engine: Engine, models: Models) -> list[LoadedAdapter]:
    loaded = [models.adapter("legal-qa-v1"), models.adapter("medical-v1", rank=16, seed=2)]
    for adapter in loaded:
        await engine.load(adapter)
    return loaded


async def test_a_generation_ends_with_one_completion(engine: Engine) -> None:
    deltas, completion = await generate(engine, a_generation())
    assert deltas == []
    assert completion.text
    assert completion.finish_reason in ("stop", "length")


async def test_usage_counts_the_tokens_of_prompt_and_answer(engine: Engine) -> None:
    _, completion = await generate(engine, a_generation())
    assert completion.finish_reason == "length"
    assert completion.usage.completion_tokens == GREEDY.max_tokens
    _, longer = await generate(engine, a_generation(f"{PROMPT} thirteen"))
    assert longer.usage.prompt_tokens > completion.usage.prompt_tokens > 0


async def test_the_engine_tells_its_own_times(engine: Engine) -> None:
    _, completion = await generate(engine, a_generation())
    times = (completion.engine_queue_ms, completion.first_token_ms, completion.inference_ms)
    assert all(time is not None and time >= 0 for time in times)


async def test_streamed_deltas_make_up_the_same_answer(
    engine: Engine, adapters: list[LoadedAdapter]
) -> None:
    plain = await answer(engine, adapters[0])
    deltas, completion = await generate(engine, a_generation(adapter=adapters[0], stream=True))
    assert deltas
    assert "".join(delta.text for delta in deltas) == completion.text == plain
    assert completion.usage.completion_tokens == GREEDY.max_tokens


async def test_adapters_served_side_by_side_answer_each_for_itself(
    engine: Engine, adapters: list[LoadedAdapter]
) -> None:
    served = [None, *adapters]
    alone = [await answer(engine, adapter) for adapter in served]
    assert len(set(alone)) == len(served)
    together = await asyncio.gather(*(answer(engine, adapter) for adapter in served * 4))
    assert together == alone * 4


async def test_the_base_model_stays_itself_while_every_adapter_place_is_taken(
    engine: Engine, models: Models, adapters: list[LoadedAdapter]
) -> None:
    third = models.adapter("environmental-v1", seed=3)
    alone = await answer(engine)
    await engine.load(third)
    assert len([*adapters, third]) == engine.limits.max_loras
    served = [*adapters, third, None]
    together = await asyncio.gather(*(answer(engine, adapter) for adapter in served * 4))
    assert together[3::4] == [alone] * 4
    assert await answer(engine) == alone
    await engine.unload(third.key)


async def test_a_bare_prompt_is_one_user_message(engine: Engine) -> None:
    message = Message("user", PROMPT)
    assert await answer(engine) == await answer(engine, prompt=None, messages=(message,))


async def test_a_conversation_is_read_as_a_whole(engine: Engine) -> None:
    turns = (Message("user", "eleven"), Message("assistant", "ten"), Message("user", PROMPT))
    _, short = await generate(engine, a_generation())
    _, long = await generate(engine, a_generation(None, messages=turns))
    assert long.usage.prompt_tokens > short.usage.prompt_tokens


async def test_an_adapter_reads_its_own_template(
    engine: Engine, adapters: list[LoadedAdapter]
) -> None:
    templated = replace(adapters[0], prompt_template="question: {prompt} answer:")
    _, plain = await generate(engine, a_generation(adapter=adapters[0]))
    _, other = await generate(engine, a_generation(adapter=templated))
    assert other.usage.prompt_tokens != plain.usage.prompt_tokens


async def test_an_aborted_stream_is_cancelled(engine: Engine) -> None:
    generation = a_generation(stream=True, sampling=replace(GREEDY, max_tokens=100))
    async with aclosing(engine.generate(generation)) as events:
        await anext(events)
        await engine.abort(generation.request_id)
        with pytest.raises(Cancelled):
            async for _ in events:
                pass
    await generate(engine, replace(generation, sampling=GREEDY))


async def test_a_waiting_request_is_cancelled_by_abort(engine: Engine) -> None:
    generation = a_generation(sampling=replace(GREEDY, max_tokens=100))
    others = [asyncio.create_task(answer(engine)) for _ in range(3)]
    waiting = asyncio.create_task(generate(engine, generation))
    await asyncio.sleep(0)
    await engine.abort(generation.request_id)
    with pytest.raises(Cancelled):
        await waiting
    assert all(await asyncio.gather(*others))


async def test_aborting_an_unknown_request_does_nothing(engine: Engine) -> None:
    await engine.abort("nobody")
    assert await answer(engine)


async def test_a_cancelled_caller_frees_its_request(engine: Engine) -> None:
    generation = a_generation(sampling=replace(GREEDY, max_tokens=100))
    caller = asyncio.create_task(generate(engine, generation))
    await asyncio.sleep(0)
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    await generate(engine, replace(generation, sampling=GREEDY))


async def test_a_request_id_that_is_running_is_refused(engine: Engine) -> None:
    generation = a_generation(stream=True)
    async with aclosing(engine.generate(generation)) as events:
        await anext(events)
        with pytest.raises(InternalError):
            await generate(engine, generation)


async def test_an_adapter_that_is_not_loaded_is_refused(engine: Engine, models: Models) -> None:
    with pytest.raises(AdapterUnavailable):
        await answer(engine, models.adapter("never-loaded-v1"))
    assert await answer(engine)


async def test_a_missing_folder_is_refused_and_the_engine_lives(
    engine: Engine, models: Models
) -> None:
    with pytest.raises(AdapterUnavailable):
        await engine.load(LoadedAdapter("gone-v1@1.0.0", str(models.root / "gone"), 8))
    assert await answer(engine)
    assert await engine.healthy()


async def test_a_loaded_adapter_is_served_without_its_folder(
    engine: Engine, models: Models, adapters: list[LoadedAdapter]
) -> None:
    vanishing = models.adapter("vanishing-v1", seed=7)
    await engine.load(vanishing)
    before = await answer(engine, vanishing)
    shutil.rmtree(vanishing.path)
    # As many others as a batch holds, so that vLLM needs its place there.
    last = models.adapter("last-v1", seed=8)
    await engine.load(last)
    for adapter in (*adapters, last):
        assert await answer(engine, adapter)
    assert await answer(engine, vanishing) == before
    for adapter in (vanishing, last):
        await engine.unload(adapter.key)


async def test_a_rank_above_the_limit_is_refused(engine: Engine, models: Models) -> None:
    with pytest.raises(AdapterUnavailable, match="rank"):
        await engine.load(models.adapter("wide-v1", rank=MAX_LORA_RANK * 2))


async def test_more_adapters_than_there_are_places_are_refused(
    engine: Engine, models: Models, adapters: list[LoadedAdapter]
) -> None:
    more = [models.adapter(f"more-{n}-v1", seed=9 + n) for n in range(MAX_CPU_LORAS)]
    room = MAX_CPU_LORAS - len(adapters)
    for adapter in more[:room]:
        await engine.load(adapter)
    with pytest.raises(AdapterUnavailable, match="max_cpu_loras"):
        await engine.load(more[room])
    for adapter in more[:room]:
        await engine.unload(adapter.key)


async def test_an_unloaded_adapter_is_refused_until_it_is_loaded_again(
    engine: Engine, adapters: list[LoadedAdapter]
) -> None:
    before = await answer(engine, adapters[1])
    await engine.unload(adapters[1].key)
    with pytest.raises(AdapterUnavailable):
        await answer(engine, adapters[1])
    await engine.load(adapters[1])
    assert await answer(engine, adapters[1]) == before


async def test_unloading_waits_for_the_running_requests(
    engine: Engine, adapters: list[LoadedAdapter]
) -> None:
    generation = a_generation(adapter=adapters[1], stream=True)
    async with aclosing(engine.generate(generation)) as events:
        await anext(events)
        unloading = asyncio.create_task(engine.unload(adapters[1].key))
        rest = [event async for event in events]
    assert isinstance(rest[-1], Completion)
    await unloading
    await engine.load(adapters[1])


async def test_a_prompt_beyond_the_context_is_too_long(engine: Engine) -> None:
    with pytest.raises(PromptTooLong):
        await answer(engine, prompt="twelve " * engine.limits.max_model_len)


async def test_a_very_long_prompt_is_too_long_and_the_engine_lives(engine: Engine) -> None:
    with pytest.raises(PromptTooLong):
        await answer(engine, prompt="twelve " * 100_000)
    assert await answer(engine)


async def test_a_query_without_any_prompt_is_invalid(engine: Engine) -> None:
    with pytest.raises(InvalidRequest):
        await answer(engine, prompt=None)


@pytest.mark.parametrize(
    "sampling",
    [
        Sampling(temperature=-0.5),
        Sampling(temperature=float("nan")),
        Sampling(top_p=0.0),
        Sampling(top_p=1.5),
        Sampling(max_tokens=0),
        Sampling(stop=("",)),
    ],
    ids=repr,
)
async def test_impossible_sampling_is_invalid(engine: Engine, sampling: Sampling) -> None:
    with pytest.raises(InvalidRequest):
        await answer(engine, sampling=sampling)


async def test_an_answer_ends_where_the_context_ends(engine: Engine) -> None:
    limit = engine.limits.max_model_len
    sampling = replace(GREEDY, max_tokens=limit)
    _, completion = await generate(
        engine, a_generation("twelve " * (limit // 6), sampling=sampling)
    )
    usage = completion.usage
    assert usage.prompt_tokens + usage.completion_tokens <= limit


async def test_a_stop_string_ends_the_answer_before_it(engine: Engine) -> None:
    whole = await answer(engine)
    stop = whole[len(whole) // 2 :][:3]
    _, completion = await generate(engine, a_generation(sampling=replace(GREEDY, stop=(stop,))))
    assert completion.text == whole.partition(stop)[0]
    assert completion.finish_reason == "stop"


async def test_the_same_seed_gives_the_same_answer(engine: Engine) -> None:
    sampling = Sampling(max_tokens=8, temperature=1.0, seed=7)
    assert await answer(engine, sampling=sampling) == await answer(engine, sampling=sampling)


async def test_every_priority_is_served(engine: Engine) -> None:
    answers = await asyncio.gather(*(answer(engine, priority=level) for level in range(10)))
    assert len(set(answers)) == 1


async def test_its_progress_grows_with_the_tokens(engine: Engine) -> None:
    before = await engine.progress()
    await answer(engine)
    after = await engine.progress()
    assert (before is None and after is None) or after > before  # type: ignore[operator]


async def test_one_that_hangs_says_that_it_is_healthy_and_makes_no_progress(
    engine: Engine,
) -> None:
    below = psutil.Process().children(recursive=True)
    cores = [process for process in below if process.name().startswith("VLLM::EngineCor")]
    if not cores:
        pytest.skip("The echo engine has no process of its own.")
    for core in cores:
        core.suspend()
    try:
        running = asyncio.create_task(generate(engine, a_generation()))
        await asyncio.sleep(0.5)
        before = await engine.progress()
        await asyncio.sleep(0.5)
        assert before is not None and await engine.progress() == before
        assert await engine.healthy()
        assert not running.done()
    finally:
        for core in cores:
            core.resume()
    await running
    after = await engine.progress()
    assert after is not None and after > before


async def test_its_metrics_are_its_own(engine: Engine) -> None:
    families = list(text_string_to_metric_families(engine.metrics_text().decode()))
    assert all(family.name.startswith("vllm:") for family in families)


async def test_its_limits_are_those_it_was_given(engine: Engine) -> None:
    limits = engine.limits
    assert limits.base_model.name == "tiny"
    assert (limits.max_model_len, limits.max_num_seqs) == (128, 16)
    assert (limits.max_cpu_loras, limits.max_lora_rank) == (MAX_CPU_LORAS, MAX_LORA_RANK)


async def test_a_stopped_engine_ends_what_runs_and_serves_no_more(engine: Engine) -> None:
    # The last test but one: the engine is everybody's.
    generation = a_generation(sampling=replace(GREEDY, max_tokens=100))
    running = asyncio.create_task(generate(engine, generation))
    await asyncio.sleep(0)
    await engine.stop()
    with pytest.raises(EngineUnavailable):
        await running
    assert not await engine.healthy()
    with pytest.raises(EngineUnavailable):
        await answer(engine)
    await engine.stop()


async def test_a_stopped_engine_can_be_started_again_and_holds_no_adapter(
    engine: Engine, adapters: list[LoadedAdapter]
) -> None:
    await engine.stop()
    await engine.start()
    assert await engine.healthy()
    assert await answer(engine)
    with pytest.raises(AdapterUnavailable):
        await answer(engine, adapters[0])
    await engine.load(adapters[0])
    assert await answer(engine, adapters[0])
