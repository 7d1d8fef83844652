"""What adapters are selected by, for the commands that look into it: registry or folders."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.status import Status

from cli.registry_reading import read_registry
from schemas.errors import ConfigurationError, RegistrationRefused
from schemas.records import AdapterVersion
from streams.registry.candidate import read_description
from streams.registry.examples import record_key, split
from streams.registry.metadata_file import METADATA
from streams.registry.reader import Registry, Selectable
from streams.router.settings import RouterSettings
from streams.selection.encoder import load_encoder
from streams.selection.labelled import Names
from streams.selection.selector import Selector

Folders = Annotated[
    list[Path] | None,
    typer.Option(
        "--examples",
        metavar="FOLDER",
        help="An adapter's folder, as `adapters register` takes it, or a folder of such folders, "
        "instead of the registry; can be repeated.",
    ),
]
EncoderName = Annotated[
    str | None,
    typer.Option(
        "--encoder",
        help="use-multilingual, minilm, a folder or a hub name, or several with a + between; else "
        "the router's.",
    ),
]


@dataclass(frozen=True, slots=True)
class Source:
    """The adapters that can be selected, and notes on those that can't."""

    selectable: Mapping[str, Selectable]
    notes: tuple[str, ...]

    @property
    def names(self) -> Names:
        """``id@version``, id and family of each."""
        found: dict[str, str] = {}
        for key, entry in self.selectable.items():
            version = entry.version
            found |= dict.fromkeys((version.family, version.adapter_id, key), key)
        return found

    def check_not_empty(self) -> None:
        """Raises: ConfigurationError where there is nothing to select."""
        if not self.selectable:
            raise ConfigurationError(
                "No adapter can be selected yet: register one that has examples with "
                "`lorelay adapters register FOLDER`, or name its folder with --examples."
            )


def router_settings(encoder: str | None, false_reject: float | None = None) -> RouterSettings:
    """The routers' settings, with another encoder or share of false rejects where one is named.

    Raises: ConfigurationError for a share that nothing can be fitted to.
    """
    if false_reject is not None and not 0 < false_reject < 1:
        raise ConfigurationError(
            f"--false-reject is {false_reject}: name a share above 0 and below 1."
        )
    named: dict[str, Any] = {"encoder": encoder, "false_reject": false_reject}
    return RouterSettings(**{name: value for name, value in named.items() if value is not None})


def read_source(settings: RouterSettings, folders: Sequence[Path], status: Status) -> Source:
    """The adapters in ``folders``, or the registry's where there are none.

    Raises: ConfigurationError for a folder that holds no adapter, and where the cluster can't
    be read.
    """
    if folders:
        registry = _of_folders(folders, status)
    else:
        status.update("Reading the registry")
        registry = asyncio.run(read_registry(settings))
    selectable = registry.selectable()
    return Source(selectable, tuple(_notes(registry, selectable, told_of_older=bool(folders))))


def learnt(settings: RouterSettings, source: Source, status: Status) -> Selector:
    """A selector that learnt the source's adapters, as routers do."""
    status.update(f"Loading the encoder {settings.encoder}")
    selector = Selector(load_encoder(settings.encoder), settings.false_reject)
    entries, studied = source.selectable, {}
    for number, (key, entry) in enumerate(entries.items(), 1):
        status.update(
            f"Learning {escape(key)} from {len(entry.examples):,} examples "
            f"({number} of {len(entries)})"
        )
        studied[key] = selector.study(entry.examples, entry.languages)
    status.update(f"Learning to tell {len(entries)} adapters apart")
    selector.change(studied)
    return selector


def print_notes(console: Console, source: Source) -> None:
    """Tells which adapters are not selected, and why."""
    for note in source.notes:
        console.print(f"[yellow]Note:[/] {escape(note)}", soft_wrap=True)


def _of_folders(folders: Sequence[Path], status: Status) -> Registry:
    registry = Registry()
    each = chain.from_iterable(map(_adapter_folders, folders))
    for offset, folder in enumerate(each):
        status.update(f"Reading {escape(str(folder))}")
        try:
            candidate = read_description(folder, datetime.now(UTC))
        except RegistrationRefused as error:
            raise ConfigurationError(f"--examples {folder}: {error.reason}") from error
        version = candidate.version
        if registry.get(version.key) is not None:
            raise ConfigurationError(
                f"--examples {folder}: {version.key} is in two of the folders; name one of them."
            )
        registry.apply_version(version.key, version, offset)
        for part in split(version, candidate.examples):
            registry.apply_examples(record_key(part), part)
    return registry


def _adapter_folders(folder: Path) -> Sequence[Path]:
    """The folder itself, or those inside it where it only holds adapters' folders."""
    if folder.is_dir() and not any(folder.glob("*.json")):
        return sorted(found.parent for found in folder.glob(f"*/{METADATA}")) or [folder]
    return [folder]


def _notes(
    registry: Registry, selectable: Mapping[str, Selectable], told_of_older: bool
) -> list[str]:
    by_family = {entry.version.family: key for key, entry in selectable.items()}
    notes = []
    for version in registry.versions():
        chosen = by_family.get(version.family)
        if version.status != "active" or version.key == chosen:
            continue
        if not registry.examples(version.key):
            notes.append(_without_examples(version))
        elif told_of_older:
            notes.append(f"{version.key} is left out: of its family, {chosen} is selected.")
    return notes


def _without_examples(version: AdapterVersion) -> str:
    return f"{version.key} has no examples: selection never chooses it, queries can name it."
