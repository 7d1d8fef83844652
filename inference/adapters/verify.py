"""Whether a registered version's folder is what was registered, and sound."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import unquote, urlsplit

from inference.engine.protocol import EngineLimits, LoadedAdapter
from schemas.errors import AdapterCorrupt, AdapterUnavailable
from schemas.records import AdapterVersion, Artifact, BaseModel
from streams.registry.artifact import BaseModules, PeftConfig, check_folder
from streams.registry.files import MissingArtifact, Roots, UnsoundArtifact


def verify(
    version: AdapterVersion,
    limits: EngineLimits,
    base: BaseModules | None = None,
    roots: Roots = (),
    folder: Path | None = None,
) -> LoadedAdapter:
    """The adapter, ready for ``Engine.load``. Blocks while it reads the weights.

    Its files lie in ``folder`` if they were fetched, else where it was registered, and in
    ``roots``, where there are any. Raises AdapterUnavailable for what another worker, or a later
    try, may be able to serve, and AdapterCorrupt for files that nobody can.
    """
    key = version.key
    artifact = servable(version, limits)
    with errors_of(key):
        found = check_folder(
            folder or local_path(key, artifact.uri),
            sha256=artifact.sha256,
            base=base,
            roots=roots,
        )
        _check_config(version, found.config)
    return LoadedAdapter(
        key, str(found.path), found.config.rank, version.prompt_template, found.files
    )


def servable(version: AdapterVersion, limits: EngineLimits) -> Artifact:
    """Where its files lie. Raises AdapterUnavailable for one that this engine can't serve."""
    if version.artifact is None:
        raise AdapterUnavailable(version.key, "it was registered without an artifact.")
    if not same_model(version.base_model, limits.base_model):
        raise _other_model(version, limits)
    return version.artifact


@contextmanager
def errors_of(key: str) -> Iterator[None]:
    """What is wrong with an adapter's files as errors of its requests."""
    try:
        yield
    except MissingArtifact as error:
        raise AdapterUnavailable(key, str(error)) from error
    except UnsoundArtifact as error:
        raise AdapterCorrupt(key, str(error)) from error


def unverified(version: AdapterVersion, limits: EngineLimits) -> LoadedAdapter:
    """The adapter as it was registered, for a server that has its files where we can't look."""
    if not same_model(version.base_model, limits.base_model):
        raise _other_model(version, limits)
    uri = version.artifact.uri if version.artifact else ""
    return LoadedAdapter(version.key, uri, version.training.lora_rank or 1, version.prompt_template)


def _check_config(version: AdapterVersion, config: PeftConfig) -> None:
    """The configuration has no digest of its own, but what it says was registered."""
    for name, registered, found in (
        ("rank", version.training.lora_rank, config.rank),
        ("lora_alpha", version.training.lora_alpha, config.lora_alpha),
    ):
        if registered is not None and registered != found:
            raise UnsoundArtifact(
                f"Its configuration says {name} {found:g}, but {registered:g} was registered: put "
                "the registered file back, or register this one under a new version."
            )


def _other_model(version: AdapterVersion, limits: EngineLimits) -> AdapterUnavailable:
    return AdapterUnavailable(
        version.key,
        f"it was trained on {version.base_model}, this worker serves {limits.base_model}.",
    )


def same_model(trained_on: BaseModel, served: BaseModel) -> bool:
    """Whether the names agree, and the versions where both are known."""
    versions = {trained_on.version, served.version} - {None}
    return trained_on.name == served.name and len(versions) < 2


def local_path(key: str, uri: str) -> Path:
    """The folder that a ``file:`` URI or a plain path names, as an absolute path.

    Raises AdapterUnavailable for what names no folder, or goes up by ``..``.
    """
    try:
        parts = urlsplit(uri)
    except ValueError as error:
        raise AdapterUnavailable(key, f"{uri} names no folder: {error}.") from error
    if parts.scheme and (parts.scheme != "file" or parts.netloc not in ("", "localhost")):
        raise AdapterUnavailable(
            key,
            f"{uri} can't be fetched; put the folder where workers see it as a path, on S3, or "
            "behind https://.",
        )
    path = Path(unquote(parts.path) if parts.scheme else uri)
    if ".." in path.parts:
        raise AdapterUnavailable(
            key, f"{uri} goes up by '..'; register the folder by its own path."
        )
    return path.absolute()
