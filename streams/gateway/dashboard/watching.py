"""From the first viewer to the last: a model, and what feeds it."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Final

from schemas.codec import Codec
from schemas.records import AdapterMetrics
from streams.gateway.base_models import BaseModels
from streams.gateway.dashboard.families import families
from streams.gateway.dashboard.feed import Watch
from streams.gateway.dashboard.files import DIGEST
from streams.gateway.dashboard.model import Model, Snapshot
from streams.gateway.dashboard.source import Source
from streams.gateway.dashboard.versions import DELAY, SPAN
from streams.gateway.dashboard.workers import workers
from streams.gateway.figures import Figures
from streams.gateway.settings import GatewaySettings
from streams.parts import started
from streams.registry.follow import RegistryFollower

_BEGIN_SECONDS: Final = 3.0
_AT_ONCE: Final = 10


def watching(
    settings: GatewaySettings,
    codec: Codec,
    *,
    name: str,
    follower: RegistryFollower,
    base_models: BaseModels,
    figures: Figures,
    waits_for: Callable[[], str | None],
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> Watch:
    """What reads Kafka while it is entered, and tells what is to be seen."""
    topics = settings.topics
    groups = {topics.queries: settings.router_group, topics.requests: settings.worker_group}
    shown: list[dict[str, Any]] | None = None

    def on_change() -> None:
        nonlocal shown
        shown = None

    follower.on_change(on_change)

    @asynccontextmanager
    async def watch() -> AsyncIterator[Callable[[], Snapshot]]:
        model = Model(topics, now(), with_text=settings.dashboard_text)

        def look() -> Snapshot:
            nonlocal shown
            if shown is None:
                shown = families(follower.registry)
            source.check()
            at = now()
            snapshot = model.snapshot(at)
            about = {
                "gateway": name,
                "page": DIGEST,
                "with_text": settings.dashboard_text,
                "waits_for": waits_for(),
                "troubles": sorted(source.troubles.values()),
            }
            others = {
                "about": about,
                "families": shown,
                "workers": workers(base_models.states(), at),
            }
            return replace(snapshot, sections={**others, **snapshot.sections})

        async with AsyncExitStack() as parts:
            kept = parts.enter_context(figures.followed(model.measure))
            source = await started(Source(settings, codec, model, groups), parts)
            filling = asyncio.create_task(_fill(model, kept, now()))
            parts.callback(filling.cancel)
            # So that nobody is told first that there is nothing.
            with suppress(TimeoutError):
                async with asyncio.timeout(_BEGIN_SECONDS):
                    await source.has_begun.wait()
                    await asyncio.shield(filling)
            yield look

    return watch


async def _fill(model: Model, windows: Sequence[AdapterMetrics], now: datetime) -> None:
    """Gives the model what is recent of the windows, a few at a time.

    Each takes a third of a millisecond, and hundreds of versions have thousands of them.
    """
    recent = [window for window in windows if window.window_end > now - SPAN - DELAY]
    for number, window in enumerate(recent):
        model.measure(window)
        if number % _AT_ONCE == 0:
            await asyncio.sleep(0)
