"""`lorelay adapters register`."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.status import Status

from cli.fetch_display import FetchDisplay
from cli.plain_errors import plain_errors
from cli.printable import printable
from cli.query_client import quieten_clients
from cli.registry_reading import read_registry
from cli.versions import shares_text, whoever
from schemas.codec import Codec
from schemas.errors import ConfigurationError, LorelayError, RegistrationRefused, RegistryConflict
from schemas.records import AdapterVersion
from streams.kafka.settings import KafkaSettings
from streams.registry.candidate import Candidate, read_candidate
from streams.registry.remote.fetching import Fetching
from streams.registry.remote.places import is_remote
from streams.registry.validation import Novelty
from streams.registry.writer import RegistryWriter


class NotAllRegistered(LorelayError):
    """Some of several adapters were refused; the reasons are printed already."""

    code = "not_all_registered"


def register(
    sources: Annotated[
        list[str],
        typer.Argument(
            metavar="METADATA.json|FOLDER|URI...",
            help="A metadata file or its folder: here, on S3 or behind HTTPS.",
        ),
    ],
    examples: Annotated[
        Path | None,
        typer.Option(
            help="JSON lines that selection learns from; else examples.jsonl beside the weights."
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print a line of JSON for each.")] = False,
) -> None:
    """Register adapter versions.

    Running routers and workers serve the first version of a family within seconds. A later one
    stands by, for queries that name it exactly, until promote, split or canary gives it more.

    A folder holds PEFT's adapter_model.safetensors and adapter_config.json, the metadata as
    metadata.json and examples.jsonl. A metadata file elsewhere names the folder in
    vllm.adapter_path. Nothing in the folder is changed. Workers read the files where they lie.

    An s3:// or https:// URI names such a folder, or the metadata file in it. Its files are
    fetched, checked and not kept; workers fetch them from there, too. LORELAY_ADAPTER_SOURCES
    says, here and for workers, from where anything may be fetched; credentials come from AWS_*
    variables or a netrc file.

    The exit status is 1 if one was refused; the others are registered all the same.

    Examples:

    lorelay adapters register adapters/legal-qa-v1

    lorelay adapters register exports/*.json

    lorelay adapters register legal.json --examples training/legal.jsonl

    LORELAY_ADAPTER_SOURCES=s3://models lorelay adapters register s3://models/legal-qa-v1/
    """
    quieten_clients()
    if examples is not None and len(sources) > 1:
        raise ConfigurationError("--examples belongs to one adapter: register them one by one.")
    refused = asyncio.run(_register(KafkaSettings(), sources, examples, as_json))
    if refused and len(sources) > 1:
        raise NotAllRegistered(f"{refused} of {len(sources)} adapters were not registered.")
    if refused:
        raise typer.Exit(1)


async def _register(
    settings: KafkaSettings, sources: Sequence[str], examples: Path | None, as_json: bool
) -> int:
    """How many were refused."""
    console = Console(highlight=False)
    told = Console(stderr=True, highlight=False)
    refused = 0
    with told.status("Reading the registry") as status:
        read = partial(_read, examples=examples, told=told, status=status)
        fetched = await _fetched(settings, sources, read)
        async with (
            plain_errors(settings),
            RegistryWriter(settings, Codec(), whoever(None)) as writer,
        ):
            for source in sources:
                try:
                    candidate = fetched.get(source) or await read(source)
                    if isinstance(candidate, RegistrationRefused):
                        raise candidate
                    novelty, warnings = await writer.register(candidate, datetime.now(UTC))
                except RegistryConflict:
                    raise  # this writer's turn is over
                except RegistrationRefused as error:
                    refused += 1
                    said = escape(printable(f"{source}: {error.reason}"))
                    told.print(f"[red]refused[/] {said}")
                    _report(as_json, source=source, result="refused", reason=error.reason)
                    continue
                version = writer.registry.get(candidate.version.key) or candidate.version
                if version.status == "registered" and novelty is Novelty.NEW:
                    serving = shares_text(writer.registry.shares(version.family))
                    warnings.append(
                        f"It stands by ({version.family}: {serving}): `lorelay adapters promote "
                        f"{version.key}` gives it the family's queries, split or canary a part."
                    )
                if not as_json:
                    console.print(_sentence(version, novelty, len(candidate.examples)))
                    for warning in warnings:
                        told.print(
                            f"  [yellow]Note:[/] {escape(printable(warning))}", soft_wrap=True
                        )
                _report(
                    as_json,
                    source=source,
                    adapter=version.key,
                    result=novelty.name.lower(),
                    status=version.status,
                    warnings=warnings,
                )
    return refused


async def _fetched(
    settings: KafkaSettings,
    sources: Sequence[str],
    read: Callable[[str], Awaitable[Candidate]],
) -> Mapping[str, Candidate | RegistrationRefused]:
    """What lies elsewhere, before this writer's turn begins: a download that takes minutes is
    not to be lost to somebody who registers meanwhile.
    """
    elsewhere = [source for source in sources if is_remote(source)]
    if elsewhere:
        await read_registry(settings)  # a cluster that can't be reached says so before it
    found: dict[str, Candidate | RegistrationRefused] = {}
    for source in elsewhere:
        try:
            found[source] = await read(source)
        except RegistrationRefused as error:
            found[source] = error
    return found


async def _read(source: str, *, examples: Path | None, told: Console, status: Status) -> Candidate:
    """Reads it on a thread; what that still fetches ends with whoever waits for it."""
    status.update(f"Checking {escape(source)}")
    fetching = Fetching(FetchDisplay(told, status).received)
    reading = partial(read_candidate, source, datetime.now(UTC), examples, fetching=fetching)
    try:
        return await asyncio.to_thread(reading)
    except asyncio.CancelledError:
        fetching.end()
        raise


def _report(as_json: bool, **fields: Any) -> None:
    if as_json:
        typer.echo(json.dumps(fields, ensure_ascii=False))


def _sentence(version: AdapterVersion, novelty: Novelty, examples: int) -> str:
    style = "dim" if novelty is Novelty.SAME else "green"
    rank = version.training.lora_rank
    known = f"{examples} example{'' if examples == 1 else 's'}"
    return f"[{style}]{novelty.value}[/] [bold]{version.key}[/] (rank {rank}, {known})"
