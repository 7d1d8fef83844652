"""The Python client, as its documentation shows it."""

import asyncio
import gc
import os
import subprocess
import sys

import pytest

from schemas.errors import DecodeError, InvalidRequest, LorelayError
from schemas.records import Feedback
from schemas.topics import MAX_QUERY_BYTES
from streams.client import AnsweredWithError, Client, NoAnswer
from streams.kafka.settings import KafkaSettings
from tests.chaos.fleet import ROOT
from tests.integration.gateway.system import LEGAL, LEGAL_TEXTS, MEDICAL, RunningSystem, eventually


def client_of(system: RunningSystem, *, streams: bool = True) -> Client:
    settings = KafkaSettings(topic_prefix=system.topics.prefix)
    return Client(system.cluster.address, settings=settings, streams=streams)


async def test_a_question_is_answered_by_the_adapter_that_is_selected(
    system: RunningSystem,
) -> None:
    async with client_of(system, streams=False) as client:
        answer = await client.ask(LEGAL_TEXTS[0], max_tokens=50)
        named = await client.ask([{"role": "user", "content": "x"}], adapter=MEDICAL)
    assert answer.text == f"[{LEGAL}@1.0.0] {LEGAL_TEXTS[0]}"
    assert named.adapter == f"{MEDICAL}@1.0.0"


async def test_many_questions_at_a_time_each_get_their_answer(system: RunningSystem) -> None:
    async with client_of(system, streams=False) as client:
        answers = await asyncio.gather(
            *(client.ask(f"number {n}", adapter="base") for n in range(50))
        )
    assert [answer.text for answer in answers] == [f"[base] number {n}" for n in range(50)]


async def test_a_streamed_answer_comes_in_pieces_that_make_up_the_whole(
    system: RunningSystem,
) -> None:
    async with client_of(system) as client:
        stream = client.stream("one two three four", adapter="base")
        pieces = [piece async for piece in stream]
    assert stream.response is not None
    assert "".join(pieces) == stream.response.text == "[base] one two three four"
    assert all(pieces)


@pytest.mark.parametrize("milliseconds", [0, 1, 3, 10, 20, 40, 80, 160])
async def test_who_is_cancelled_while_it_connects_or_leaves_keeps_no_connection(
    system: RunningSystem, milliseconds: int
) -> None:
    async def come_and_go() -> None:
        async with client_of(system):
            pass

    visit = asyncio.create_task(come_and_go())
    await asyncio.sleep(milliseconds / 1000)
    visit.cancel()
    await asyncio.wait([visit])
    del visit
    # What was not closed warns when it goes, and a warning is an error here.
    gc.collect()


async def test_a_question_that_is_refused_is_the_last_that_is(system: RunningSystem) -> None:
    async with client_of(system) as client:
        await client.ask("first", adapter="base", session="s")
        system.cluster.limit(system.topics.queries, 2000)
        try:
            with pytest.raises(LorelayError):
                await client.ask("x" * 5000, adapter="base", session="s")
        finally:
            system.cluster.limit(system.topics.queries, MAX_QUERY_BYTES + 4096)
        for number in range(3):
            answer = await client.ask(f"later {number}", adapter="base", session="s", seconds=20)
            assert answer.text == f"[base] later {number}"


async def test_an_error_is_raised_with_its_response(system: RunningSystem) -> None:
    async with client_of(system) as client:
        with pytest.raises(AnsweredWithError, match="There is no adapter") as asked:
            await client.ask("x", adapter="legal-aq")
        with pytest.raises(AnsweredWithError, match="There is no adapter"):
            async for _ in client.stream("x", adapter="legal-aq"):
                pass
        with pytest.raises(InvalidRequest, match="prompt is empty"):
            await client.ask(" ")
    assert asked.value.response.error is not None
    assert asked.value.response.error.code == "unknown_adapter"


async def test_who_does_not_wait_takes_his_query_back(system: RunningSystem) -> None:
    def cancelled() -> set[str]:
        return {cancel.query_id for cancel in system.cancels()}

    async with client_of(system) as client:
        with system.nobody_answers():
            with pytest.raises(NoAnswer):
                await client.ask("x", id="too-late", seconds=0.3)
            asked = asyncio.create_task(client.ask("x", id="dropped"))
            await asyncio.to_thread(system.await_query, "dropped")
            asked.cancel()
            with pytest.raises(asyncio.CancelledError):
                await asked
            with pytest.raises(NoAnswer):
                async for _ in client.stream("x", id="unread", seconds=0.3):
                    pass
            eventually(lambda: {"too-late", "dropped", "unread"} <= cancelled(), "the cancels")


