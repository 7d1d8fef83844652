"""One stack for all of these tests, with the demo's models and adapters."""

import asyncio
import json
import os
from collections.abc import Iterator

import pytest

from examples.demo import FAMILIES, SAMPLING
from schemas.records import Query
from tests.e2e.conversation import ask, sample_of
from tests.e2e.running import ROOT, Stack
from tests.integration.tracing.collector import Collector, running_collector

MODELS = ROOT / ".lorelay" / "models" / "demo"

_LEARNING_SECONDS = 60.0


@pytest.fixture(scope="session")
def collector() -> Iterator[Collector]:
    """Where the stack sends its traces."""
    with running_collector() as running:
        yield running


@pytest.fixture(scope="session")
def stack(
    tmp_path_factory: pytest.TempPathFactory, adapter_keys: dict[str, str], collector: Collector
) -> Iterator[Stack]:
    """The stack, with the demo's three adapters registered and learnt by the router."""
    adapters = [MODELS / "adapters" / f"{family}-v1" for family in FAMILIES]
    missing = [path for path in (MODELS / "base", *adapters) if not path.is_dir()]
    if missing:
        pytest.skip(f"the demo's models are not there ({missing[0]}): run `make models`")
    folder = tmp_path_factory.mktemp("stack")
    (folder / ".lorelay").mkdir()
    (folder / ".lorelay" / "models").symlink_to(MODELS.parent)
    clean = {name: value for name, value in os.environ.items() if not name.startswith("LORELAY_")}
    clean["LORELAY_GATEWAY_PORT"] = "0"
    clean["OTEL_EXPORTER_OTLP_ENDPOINT"] = collector.endpoint
    clean["OTEL_BSP_SCHEDULE_DELAY"] = "100"
    stack = Stack(folder, "", clean)
    try:
        stack.lorelay("up", "--kafka-port", "0")
        kafka = json.loads((folder / ".lorelay" / "stack.json").read_text())["kafka"]
        # Tells the client, which knows nothing of stacks, and agrees with the folder's own.
        stack = Stack(folder, kafka, clean | {"LORELAY_KAFKA": kafka})
        stack.lorelay("adapters", "register", *map(str, adapters))
        asyncio.run(_selected(stack, adapter_keys))
        yield stack
    finally:
        Stack(folder, "", clean).lorelay("down")


@pytest.fixture(scope="session")
def adapter_keys() -> dict[str, str]:
    """``id@version`` of each of the demo's adapters, by family."""
    keys = {}
    for family in FAMILIES:
        path = ROOT / "examples" / "data" / "metadata" / f"{family}-v1.json"
        metadata = json.loads(path.read_text(encoding="utf-8"))
        keys[family] = f"{metadata['adapter_id']}@{metadata['adapter_version']}"
    return keys


async def _selected(stack: Stack, adapter_keys: dict[str, str]) -> None:
    """Returns when each adapter is chosen for a question of its own."""
    async with asyncio.timeout(_LEARNING_SECONDS):
        for family, key in adapter_keys.items():
            query = Query(prompt=sample_of(family)[0].text, sampling=SAMPLING)
            while (await ask(stack.settings, query)).adapter != key:
                pass
