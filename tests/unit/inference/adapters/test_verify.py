"""Whether a registered version is what lies in its folder."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from inference.adapters.verify import local_path, same_model, unverified, verify
from inference.engine.protocol import EngineLimits
from schemas.errors import AdapterCorrupt, AdapterUnavailable
from schemas.records import AdapterVersion, Artifact, BaseModel
from streams.registry.artifact import digest
from tests.contract.tiny_model import build_adapter

LIMITS = EngineLimits(BaseModel("tiny", "1"), 128, 4, 2, 4, 16)


@pytest.fixture
def version(tmp_path: Path) -> AdapterVersion:
    folder = build_adapter(tmp_path / "adapter", rank=8)
    weights = folder / "adapter_model.safetensors"
    return AdapterVersion(
        adapter_id="legal-qa-v1",
        adapter_version="1.0.0",
        family="legal-qa",
        domain="legal",
        task_type="qa",
        base_model=BaseModel("tiny", "1"),
        prompt_template="Q: {prompt}",
        artifact=Artifact(folder.as_uri(), digest(weights), weights.stat().st_size),
    )


def test_a_sound_version_is_ready_to_be_loaded(version: AdapterVersion, tmp_path: Path) -> None:
    adapter = verify(version, LIMITS)
    assert adapter.key == "legal-qa-v1@1.0.0"
    assert adapter.path == str(tmp_path / "adapter")
    assert (adapter.rank, adapter.prompt_template) == (8, "Q: {prompt}")


def moved(uri: str) -> Callable[[AdapterVersion], AdapterVersion]:
    return lambda version: replace(version, artifact=Artifact(uri, "0" * 64, 1))


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda version: replace(version, artifact=None), "without an artifact"),
        (lambda version: replace(version, base_model=BaseModel("other")), "serves tiny@1"),
        (lambda version: replace(version, base_model=BaseModel("tiny", "2")), "serves tiny@1"),
        (moved("/no/such/folder"), "no folder"),
        (moved("s3://bucket/adapter"), "can't be fetched"),
        (moved("file://elsewhere/adapter"), "can't be fetched"),
        (moved("file://[adapter"), "names no folder"),
        (moved("/models/../etc"), r"goes up by '\.\.'"),
        (moved("file:///models/%2e%2e/etc"), r"goes up by '\.\.'"),
        (moved("../etc"), r"goes up by '\.\.'"),
        (moved("/models/a\0b"), "no folder"),
        (moved("file:///models/a%00b"), "no folder"),
        (moved("/" + "a" * 5000), "can't be read"),
    ],
)
def test_what_may_be_served_elsewhere_or_later_is_unavailable(
    version: AdapterVersion, change: Callable[[AdapterVersion], AdapterVersion], problem: str
) -> None:
    with pytest.raises(AdapterUnavailable, match=problem) as raised:
        verify(change(version), LIMITS)
    assert raised.value.retryable


def test_other_weights_than_the_registered_are_corrupt(
    version: AdapterVersion, tmp_path: Path
) -> None:
    build_adapter(tmp_path / "adapter", rank=8, seed=99)
    with pytest.raises(AdapterCorrupt, match="sha256"):
        verify(version, LIMITS)


def test_an_adapter_of_other_widths_is_corrupt(version: AdapterVersion) -> None:
    base = {"model.layers.0.self_attn.q_proj": (4096, 4096)}
    with pytest.raises(AdapterCorrupt):
        verify(version, LIMITS, base)


def test_files_that_only_the_server_has_are_not_looked_at(version: AdapterVersion) -> None:
    elsewhere = replace(version, artifact=Artifact("s3://bucket/legal", "0" * 64, 1))
    adapter = unverified(elsewhere, LIMITS)
    assert (adapter.key, adapter.path) == (version.key, "s3://bucket/legal")
    with pytest.raises(AdapterUnavailable, match="serves tiny@1"):
        unverified(replace(elsewhere, base_model=BaseModel("other")), LIMITS)


@pytest.mark.parametrize(
    ("trained_on", "served", "same"),
    [
        (BaseModel("a"), BaseModel("a"), True),
        (BaseModel("a", "1"), BaseModel("a"), True),
        (BaseModel("a", "1"), BaseModel("a", "1"), True),
        (BaseModel("a", "1"), BaseModel("a", "2"), False),
        (BaseModel("a"), BaseModel("b"), False),
    ],
)
def test_models_agree_by_name_and_by_version_where_it_is_known(
    trained_on: BaseModel, served: BaseModel, same: bool
) -> None:
    assert same_model(trained_on, served) is same


@pytest.mark.parametrize(
    ("uri", "path"),
    [
        ("/models/legal", "/models/legal"),
        ("file:///models/with%20space", "/models/with space"),
        ("file://localhost/models/legal", "/models/legal"),
    ],
)
def test_folders_are_named_by_path_or_file_uri(uri: str, path: str) -> None:
    assert local_path("a@1.0.0", uri) == Path(path)


def test_a_relative_path_starts_at_the_working_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert local_path("a@1.0.0", "adapters/legal") == tmp_path / "adapters" / "legal"


def test_a_version_outside_the_roots_may_be_served_by_another_worker(
    version: AdapterVersion, tmp_path: Path
) -> None:
    verify(version, LIMITS, roots=(tmp_path,))
    with pytest.raises(AdapterUnavailable, match="outside LORELAY_ADAPTER_ROOTS") as raised:
        verify(version, LIMITS, roots=(tmp_path / "other",))
    assert not isinstance(raised.value, AdapterCorrupt)
