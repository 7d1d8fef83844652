"""`lorelay ask`."""

import asyncio
import logging
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
import uuid_utils
from rich.console import Console
from rich.markup import escape

from cli.query_client import Answer, QueryClient
from cli.streamed_text import StreamedText
from schemas.errors import LorelayError
from schemas.json_form import to_json
from schemas.records import Chunk, Query, Response, Sampling
from schemas.validation import validate_query
from streams.kafka.settings import KafkaSettings

#: After this long without an answer, whoever waits is told which processes don't run.
_PATIENCE_SECONDS = 3.0


class NoAnswer(LorelayError):
    """Nobody answered in time."""

    code = "no_answer"


class AnsweredWithError(LorelayError):
    """The answer is an error, which has been said already where JSON was asked for."""

    def __init__(self, response: Response) -> None:
        super().__init__(response.error.message if response.error else "no reason given")


def ask(
    text: Annotated[str, typer.Argument(help="The question; - reads it from standard input.")],
    adapter: Annotated[
        str | None,
        typer.Option(
            "--adapter",
            "-a",
            help="Who answers: id@version, an id or a family, or base; selected if not given.",
        ),
    ] = None,
    language: Annotated[
        str | None, typer.Option("--language", "-l", help="Of the question, as de; or detected.")
    ] = None,
    max_tokens: Annotated[int | None, typer.Option(help="Most tokens of the answer.")] = None,
    temperature: Annotated[
        float | None, typer.Option(help="0 for the likeliest answer, up to 2.")
    ] = None,
    timeout: Annotated[float, typer.Option(help="Seconds to wait for the answer.")] = 60.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print the response as JSON.")] = False,
    stream: Annotated[bool, typer.Option("--stream", help="Print words as they come.")] = False,
) -> None:
    """Send a query and print its answer, who gave it, how well it fits, and how long it took.

    The exit status is 1 where the answer is an error or does not come.
    """
    # What it has to say is said below, in a sentence.
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    settings = KafkaSettings()
    query = Query(
        id=str(uuid_utils.uuid7()),
        prompt=sys.stdin.read().strip() if text == "-" else text,
        adapter=adapter,
        language=language,
        sampling=Sampling(max_tokens=max_tokens, temperature=temperature),
        timeout_ms=timeout * 1000,
        stream=stream,
        created_at=datetime.now(UTC),
    )
    validate_query(query, settings.topics)
    shown = StreamedText(sys.stdout.write) if stream and not as_json else None
    answer = asyncio.run(_answer(settings, query, timeout, shown, as_json))
    if as_json:
        typer.echo(to_json(answer.response, indent=not stream))
    if answer.response.error is not None:
        if as_json:
            raise typer.Exit(1)
        raise AnsweredWithError(answer.response)
    if not as_json:
        _print(answer, shown)


async def _answer(
    settings: KafkaSettings, query: Query, timeout: float, shown: StreamedText | None, as_json: bool
) -> Answer:
    def on_chunk(chunk: Chunk) -> None:
        if shown is not None:
            shown.add(chunk)
        elif as_json:
            typer.echo(to_json(chunk))
        sys.stdout.flush()

    async with QueryClient(settings, query_id=query.id, chunks=query.stream) as client:
        answer = await client.send(query, on_chunk)
        console = Console(stderr=True)
        with console.status("Waiting for the answer"):
            done, _ = await asyncio.wait([answer], timeout=min(timeout, _PATIENCE_SECONDS))
        if not done and timeout > _PATIENCE_SECONDS:
            console.print(f"No answer yet. {_who_is_missing(settings)}", highlight=False)
            with console.status("Waiting on"):
                await asyncio.wait([answer], timeout=timeout - _PATIENCE_SECONDS)
        if not answer.done():
            raise NoAnswer(f"There is no answer after {timeout:g} s. {_who_is_missing(settings)}")
        return answer.result()
