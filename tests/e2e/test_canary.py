"""Canaries on real vLLM: whoever begins a trial does nothing more, and its verdict comes."""

import asyncio
import json
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

from confluent_kafka import Producer

from examples.demo import ADAPTERS, SAMPLING, Question
from schemas.records import Query, Response
from tests.e2e.conversation import ask_all, sample_of
from tests.e2e.running import Stack

#: A trial of a minute, on a machine that may do other things, too: some 70 answers show it.
LENIENT = ("--tolerate-errors", "8", "--tolerate-slow", "30")
#: The beginning of an answer tells whether it is right.
SHORT = replace(SAMPLING, max_tokens=8)
#: So many questions are asked together, every so many seconds: no more than a trial needs.
_AT_ONCE = 24
_EVERY_SECONDS = 2.0


def version_of(stack: Stack, folder: Path, adapter_id: str, number: str, weights: str) -> Path:
    """A folder of a version with the weights of one of the demo's adapters, and no examples."""
    shutil.copytree(
        stack.folder / ADAPTERS / weights, folder, ignore=shutil.ignore_patterns("examples.jsonl")
    )
    metadata = json.loads((folder / "metadata.json").read_text(encoding="utf-8"))
    metadata |= {"adapter_id": adapter_id, "adapter_version": number}
    metadata["task"]["domain"] = adapter_id.partition("-")[0]
    (folder / "metadata.json").write_text(json.dumps(metadata))
    return folder


def is_right(question: Question, response: Response) -> bool:
    return bool(response.text) and question.answer.startswith((response.text or "").strip())


@asynccontextmanager
async def asking(
    stack: Stack, family: str, questions: Sequence[Question]
) -> AsyncIterator[list[Response]]:
    """Users who ask the family all the while, and rate what they are told; the responses."""
    producer = Producer({"bootstrap.servers": stack.kafka})
    answered: list[Response] = []
    is_over = asyncio.Event()

    async def ask_and_rate() -> None:
        turn = 0
        while not is_over.is_set():
            asked = [questions[(turn + n) % len(questions)] for n in range(_AT_ONCE)]
            turn += _AT_ONCE
            queries = [Query(prompt=q.text, adapter=family, sampling=SHORT) for q in asked]
            responses, _ = await asyncio.gather(
                ask_all(stack.settings, queries), asyncio.sleep(_EVERY_SECONDS)
            )
            for question, response in zip(asked, responses, strict=True):
                rating = 1.0 if is_right(question, response) else 0.0
                rated = {"query_id": response.query_id, "adapter": response.adapter}
                producer.produce("lorelay.feedback", json.dumps(rated | {"rating": rating}))
            producer.flush()
            answered.extend(responses)

    users = asyncio.create_task(ask_and_rate())
    try:
        yield answered
    finally:
        # Cancelled while it connects, aiokafka's client would leave its connection open.
        is_over.set()
        await users


async def tried(stack: Stack, *arguments: str) -> tuple[int, str]:
    """The status of the command that begins a trial and waits, and what it prints."""
    command = [sys.executable, "-P", "-m", "cli.main", "adapters", "canary", *arguments, "--wait"]
    done = await asyncio.to_thread(
        subprocess.run,
        command,
        cwd=stack.folder,
        env=stack.environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode in (0, 1), done.stderr
    return done.returncode, done.stdout + done.stderr


def last_event(stack: Stack, family: str, name: str) -> dict[str, object]:
    lines = stack.lorelay("adapters", "history", family, "--json").splitlines()
    found: dict[str, object] = [e for e in map(json.loads, lines) if e["event"] == name][-1]
    return found


async def test_a_version_as_good_as_the_old_one_is_promoted(stack: Stack, tmp_path: Path) -> None:
    for number in ("1.0.0", "1.1.0"):
        folder = version_of(stack, tmp_path / number, "tenancy-qa-v1", number, "legal-qa-v1")
        await asyncio.to_thread(stack.lorelay, "adapters", "register", str(folder))
    questions = sample_of("legal-qa")
    async with asking(stack, "tenancy-qa", questions) as answered:
        status, printed = await tried(
            stack, "tenancy-qa-v1", "--share", "50", "--for", "60s", *LENIENT
        )
    assert status == 0, printed
    assert "promoted tenancy-qa-v1@1.1.0 (canary → active)" in printed
    arms = {"tenancy-qa-v1@1.0.0", "tenancy-qa-v1@1.1.0"}
    assert {response.adapter for response in answered} == arms
    assert all(response.status == "ok" for response in answered)
    figures = last_event(stack, "tenancy-qa", "promoted")["figures"]
    assert isinstance(figures, dict)
    assert figures["canary_mean_rating"] == figures["others_mean_rating"] == 1.0
    assert figures["evidence_slow_fine"] >= figures["evidence_needed_fine"]


async def test_one_whose_answers_people_find_wrong_is_rolled_back(
    stack: Stack, tmp_path: Path
) -> None:
    good = version_of(stack, tmp_path / "1.0.0", "lease-qa-v1", "1.0.0", "legal-qa-v1")
    bad = version_of(stack, tmp_path / "2.0.0", "lease-qa-v2", "2.0.0", "medical-diagnosis-v1")
    await asyncio.to_thread(stack.lorelay, "adapters", "register", str(good), str(bad))
    async with asking(stack, "lease-qa", sample_of("legal-qa")):
        status, printed = await tried(stack, "lease-qa-v2", "--share", "30", "--for", "1h")
    assert status == 1, printed
    assert "failed lease-qa-v2@2.0.0 (canary → failed)" in printed
    assert "Its mean rating is worse than the others' by more than 0.1" in printed
    event = last_event(stack, "lease-qa", "rolled_back")
    assert event["shares"] == {"lease-qa-v1@1.0.0": 100.0}
    figures = event["figures"]
    assert isinstance(figures, dict)
    assert figures["canary_mean_rating"] < 0.5
    assert figures["others_mean_rating"] == 1.0
    (after,) = await ask_all(
        stack.settings, [Query(prompt=sample_of("legal-qa")[0].text, adapter="lease-qa")]
    )
    assert after.adapter == "lease-qa-v1@1.0.0"
