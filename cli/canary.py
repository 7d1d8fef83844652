"""`lorelay adapters canary`."""

import asyncio
import re
from datetime import timedelta
from typing import Annotated, Final

import typer
from rich.console import Console
from rich.markup import escape

from cli.history import read_events
from cli.plain_errors import plain_errors
from cli.printable import printable
from cli.query_client import quieten_clients
from cli.versions import AsJson, By, Expected, Reason, run, sentence
from schemas.codec import Codec
from schemas.errors import ChangeRefused, ConfigurationError
from schemas.records import Canary
from streams.canary.measures import MARGINS, Measure
from streams.kafka.settings import KafkaSettings
from streams.registry.change import Change, Intent
from streams.registry.follow import RegistryFollower
from streams.registry.reader import Registry
from streams.registry.references import newest
from streams.registry.trials import canary_started

_UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
#: What the metrics topic keeps, less what a judge may come late.
_ENDINGS: Final = (
    *("promoted", "split", "rolled_back", "canary_undecided"),
    *("shadow_passed", "shadow_failed", "shadow_undecided"),
)
_LONGEST: Final = timedelta(days=2)


def _margin(measure: Measure, words: str) -> typer.models.OptionInfo:
    points = measure is not Measure.RATINGS
    default = MARGINS[measure] * (100 if points else 1)
    option: typer.models.OptionInfo = typer.Option(
        f"--tolerate-{measure}",
        min=0,
        max=99 if points else 0.99,
        help=f"{words}; {default:g} if not set.",
    )
    return option


def canary(
    adapter: Annotated[
        str, typer.Argument(metavar="ADAPTER", help="id@version, or an id (its newest).")
    ],
    share: Annotated[
        float | None,
        typer.Option(
            help="Percent of the family's sessions; 10 if not set, in shadow 100.",
            min=0.01,
            max=100,
        ),
    ] = None,
    lasting: Annotated[
        str, typer.Option("--for", metavar="TIME", help="How long it is tried: 90s, 30m, 4h, 1d.")
    ] = "30m",
    shadow: Annotated[
        bool,
        typer.Option(
            "--shadow", help="It answers, too, but on the topic `shadow`: users see nothing of it."
        ),
    ] = False,
    errors: Annotated[
        float | None, _margin(Measure.ERRORS, "Percentage points more errors are no harm")
    ] = None,
    slow: Annotated[
        float | None, _margin(Measure.SLOW, "Points more answers above the others' p95 are no harm")
    ] = None,
    rejects: Annotated[
        float | None, _margin(Measure.REJECTS, "Points more answers by a fallback are no harm")
    ] = None,
    ratings: Annotated[
        float | None, _margin(Measure.RATINGS, "A mean rating (0 to 1) so much lower is no harm")
    ] = None,
    wait: Annotated[
        bool, typer.Option("--wait", help="Until it is decided; status 1 unless it has passed.")
    ] = False,
    by: By = None,
    reason: Reason = None,
    expected: Expected = None,
    as_json: AsJson = False,
) -> None:
    """Try a version beside those that serve; it is promoted or rolled back by itself.

    A router judges, whether or not this terminal stays open, and another one goes on if it dies.
    It compares errors, answers slower than the others' 95th percentile, answers given by a
    fallback, and ratings, by a test that may look all the time: a version that is worse by more
    than is tolerated is rolled back at once, one that is shown to be fine is promoted when the
    time is over. Where too few queries come to tell, the split from before comes back and the
    version stands by.

    In shadow nothing is promoted: the version stands by at the end, or has failed.

    Examples:

    lorelay adapters canary legal-qa-v2 --share 10 --for 30m

    lorelay adapters canary legal-qa-v1@1.1.0 --share 50 --for 2h --tolerate-slow 10 --wait

    lorelay adapters canary legal-qa-v2@2.0.0 --shadow --for 1d
    """
    quieten_clients()
    length = duration(lasting)
    if not shadow and share == 100:
        raise ConfigurationError("A share of 100 leaves nothing to compare with: promote it.")
    tolerated = {
        measure.value: value / (1 if measure is Measure.RATINGS else 100)
        for measure, value in zip(Measure, (errors, slow, rejects, ratings), strict=True)
        if value is not None
    }
    percent = share if share is not None else (100.0 if shadow else 10.0)
    begun = None

    def plan(registry: Registry, intent: Intent) -> Change:
        nonlocal begun
        version = newest(registry, adapter)
        trial = Canary(
            adapter=version.key,
            share=percent,
            shadow=shadow,
            started_at=intent.at,
            ends_at=intent.at + length,
            tolerated=tolerated,
        )
        begun = canary_started(registry, trial, intent)
        return begun

    run(plan)(by, reason, expected, as_json)
    if wait and begun is not None:
        passed = asyncio.run(_until_decided(KafkaSettings(), begun, quiet=as_json))
        raise typer.Exit(0 if passed else 1)


def duration(text: str) -> timedelta:
    """A time such as 90s, 30m, 4h or 1d. Raises ConfigurationError."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smhd])", text.strip())
    seconds = float(found[1]) * _UNITS[found[2]] if found else 0.0
    if not 0 < seconds <= _LONGEST.total_seconds():
        raise ConfigurationError(
            f"--for {text}: write a time such as 90s, 30m or 4h, two days at most."
        )
    return timedelta(seconds=seconds)


async def _until_decided(settings: KafkaSettings, begun: Change, *, quiet: bool) -> bool:
    """Whether it has passed, once that is decided."""
    family = begun.family
    started = begun.traffic.revision if begun.traffic else 0
    with Console(stderr=True).status("On trial"):
        async with plain_errors(settings):
            follower = RegistryFollower(settings, Codec())
            try:
                await follower.start()
                registry = follower.registry
                await follower.until(lambda: registry.traffic(family).canary is None)
            finally:
                await follower.stop()
    events, _ = await read_events(settings)
    later = [e for e in events if e.family == family and e.revision > started]
    ending = next((event for event in later if event.event in _ENDINGS), None)
    if ending is None:
        raise ChangeRefused(f"The trial of {family} has ended, but its history can't be read.")
    if not quiet:
        console = Console(highlight=False)
        for event in (e for e in later if e.revision == ending.revision):
            console.print(sentence(event), soft_wrap=True)
        console.print(escape(printable(ending.reason or "")), soft_wrap=True)
    return ending.event in ("promoted", "shadow_passed")
