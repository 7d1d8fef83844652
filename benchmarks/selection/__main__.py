"""`python -m benchmarks.selection`: measures selection, prints tables, writes JSON."""

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from benchmarks.figures import machine
from benchmarks.plan import load
from benchmarks.selection.languages import language_table
from benchmarks.selection.lorelay import Lorelay, remembering
from benchmarks.selection.peer import Peers, peer_version
from benchmarks.selection.queries import SOURCES, QuerySet, load_sets
from benchmarks.selection.rates import rate_table
from benchmarks.selection.robustness import robustness_table
from benchmarks.selection.scope import scope_tables
from benchmarks.selection.tables import Table
from benchmarks.selection.trial import Contender
from schemas.errors import ConfigurationError, LorelayError
from streams.selection.encoder import Encoder, load_encoder
from streams.selection.joined import SEPARATOR

_PEERS = Path(__file__).parents[2] / ".venv-peers" / "bin" / "python"
_PROFILES = ("use-multilingual", "minilm", "use-multilingual+minilm")
_WIDTH = 160

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Extent:
    """How much is measured: ``sizes`` are examples of each adapter (None: all) for the table of
    rejects, ``each`` for the others; rates are taken ``rounds`` times for ``seconds``.
    """

    sizes: tuple[int | None, ...] = (10, 50, 200, None)
    each: int = 50
    draws: int = 5
    rounds: int = 3
    seconds: float = 1.0


QUICK = Extent(sizes=(10, None), each=10, draws=2, rounds=1, seconds=0.1)

app = typer.Typer(
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    rich_markup_mode="markdown",
)


@app.command(epilog="\n\n".join(SOURCES.split("\n\n")))
def main(
    folders: Annotated[
        list[Path] | None,
        typer.Option("--data", metavar="FOLDER", help="Where query sets lie; may be repeated."),
    ] = None,
    encoders: Annotated[
        list[str] | None,
        typer.Option(
            "--encoder",
            metavar="NAME",
            help=f"May be repeated; by default {', '.join(_PROFILES)}.",
            show_default=False,
        ),
    ] = None,
    threads: Annotated[int, typer.Option(min=1, help="Of the encoders.")] = 2,
    sizes: Annotated[
        list[int] | None,
        typer.Option(
            "--examples",
            metavar="N",
            min=1,
            help="Of each adapter; may be repeated. By default 10, 50, 200 and all.",
            show_default=False,
        ),
    ] = None,
    draws: Annotated[int, typer.Option(min=1, help="Of examples, to be averaged.")] = 5,
    with_peers: Annotated[
        bool, typer.Option("--peers/--no-peers", help="Beside semantic-router, in .venv-peers.")
    ] = True,
    peer_encoders: Annotated[
        list[str] | None,
        typer.Option(
            "--peer-encoder",
            metavar="NAME",
            help="What semantic-router gets of the encoders; by default each that isn't joined.",
            show_default=False,
        ),
    ] = None,
    is_quick: Annotated[
        bool, typer.Option("--quick", help="A short run, which shows only that all works.")
    ] = False,
    json_file: Annotated[
        Path | None,
        typer.Option(
            "--json", metavar="FILE", dir_okay=False, writable=True, help="Where figures go, too."
        ),
    ] = None,
) -> None:
    """Measure how well and how fast adapters are selected, each set's domains being adapters."""
    console = Console(stderr=True)
    if not folders:
        console.print(f"[red]Name a folder of query sets with --data FOLDER.[/]\n\n{SOURCES}")
        raise typer.Exit(2)
    extent = QUICK if is_quick else Extent(draws=draws)
    if sizes:
        extent = replace(extent, sizes=tuple(sizes))
    began, busy, tables = monotonic(), load(), list[Table]()
    printed = Console(width=None if sys.stdout.isatty() else _WIDTH)

    def say(text: str) -> None:
        console.print(f"[dim]{monotonic() - began:6.0f} s[/]  {escape(text)}", highlight=False)

    try:
        sets = load_sets(folders)
        names = encoders or list(_PROFILES)
        given = peer_encoders or [name for name in names if SEPARATOR not in name]
        peers = _peers(names, given) if with_peers else None
        loaded = [load_encoder(name, threads=threads) for name in names]
        for table in measured(sets, loaded, peers, extent, threads, say):
            tables.append(table)
            printed.print(table.rich(), "")
    except LorelayError as error:
        console.print(f"[red]{escape(str(error))}[/]", highlight=False)
        raise typer.Exit(1) from error
    finally:
        if json_file and tables:
            _write(json_file, tables, extent, busy)


def measured(
    sets: Sequence[QuerySet],
    encoders: Sequence[Encoder],
    peers: Peers | None,
    extent: Extent,
    threads: int,
    say: Say,
) -> Iterator[Table]:
    """Every table that the sets have queries for, as soon as it is there."""
    texts = list({query.text: None for known in sets for query in known.queries})
    yield rate_table(encoders, texts, extent.rounds, extent.seconds, threads, say)
    known_vectors = remembering(encoders)
    ours = [Lorelay(encoder) for encoder in known_vectors]
    contenders: list[Contender] = [*ours, *(peers.over(known_vectors) if peers else [])]
    for known in sets:
        if known.has_strangers:
            yield from scope_tables(known, contenders, extent.sizes, extent.draws, say)
        if known.parallel_languages:
            yield language_table(known, contenders, extent.each, extent.draws, say)
        if known.has_strangers or known.parallel_languages:
            yield robustness_table(known, ours, extent.each, extent.draws, say)
        else:
            say(f"{known.name} is left out: it has no translations, and no oos in test beside val.")


def _peers(names: Sequence[str], given: Sequence[str]) -> Peers:
    """Raises: ConfigurationError where semantic-router is missing, or an encoder isn't measured."""
    for name in given:
        if name not in names:
            raise ConfigurationError(
                f"--peer-encoder {name}: choose of what is measured, which is {', '.join(names)}."
            )
    version = peer_version(_PEERS)
    if version is None:
        raise ConfigurationError(
            "semantic-router is not installed: run `make bench-selection`, which does that, or "
            "leave it out (--no-peers)."
        )
    return Peers(_PEERS, version, frozenset(given))


def _write(path: Path, tables: Sequence[Table], extent: Extent, busy: float) -> None:
    content = {
        "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine() | {"load_before": busy},
        "draws": extent.draws,
        "tables": [table.as_json() for table in tables],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", "utf-8")


if __name__ == "__main__":
    app()
