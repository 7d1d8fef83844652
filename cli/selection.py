"""`lorelay selection`: evaluate and audit."""

import json
from collections.abc import Iterable, Sequence
from itertools import chain
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.console import Console, RenderableType
from rich.status import Status
from rich.text import Text

from cli import audit_display, evaluation_display
from cli.heat_map import Pictures, check_writable, draw
from cli.query_client import quieten_clients
from cli.selection_sources import (
    EncoderName,
    Folders,
    Source,
    learnt,
    print_notes,
    read_source,
    router_settings,
)
from schemas.errors import ConfigurationError, LorelayError
from streams.selection.audit import audit as audited
from streams.selection.decision import Decision
from streams.selection.evaluation import evaluate as evaluated
from streams.selection.labelled import LabelledQuery, Names, read_labelled
from streams.selection.selector import Selector

_BATCH: Final = 256

app = typer.Typer(
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    rich_markup_mode="markdown",
)

Json = Annotated[bool, typer.Option("--json", help="Print it as JSON.")]
FalseReject = Annotated[
    float | None,
    typer.Option(
        metavar="SHARE",
        help="The share of an adapter's own queries that may be rejected; else the router's.",
    ),
]


class AccuracyTooLow(LorelayError):
    """Fewer queries than asked for went where they belong."""

    code = "accuracy_too_low"


@app.command()
def evaluate(
    files: Annotated[
        list[Path],
        typer.Argument(
            metavar="FILE.jsonl...", help='{"text", "adapter", "language"}, one a line.'
        ),
    ],
    folders: Folders = None,
    encoder: EncoderName = None,
    false_reject: FalseReject = None,
    min_accuracy: Annotated[
        float | None, typer.Option(min=0, max=1, help="The exit status is 1 below it.")
    ] = None,
    mistakes: Annotated[int, typer.Option(min=0, help="How many mistakes to print.")] = 10,
    pictures: Pictures = None,
    as_json: Json = False,
) -> None:
    """Measure the selection on labelled queries of yours: accuracy, rejects, mistakes.

    "adapter" is an id@version, an id or a family, or null or "none" where the query belongs to
    none of them; "language" may be left out, it is detected then. Nothing is generated. The
    adapters are the registry's, or those in folders that are not registered yet.

    Examples:

    lorelay selection evaluate queries.jsonl

    lorelay selection evaluate queries.jsonl --min-accuracy 0.9 --picture confusion.png

    lorelay selection evaluate queries.jsonl --examples adapters --json | jq .accuracy
    """
    quieten_clients()
    settings = router_settings(encoder, false_reject)
    check_writable(pictures or [])
    told = Console(stderr=True, highlight=False)
    with told.status("Reading the queries") as status:
        lines = {file: _lines(file) for file in files}
        source = read_source(settings, folders or [], status)
        source.check_not_empty()
        queries = _queries(lines, source.names)
        selector = learnt(settings, source, status)
        found = evaluated(queries, _decisions(selector, queries, status), _texts(source))
        status.update("Drawing")
        draw(evaluation_display.heat_map(found), pictures or [])
    print_notes(told, source)
    if as_json:
        _print_json(evaluation_display.as_json(found, settings.encoder, mistakes))
    else:
        _print(evaluation_display.parts(found, settings.encoder, mistakes))
    if min_accuracy is not None and (found.accuracy.rate or 0.0) < min_accuracy:
        raise AccuracyTooLow(
            f"The accuracy is {found.accuracy.rate:.3f}, {min_accuracy} was asked for: "
            "`lorelay selection audit` shows which examples to mend."
        )


@app.command()
def audit(
    folders: Folders = None,
    encoder: EncoderName = None,
    false_reject: FalseReject = None,
    pictures: Pictures = None,
    most: Annotated[int, typer.Option(min=1, help="How many of each kind to print.")] = 10,
    as_json: Json = False,
) -> None:
    """Find what makes the selection unsure: overlaps, stray examples, too few, loose thresholds.

    Every finding comes with what to do about it. The adapters are the registry's, or those in
    folders that are not registered yet; nothing is changed.

    Examples:

    lorelay selection audit

    lorelay selection audit --picture overlap.svg --picture overlap.png

    lorelay selection audit --examples adapters/legal-qa-v1 --examples adapters/tax-qa-v1
    """
    quieten_clients()
    settings = router_settings(encoder, false_reject)
    check_writable(pictures or [])
    told = Console(stderr=True, highlight=False)
    with told.status("Reading the examples") as status:
        source = read_source(settings, folders or [], status)
        source.check_not_empty()
        selector = learnt(settings, source, status)
        found = audited(
            {adapter: selector.material(adapter) for adapter in selector.adapters},
            selector.background,
            lambda done, total: status.update(f"Comparing the examples: {done} of {total}"),
        )
        status.update("Drawing")
        draw(audit_display.heat_map(found), pictures or [])
    print_notes(told, source)
    if as_json:
        _print_json(audit_display.as_json(found, settings.encoder))
        return
    _print(audit_display.parts(found, settings.encoder, most))


def _lines(file: Path) -> list[str]:
    try:
        with file.open(encoding="utf-8-sig") as lines:
            return list(lines)
    except OSError as error:
        raise ConfigurationError(f"{file} can't be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"{file} is not UTF-8: {error.reason}.") from error


def _queries(lines: dict[Path, list[str]], names: Names) -> list[LabelledQuery]:
    read = (read_labelled(content, str(file), names) for file, content in lines.items())
    return list(chain.from_iterable(read))


def _decisions(
    selector: Selector, queries: Sequence[LabelledQuery], status: Status
) -> list[Decision]:
    decided: list[Decision] = []
    for start in range(0, len(queries), _BATCH):
        status.update(f"Selecting for the queries: {start:,} of {len(queries):,}")
        batch = queries[start : start + _BATCH]
        texts = [query.text for query in batch]
        languages = [query.language for query in batch]
        decided += selector.select(selector.encoder.encode(texts), texts, languages)
    return decided


def _texts(source: Source) -> set[str]:
    return {example.text for entry in source.selectable.values() for example in entry.examples}


def _print(parts: Iterable[RenderableType]) -> None:
    console = Console(highlight=False)
    for part in parts:
        console.print(part, soft_wrap=isinstance(part, Text))


def _print_json(found: dict[str, Any]) -> None:
    typer.echo(json.dumps(found, ensure_ascii=False, indent=2))
