"""`lorelay topics`."""

import asyncio
from typing import Annotated

import typer
from rich.console import Console

from streams.kafka.admin import create_topics
from streams.kafka.settings import KafkaSettings


def topics(
    partitions: Annotated[
        int, typer.Option(min=1, help="Partitions of the topics that share out work.")
    ] = 4,
    replication: Annotated[
        int, typer.Option(help="Copies of each; -1 is the cluster's default.")
    ] = -1,
) -> None:
    """Create the topics that are missing, and say how the others differ from what is expected.

    No topic that is there is ever changed; the exit status is 1 if one differs.
    """
    console = Console()
    settings = KafkaSettings()
    differences = asyncio.run(
        create_topics(settings, settings.topics.specs(partitions), replication)
    )
    for difference in differences:
        console.print(f"[yellow]differs[/] {difference}", soft_wrap=True, highlight=False)
    if differences:
        raise typer.Exit(1)
    console.print(f"All topics are there, as expected, at {settings.kafka}.", highlight=False)
