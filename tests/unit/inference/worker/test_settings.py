"""What a worker can be told."""

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from pydantic import ValidationError

from inference.worker.settings import WorkerSettings
from schemas.records import InferenceRequest, Origin, Query, Routing


def test_adapters_may_lie_anywhere_unless_roots_are_named() -> None:
    assert WorkerSettings().adapter_roots == ()


@pytest.mark.parametrize(
    "written", ["{0}/a:{0}/b", "{0}/a,{0}/b", " {0}/a , {0}/link:", "{0}/b/../a,{0}/b"]
)
def test_roots_are_folders_between_commas_or_colons(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, written: str
) -> None:
    (tmp_path / "b").mkdir()
    (tmp_path / "link").symlink_to("b")
    monkeypatch.setenv("LORELAY_ADAPTER_ROOTS", written.format(tmp_path))
    assert WorkerSettings().adapter_roots == (tmp_path / "a", tmp_path / "b")


def test_a_relative_root_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LORELAY_ADAPTER_ROOTS", "models")
    with pytest.raises(ValidationError, match="models is a relative path; give absolute ones"):
        WorkerSettings()


@pytest.mark.parametrize(
    ("batch", "settings", "left_free"),
    [
        (8, {}, 0),
        (16, {}, 2),
        (256, {}, 8),
        (16, {"reserved_places": 0}, 0),
        (16, {"reserved_places": 5}, 5),
        (256, {"max_running": 16}, 8),
    ],
)
async def test_an_adapter_leaves_some_places_of_a_large_batch_free(
    batch: int, settings: dict[str, int], left_free: int
) -> None:
    admission = WorkerSettings(**settings).admission(batch)
    async with AsyncExitStack() as running:
        for number in range(2 * batch):
            asked = InferenceRequest(
                Query(prompt="x"), Routing(adapter="a"), Origin("q", 0, number)
            )
            turn = asyncio.create_task(running.enter_async_context(admission.turn(asked)))
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            if not turn.done():
                turn.cancel()
        most = min(batch, settings.get("max_running", batch))
        if left_free:
            assert admission.running == most - left_free
        else:
            assert admission.running >= most
