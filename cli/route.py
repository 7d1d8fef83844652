"""`lorelay route`."""

import asyncio
import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from time import perf_counter
from typing import Annotated

import typer
from aiokafka.errors import KafkaError
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from cli.query_client import quieten_clients, unreachable
from schemas.codec import Codec
from schemas.errors import ConfigurationError
from schemas.records import Query, Routing
from schemas.validation import validate_query
from streams.registry.follow import RegistryFollower
from streams.router.decisions import selected_routing
from streams.router.knowledge import Knowledge
from streams.router.settings import RouterSettings
from streams.selection.encoder import load_encoder
from streams.selection.selector import Selector

_BAR_CELLS = 20


@dataclass(frozen=True, slots=True)
class _Outcome:
    """``elapsed_ms`` is what encoding and selecting took; ``adapters`` were compared."""

    routing: Routing
    adapters: int
    elapsed_ms: float


def route(
    text: Annotated[str, typer.Argument(help="The question to find an adapter for.")],
    language: Annotated[
        str | None, typer.Option("--language", "-l", help="Of the question, as de; or detected.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the decision as JSON.")] = False,
    encoder: Annotated[
        str | None,
        typer.Option(help="use-multilingual, minilm, a folder or a hub name; else the router's."),
    ] = None,
) -> None:
    """Show which adapter a text selects, and why, without generating anything.

    The selection is made here, as routers make it, from the registry's examples.
    """
    quieten_clients()
    settings = RouterSettings() if encoder is None else RouterSettings(encoder=encoder)
    validate_query(Query(prompt=text, language=language), settings.topics)
    console = Console(highlight=False)
    outcome = asyncio.run(_decide(settings, text, language))
    if as_json:
        typer.echo(json.dumps(asdict(outcome.routing), ensure_ascii=False, indent=2))
        return
    if not outcome.adapters:
        raise ConfigurationError(
            "No adapter can be selected yet: register one that has examples with "
            "`lorelay adapters register FOLDER`."
        )
    console.print(_candidates(outcome.routing))
    console.print(_verdict(outcome, settings.encoder), soft_wrap=True)


async def _decide(settings: RouterSettings, text: str, language: str | None) -> _Outcome:
    """Raises: ConfigurationError where the cluster or the encoder is not there."""
    follower = RegistryFollower(settings, Codec())
    with (
        Console(stderr=True).status("Reading the registry") as status,
        ThreadPoolExecutor(1) as executor,
    ):
        try:
            await follower.start()
        except KafkaError as error:
            raise await unreachable(settings, error) from error
        finally:
            await follower.stop()
        status.update(f"Loading the encoder {settings.encoder}")
        loop = asyncio.get_running_loop()
        encoder = await loop.run_in_executor(executor, load_encoder, settings.encoder)
        status.update("Learning the adapters' examples")
        knowledge = Knowledge(Selector(encoder), follower.registry, executor)
        await knowledge.refresh()
        started = perf_counter()
        (decision,) = await loop.run_in_executor(executor, knowledge.select, [text], [language])
        elapsed_ms = (perf_counter() - started) * 1000
    return _Outcome(selected_routing(decision), knowledge.adapters, elapsed_ms)


def _candidates(routing: Routing) -> Table:
    table = Table("adapter", "score", "", box=None, pad_edge=False)
    for candidate in routing.candidates:
        chosen = candidate.adapter == routing.adapter
        cells = round(max(0.0, min(1.0, candidate.score)) * _BAR_CELLS)
        table.add_row(
            candidate.adapter,
            f"{candidate.score:.3f}",
            "━" * cells,
            style="bold green" if chosen else "dim",
        )
    return table


def _verdict(outcome: _Outcome, encoder: str) -> str:
    routing = outcome.routing
    figures = {
        "score": routing.score,
        "threshold": routing.threshold,
        "margin": routing.margin,
        "probability": routing.probability,
    }
    known = [f"{name} {value:.2f}" for name, value in figures.items() if value is not None]
    return "\n".join(
        [
            "",
            f"[bold]{escape(routing.adapter or 'The base model')}[/]",
            escape(routing.reason),
            " · ".join([*known, f"language {routing.language or 'not told'}"]),
            f"[dim]{escape(encoder)}, {outcome.adapters} adapters, {outcome.elapsed_ms:.1f} ms[/]",
        ]
    )