@pytest.mark.parametrize("is_held", [False, True])
async def test_a_stream_that_is_left_is_taken_back_though_its_client_ends_at_once(
    system: RunningSystem, is_held: bool
) -> None:
    query_id = f"left-{is_held}"

    def begin() -> None:
        system.await_query(query_id)
        system.begin_answer(query_id, "The first words")

    with system.nobody_answers():
        async with client_of(system) as client:
            beginning = asyncio.create_task(asyncio.to_thread(begin))
            pieces = aiter(client.stream("x", id=query_id, adapter="base"))
            assert await anext(pieces) == "The first words"
            if not is_held:
                del pieces
        await beginning
        eventually(
            lambda: query_id in {cancel.query_id for cancel in system.cancels()}, "the cancel"
        )


async def test_of_two_questions_under_one_id_the_second_is_refused_until_the_first_is_answered(
    system: RunningSystem,
) -> None:
    async with client_of(system) as client:
        with system.nobody_answers():
            first = asyncio.create_task(client.ask("first", id="twice", adapter="base"))
            await asyncio.to_thread(system.await_query, "twice")
            with pytest.raises(InvalidRequest, match="twice is under way already"):
                await client.ask("second", id="twice", adapter="base")
            with pytest.raises(InvalidRequest, match="twice is under way already"):
                async for _ in client.stream("second", id="twice", adapter="base"):
                    pass
        assert (await first).text == "[base] first"
        assert (await client.ask("third", id="twice", adapter="base")).text == "[base] third"
    assert "twice" not in {cancel.query_id for cancel in system.cancels()}


async def test_a_stream_that_was_never_sent_takes_nothing_back(system: RunningSystem) -> None:
    async with client_of(system) as client:
        with pytest.raises(InvalidRequest, match="prompt is empty"):
            async for _ in client.stream(" ", id="corrected"):
                pass
        answer = await client.ask("x", id="corrected", adapter="base")
    assert answer.text == "[base] x"
    assert "corrected" not in {cancel.query_id for cancel in system.cancels()}


async def test_an_answer_that_can_t_be_read_fails_its_own_question_alone(
    system: RunningSystem,
) -> None:
    async def spoiled(query_id: str) -> None:
        await asyncio.to_thread(system.await_query, query_id)
        await asyncio.to_thread(system.spoil_answer, query_id)

    async def streamed() -> None:
        async for _ in client.stream("x", id="spoiled-stream", adapter="base"):
            pass

    async with client_of(system) as client:
        with system.nobody_answers():
            other = asyncio.create_task(client.ask("y", adapter="base"))
            whole = asyncio.create_task(client.ask("x", id="spoiled", adapter="base"))
            pieces = asyncio.create_task(streamed())
            await asyncio.gather(spoiled("spoiled"), spoiled("spoiled-stream"))
            for asked in (whole, pieces):
                with pytest.raises(DecodeError):
                    await asked
        assert (await other).text == "[base] y"


async def test_feedback_names_the_version_that_answered(system: RunningSystem) -> None:
    async with client_of(system, streams=False) as client:
        answer = await client.ask("x", adapter=LEGAL)
        await client.feedback(answer, 0.5, comment="So, so.")
        with pytest.raises(InvalidRequest):
            await client.feedback(answer, 5)
    command = [sys.executable, "-m", "cli.main", "feedback", answer.query_id, "--rating", "1"]
    variables = {
        "LORELAY_KAFKA": system.cluster.address,
        "LORELAY_TOPIC_PREFIX": system.topics.prefix,
    }
    told = await asyncio.to_thread(
        subprocess.run,
        command,
        cwd=ROOT,
        env=os.environ | variables,
        capture_output=True,
        text=True,
        check=True,
    )
    assert f"{LEGAL}@1.0.0" in told.stdout
    opinions = [
        system.codec.decode(Feedback, message.value() or b"")
        for message in system.cluster.read(system.topics.feedback)
    ]
    assert {feedback.query_id for feedback in opinions} == {answer.query_id}
    assert {feedback.adapter for feedback in opinions} == {f"{LEGAL}@1.0.0"}
    assert sorted(feedback.rating or 0.0 for feedback in opinions) == [0.5, 1.0]
