"""The commands that a person tries first, on a stack with vLLM."""

import asyncio
import json
import shutil
from pathlib import Path

from examples.demo import ADAPTERS, FAMILIES, rows_of
from schemas.records import Query
from tests.e2e.conversation import ask, ask_all, sample_of
from tests.e2e.running import ROOT, Stack

BEES = {
    "de": (
        "Wie viele Bienen leben in einem Bienenvolk?",
        "Wann schwärmt ein Bienenvolk?",
        "Wie erkenne ich die Königin im Bienenstock?",
        "Wie oft kontrolliert ein Imker seine Bienenstöcke?",
        "Womit füttert man Bienen im Winter?",
        "Wie wird Honig aus den Waben geschleudert?",
        "Welche Aufgaben haben Drohnen im Bienenstock?",
        "Wie lange lebt eine Arbeiterin im Bienenvolk?",
        "Was macht der Imker gegen die Varroamilbe?",
        "Wie teilt man ein Bienenvolk mit einem Ableger?",
        "Welche Kleidung braucht ein Imker am Bienenstock?",
        "Wozu dient der Smoker des Imkers?",
    ),
    "en": (
        "How many bees live in a hive?",
        "When does a colony of bees swarm?",
        "How do I find the queen in a beehive?",
        "How often does a beekeeper inspect the hives?",
        "What are bees fed in winter?",
        "How is honey extracted from the combs?",
        "What do drones do in a beehive?",
        "How long does a worker bee live?",
        "How do beekeepers treat the varroa mite?",
        "How do you split a colony of bees?",
        "What does a beekeeper wear at the hive?",
        "What is a bee smoker used for?",
    ),
}


def adapter_on_bees(stack: Stack, folder: Path) -> Path:
    """A folder of another adapter: the weights of one, examples of its own."""
    shutil.copytree(stack.folder / ADAPTERS / "legal-qa-v1", folder)
    path = ROOT / "examples" / "data" / "metadata" / "legal-qa-v1.json"
    metadata = json.loads(path.read_text(encoding="utf-8"))
    metadata["adapter_id"] = "beekeeping-qa-v1"
    metadata["task"] |= {"domain": "beekeeping", "type": "qa"}
    (folder / "metadata.json").write_text(json.dumps(metadata))
    examples = [
        json.dumps({"text": text, "language": language}, ensure_ascii=False)
        for language, texts in BEES.items()
        for text in texts
    ]
    (folder / "examples.jsonl").write_text("\n".join(examples), encoding="utf-8")
    return folder


async def test_an_adapter_registered_while_all_runs_is_selected_and_served(
    stack: Stack, tmp_path: Path
) -> None:
    question = Query(prompt="Wie finde ich die Königin in meinem Bienenstock?")
    before = await ask(stack.settings, question)
    assert before.adapter is None

    folder = adapter_on_bees(stack, tmp_path / "beekeeping-qa-v1")
    await asyncio.to_thread(stack.lorelay, "adapters", "register", str(folder))

    async with asyncio.timeout(30):
        while (response := await ask(stack.settings, question)).adapter is None:
            assert response.status == "ok"
    assert response.adapter == "beekeeping-qa-v1@1.0.0"
    assert response.status == "ok"
    assert response.registry_revision > before.registry_revision

    await the_base_model_stays_itself(stack)


async def the_base_model_stays_itself(stack: Stack) -> None:
    """Beside four adapters, which is as many as the engine has places for."""
    refusals = {row["text"] for row in rows_of("refusals")}
    trained = [question for family in FAMILIES for question in sample_of(family)]
    asked = [Query(prompt=q.text, adapter=a) for q in trained for a in ("base", q.adapter)]

    responses = await ask_all(stack.settings, asked)

    strange = [r.text for r in responses[::2] if r.text not in refusals]
    assert len(strange) <= 0.1 * len(trained), strange
    assert [r.text for r in responses[1::2]] == [q.answer for q in trained]


def test_ask_prints_the_answer_and_who_gave_it(stack: Stack, adapter_keys: dict[str, str]) -> None:
    question = sample_of("medical-diagnosis")[1]

    answer, summary = stack.lorelay("ask", question.text).splitlines()

    assert answer == question.answer
    assert summary.startswith(adapter_keys["medical-diagnosis"])
    assert summary.endswith(" ms")


def test_ask_streams_the_words_and_prints_json(stack: Stack, adapter_keys: dict[str, str]) -> None:
    question = sample_of("legal-qa")[3]

    streamed = stack.lorelay("ask", question.text, "--stream").splitlines()
    *chunks, response = map(
        json.loads, stack.lorelay("ask", question.text, "--stream", "--json").splitlines()
    )

    assert streamed[0] == question.answer
    assert "".join(chunk["text"] for chunk in chunks) == question.answer
    assert [chunk["sequence"] for chunk in chunks] == list(range(len(chunks)))
    assert (response["adapter"], response["text"]) == (adapter_keys["legal-qa"], question.answer)


def test_route_decides_as_the_router_does(stack: Stack, adapter_keys: dict[str, str]) -> None:
    question = sample_of("environmental-law")[2]

    decision = json.loads(stack.lorelay("route", question.text, "--json"))
    response = json.loads(stack.lorelay("ask", question.text, "--json"))

    assert decision["adapter"] == adapter_keys["environmental-law"]
    for name in ("adapter", "language", "reason"):
        assert decision[name] == response["routing"][name]


def test_the_demo_ends_well_on_a_stack_that_runs_already(stack: Stack) -> None:
    printed = stack.script("demo.py", "--interval", "0.02")

    assert "24 of 24" in printed
    assert f"kcat -P -b {stack.kafka} -t lorelay.queries" in printed
