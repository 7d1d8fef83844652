"""Each kind of engine from the same settings."""

import pytest

from inference.engine.config import EngineSettings
from inference.engine.factory import EngineKind, make_engine
from schemas.errors import ConfigurationError, EngineUnavailable


@pytest.mark.parametrize("kind", ["vllm", "http", "echo"])
async def test_an_engine_is_made_without_being_started(kind: EngineKind) -> None:
    engine = make_engine(kind, EngineSettings(model="some/model"))
    assert not await engine.healthy()
    await engine.stop()


@pytest.mark.parametrize("kind", ["vllm", "http"])
async def test_an_engine_has_no_limits_before_its_start(kind: EngineKind) -> None:
    with pytest.raises(EngineUnavailable):
        _ = make_engine(kind, EngineSettings(model="some/model")).limits


async def test_vllm_needs_a_model_and_its_folder() -> None:
    with pytest.raises(ConfigurationError, match="LORELAY_MODEL"):
        await make_engine("vllm", EngineSettings()).start()
    with pytest.raises(ConfigurationError, match="no model folder"):
        await make_engine("vllm", EngineSettings(model="/no/such/folder")).start()


def test_an_unknown_kind_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="choose vllm, http or echo"):
        make_engine("gpt", EngineSettings())  # type: ignore[arg-type]
