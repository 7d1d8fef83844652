"""`lorelay route`."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from time import perf_counter
from typing import Annotated

import typer
from rich.console import Console

from cli.explanation_display import Outcome, candidates, explanation_json, neighbours, verdict
from cli.query_client import quieten_clients
from cli.selection_sources import EncoderName, Folders, learnt, read_source, router_settings
from schemas.records import Query
from schemas.validation import validate_query
from streams.router.decisions import selected_routing
from streams.router.settings import RouterSettings


def route(
    text: Annotated[str, typer.Argument(help="The question to find an adapter for.")],
    language: Annotated[
        str | None, typer.Option("--language", "-l", help="Of the question, as de; or detected.")
    ] = None,
    folders: Folders = None,
    encoder: EncoderName = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the decision as JSON.")] = False,
) -> None:
    """Show which adapter a text selects, and why, without generating anything.

    The selection is made here, as routers make it, from the registry's examples or from those in
    folders. A score is compared with the adapter's threshold for the text's language, a margin is
    the lead over the second or what is missing to the nearest; the examples that are nearest to
    the text stand below.

    Examples:

    lorelay route "How may sepsis show itself?"

    lorelay route "Wie zeigt sich eine Sepsis?" --json | jq .explanation.adapters

    lorelay route "Darf ich hier angeln?" --examples adapters/fishing-qa-v1
    """
    quieten_clients()
    settings = router_settings(encoder)
    validate_query(Query(prompt=text, language=language), settings.topics)
    console = Console(highlight=False)
    outcome = _decide(settings, text, language, folders or [], may_be_empty=as_json)
    if as_json:
        routing = asdict(selected_routing(outcome.explanation.decision))
        explained = {"explanation": explanation_json(outcome)}
        typer.echo(json.dumps(routing | explained, ensure_ascii=False, indent=2))
        return
    console.print(candidates(outcome.explanation))
    console.print(verdict(outcome), soft_wrap=True)
    console.print(neighbours(outcome.explanation))


def _decide(
    settings: RouterSettings,
    text: str,
    language: str | None,
    folders: Sequence[Path],
    may_be_empty: bool,
) -> Outcome:
    """Raises: ConfigurationError where the cluster, an adapter or the encoder is not there."""
    with Console(stderr=True).status("Reading the registry") as status:
        source = read_source(settings, folders, status)
        if not may_be_empty:
            source.check_not_empty()
        selector = learnt(settings, source, status)
        encode = selector.encoder.encode
        encode(["Warm up."])  # what loads on first use is no cost of the query
        started = perf_counter()
        vectors = encode([text])
        selector.select(vectors, [text], [language])
        elapsed_ms = (perf_counter() - started) * 1000
        (explanation,) = selector.explain(vectors, [text], [language])
    return Outcome(explanation, settings.encoder, len(selector.adapters), elapsed_ms)
