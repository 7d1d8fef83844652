"""`python -m benchmarks.selection_scale`: prints a table, and writes the figures as JSON."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from benchmarks.figures import Figures
from benchmarks.plan import load
from benchmarks.selection_scale import beside, encoding, growth, intents
from benchmarks.selection_scale.adapters import MadeUpEncoder, fitted
from streams.selection.encoder import DEFAULT_ENCODER, load_encoder

_COUNTS = [10, 30, 100, 300, 1_000]
_INTENTS = "clinc150.jsonl"
_ENCODERS = [DEFAULT_ENCODER, "minilm"]


class Part(StrEnum):
    """What is measured."""

    GROWTH = "growth"
    LEARNING = "learning"
    ENCODING = "encoding"


app = typer.Typer(add_completion=False, context_settings={"help_option_names": ["-h", "--help"]})


@app.command()
def main(
    parts: Annotated[list[Part] | None, typer.Argument(help="All by default.")] = None,
    adapters: Annotated[
        list[int] | None, typer.Option(help="How many; by default 10, 30, 100, 300 and 1,000.")
    ] = None,
    examples: Annotated[int, typer.Option(help="Of each adapter.")] = 200,
    folders: Annotated[
        list[Path] | None,
        typer.Option(
            "--data",
            metavar="FOLDER",
            help="Where clinc150.jsonl may lie, as `python -m benchmarks.selection --help` "
            "describes it: its 150 intents are then compared as real adapters. May be repeated.",
        ),
    ] = None,
    json_file: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Where to write the figures.")
    ] = None,
) -> None:
    """Measure how selection grows with its adapters, learns beside live traffic, and encodes."""
    figures, before, chosen = Figures(), load(), parts or list(Part)
    encoder = load_encoder(threads=1)
    if Part.GROWTH in chosen:
        made = MadeUpEncoder(encoder, fitted(encoder), examples)
        growth.measure(made, sorted(adapters or _COUNTS), figures)
        for path in (folder / _INTENTS for folder in folders or ()):
            if path.exists():
                intents.measure(encoder, path, figures)
    if Part.LEARNING in chosen:
        beside.measure(figures)
    if Part.ENCODING in chosen:
        encoding.measure(_ENCODERS, figures)
    Console().print(figures.table())
    if json_file is not None:
        figures.write(json_file, 1, {"examples": str(examples)}, before)


if __name__ == "__main__":
    app()
