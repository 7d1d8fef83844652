"""`lorelay ask`."""

import asyncio
import sys
from collections.abc import Callable
from contextlib import nullcontext
from typing import Annotated

import typer
import uuid_utils
from rich.console import Console
from rich.markup import escape

from cli.printable import printable, writer
from cli.query_client import Answer, QueryClient, quieten_clients
from cli.streamed_text import StreamedText
from schemas.errors import ConfigurationError
from schemas.json_form import to_json
from schemas.records import Chunk, Query, Routing, Sampling
from schemas.validation import validate_query
from streams.client.failures import AnsweredWithError, NoAnswer
from streams.kafka.settings import KafkaSettings

#: After this long without an answer, whoever waits is told which processes don't run.
_PATIENCE_SECONDS = 2.0
#: How long after a response the last of its chunks may come; they are not written together.
_LAST_CHUNK_SECONDS = 1.0


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
    timeout: Annotated[float, typer.Option(min=0.1, help="Seconds to wait for it.")] = 60.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print the response as JSON.")] = False,
    stream: Annotated[bool, typer.Option("--stream", help="Print words as they come.")] = False,
) -> None:
    """Send a query and print its answer, who gave it, how well it fits, and how long it took.

    The exit status is 1 where the answer is an error or does not come.
    """
    quieten_clients()
    settings = KafkaSettings()
    query = Query(
        id=str(uuid_utils.uuid7()),
        prompt=_standard_input() if text == "-" else text,
        adapter=adapter,
        language=language,
        sampling=Sampling(max_tokens=max_tokens, temperature=temperature),
        timeout_ms=timeout * 1000,
        stream=stream,
    )
    validate_query(query, settings.topics)
    shown = StreamedText(writer(sys.stdout))
    answer = asyncio.run(_answer(settings, query, timeout, _chunk_printer(shown, as_json)))
    if as_json:
        typer.echo(to_json(answer.response, indent=not stream))
    elif answer.response.error is None:
        shown.finish(answer.response.text or "")
        Console(highlight=False).print(summary(answer), style="dim", soft_wrap=True)
    if answer.response.error is not None:
        raise AnsweredWithError(answer.response)


def _standard_input() -> str:
    try:
        text = sys.stdin.read().strip()
        text.encode()
    except UnicodeError:
        raise ConfigurationError("What came on standard input is not UTF-8.") from None
    return text


def _chunk_printer(shown: StreamedText, as_json: bool) -> Callable[[Chunk], None]:
    def on_chunk(chunk: Chunk) -> None:
        if as_json:
            typer.echo(to_json(chunk))
        else:
            shown.add(chunk)
        sys.stdout.flush()

    return on_chunk


async def _answer(
    settings: KafkaSettings, query: Query, seconds: float, on_chunk: Callable[[Chunk], None]
) -> Answer:
    """Raises: NoAnswer after that many seconds, and what QueryClient raises."""
    console = Console(stderr=True, highlight=False)
    spinner = nullcontext() if query.stream else console.status("Waiting for the answer")
    async with QueryClient(settings, query_id=query.id, chunks=query.stream) as client:
        now = asyncio.get_running_loop().time
        until = now() + seconds
        async with client.asking(query, until, on_chunk) as answer:
            with spinner:
                await asyncio.wait([answer], timeout=min(until - now(), _PATIENCE_SECONDS))
                if not answer.done() and until > now():
                    console.print(f"Still waiting. {_why(settings)}", style="dim", soft_wrap=True)
                    await asyncio.wait([answer], timeout=until - now())
            if not answer.done():
                raise NoAnswer(f"No answer within {seconds:g} s. {_why(settings)}")
            if query.stream and query.id and answer.result().response.error is None:
                await client.last_chunk(query.id, _LAST_CHUNK_SECONDS)
    return answer.result()


def _why(settings: KafkaSettings) -> str:
    from cli.diagnosis import who_is_missing

    return who_is_missing(settings.kafka)


def summary(answer: Answer) -> str:
    """Who answered, how well it fits or why nobody did, and how long it took."""
    response = answer.response
    routing = response.routing or Routing()
    parts = [response.adapter or f"base model {response.base_model or ''}".strip()]
    if response.adapter is None or routing.score is None:
        parts.append(routing.reason)
    if routing.score is not None:
        needed = "" if routing.threshold is None else f" ({routing.threshold:.2f} needed)"
        parts.append(f"score {routing.score:.2f}{needed}")
    parts.append(f"{answer.elapsed_ms:.0f} ms")
    return " · ".join(escape(printable(part)) for part in parts if part)
