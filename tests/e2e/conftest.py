"""One stack for all of these tests, with the demo's models and adapters."""

import json
import os
from collections.abc import Iterator

import pytest

from examples.demo import FAMILIES
from tests.e2e.running import ROOT, Stack

MODELS = ROOT / ".lorelay" / "models" / "demo"


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """The stack, with the demo's three adapters registered."""
    adapters = [MODELS / "adapters" / f"{family}-v1" for family in FAMILIES]
    missing = [path for path in (MODELS / "base", *adapters) if not path.is_dir()]
    if missing:
        pytest.skip(f"the demo's models are not there ({missing[0]}): run `make models`")
    folder = tmp_path_factory.mktemp("stack")
    (folder / ".lorelay").mkdir()
    (folder / ".lorelay" / "models").symlink_to(MODELS.parent)
    clean = {name: value for name, value in os.environ.items() if not name.startswith("LORELAY_")}
    clean["LORELAY_GATEWAY_PORT"] = "0"
    stack = Stack(folder, "", clean)
    try:
        stack.lorelay("up", "--kafka-port", "0")
        kafka = json.loads((folder / ".lorelay" / "stack.json").read_text())["kafka"]
        # Tells the client, which knows nothing of stacks, and agrees with the folder's own.
        stack = Stack(folder, kafka, clean | {"LORELAY_KAFKA": kafka})
        stack.lorelay("adapters", "register", *map(str, adapters))
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
