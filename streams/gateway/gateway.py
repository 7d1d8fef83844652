"""What the routes work with: the parts of one gateway."""

from collections.abc import Callable
from dataclasses import dataclass

from schemas.records import ReplyTo
from streams.gateway.access.access import Access
from streams.gateway.access.budgets import Budgets
from streams.gateway.archive import Archive
from streams.gateway.base_models import BaseModels
from streams.gateway.dashboard.feed import Feed
from streams.gateway.exchange import Exchange
from streams.gateway.figures import Figures
from streams.gateway.registering import Registrar
from streams.gateway.sender import Sender
from streams.gateway.settings import GatewaySettings
from streams.registry.reader import Registry
from streams.telemetry.gateway import GatewayMetrics
from streams.telemetry.tracing import Tracing


@dataclass(frozen=True, slots=True)
class Gateway:
    """One gateway's parts, all of them running."""

    settings: GatewaySettings
    exchange: Exchange
    sender: Sender
    registry: Registry
    base_models: BaseModels
    archive: Archive
    figures: Figures
    access: Access
    budgets: Budgets
    registrar: Registrar
    feed: Feed
    reply_to: ReplyTo
    metrics: GatewayMetrics
    tracing: Tracing
    waits_for: Callable[[], str | None]
