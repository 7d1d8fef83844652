"""`lorelay train`."""

import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from cli.environments import enter_worker_environment


def train(
    rows: Annotated[
        Path,
        typer.Argument(metavar="DATA.jsonl", help="Rows with instruction and output, or chats."),
    ],
    metadata: Annotated[
        Path, typer.Option(metavar="M.json", help="The adapter's metadata, as ThemisDB exports it.")
    ],
    base: Annotated[str, typer.Option(metavar="MODEL", help="A folder or a Hugging Face name.")],
    out: Annotated[Path, typer.Option(metavar="FOLDER", help="Where the adapter goes.")],
    held_out: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Rows, or texts, that are not trained but kept for calibration; "
            "then every row of DATA.jsonl is trained.",
        ),
    ] = None,
    held_out_fraction: Annotated[
        float, typer.Option(help="Without --held-out: the share of DATA.jsonl that is kept.")
    ] = 0.1,
    epochs: Annotated[
        float | None, typer.Option(help="Passes over the rows; else the metadata's, else 3.")
    ] = None,
    max_steps: Annotated[
        int | None, typer.Option(min=1, help="Optimizer steps, in place of epochs.")
    ] = None,
    learning_rate: Annotated[
        float | None, typer.Option(min=0, help="At its highest; else the metadata's, else 2e-4.")
    ] = None,
    tokens_per_batch: Annotated[
        int, typer.Option(min=1, help="Token places in a batch, padding included.")
    ] = 2048,
    max_length: Annotated[
        int, typer.Option(min=2, help="Rows of more tokens than this are left out.")
    ] = 1024,
    noise: Annotated[
        float,
        typer.Option(min=0, max=1, help="The share of questions that get 1-3 words changed."),
    ] = 0.0,
    seed: Annotated[int, typer.Option(help="Of the weights, the order and the noise.")] = 0,
    force: Annotated[
        bool, typer.Option("--force", help="Replace a folder that is not empty.")
    ] = False,
) -> None:
    """Train a LoRA adapter with PEFT, ready for `lorelay adapters register`.

    From the metadata come lora_rank, lora_alpha, lora_dropout,
    target_modules, learning_rate, and epochs or max_steps. The loss is
    taken on the answers only, and each row's weight weighs it.

    FOLDER gets the weights, PEFT's adapter_config.json, metadata.json with
    the real figures in it, and examples.jsonl, which adapter selection
    learns from and is calibrated by.

    Example:

    lorelay train rows.jsonl --metadata m.json --base models/base --out new
    """
    enter_worker_environment("peft", sys.argv[1:])
    from inference.training.dataset import read_rows, split_held_out
    from inference.training.folder import check_free
    from inference.training.plan import plan_of, read_metadata
    from inference.training.progress import bar, training_bars
    from inference.training.trainer import train_adapter

    check_free(out, force)
    wanted = read_metadata(metadata)
    plan = plan_of(wanted).changed(
        epochs=epochs,
        max_steps=max_steps,
        learning_rate=learning_rate,
        tokens_per_batch=tokens_per_batch,
        max_length=max_length,
        noise=noise,
        seed=seed,
    )
    if held_out is None:
        trained, kept = split_held_out(read_rows(rows), held_out_fraction)
    else:
        trained, kept = read_rows(rows), read_rows(held_out)
    console = Console(highlight=False)
    console.print(f"{len(trained)} rows to train on, {len(kept)} questions held out.")
    with training_bars(console) as bars:
        result = train_adapter(
            trained,
            metadata=wanted,
            base=base,
            out=out,
            plan=plan,
            held_out=kept,
            force=force,
            on_step=bar(bars, str(wanted.get("adapter_id", "adapter"))),
        )
    if result.too_long:
        console.print(f"{result.too_long} rows of more than {max_length} tokens were left out.")
    figures = result.figures
    console.print(
        f"{figures.steps} steps, {figures.epochs:.1f} epochs, loss {figures.loss:.4f}: {out}\n"
        f"Next: lorelay adapters register {out}",
        soft_wrap=True,
    )
