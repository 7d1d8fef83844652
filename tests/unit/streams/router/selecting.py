"""A registry, the deciding selector and its metrics, without Kafka and with a known encoder."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from prometheus_client import CollectorRegistry

from schemas.records import ExampleSet, Origin
from streams.registry.reader import Registry
from streams.router.decisions import Selected, selected_routing
from streams.router.knowledge import Knowledge
from streams.selection.selector import Selector
from streams.telemetry.metrics import RouterMetrics
from tests.unit.streams.registry.factories import version
from tests.unit.streams.selection.topics import TopicEncoder, examples

LAW, MEDICINE = "law-v1@1.0.0", "medicine-v1@1.0.0"


class Deciding:
    """What a router selects with."""

    def __init__(self) -> None:
        self.registry = Registry()
        self.metrics = RouterMetrics(CollectorRegistry())
        self.knowledge = Knowledge(Selector(TopicEncoder()), self.registry, ThreadPoolExecutor(1))

    async def know(self, *topics: str, count: int = 60) -> None:
        """Learns an adapter for each topic, beside those that are known."""
        for topic in topics:
            adapter = version(f"{topic}-v1", example_parts=1)
            part = ExampleSet(f"{topic}-v1", "1.0.0", 0, 1, tuple(examples(topic, count)))
            self.registry.apply_examples(f"{adapter.key}#0", part)
            self.registry.apply_version(adapter.key, adapter, self.registry.revision + 1)
        await self._refresh()

    async def retire(self, adapter: str) -> None:
        """Forgets an adapter."""
        self.registry.apply_version(adapter, None, self.registry.revision + 1)
        await self._refresh()

    def decided(self, texts: Sequence[str], language: str | None = "en") -> list[Selected]:
        """Queries as the router hands them on."""
        languages = [language] * len(texts)
        decisions = self.knowledge.select(texts, languages)
        return [
            Selected(Origin("queries", 0, offset), text, language, selected_routing(decision))
            for offset, (text, decision) in enumerate(zip(texts, decisions, strict=True))
        ]

    def value(self, name: str, **labels: str) -> float:
        """A sample as a scrape shows it, 0 where it isn't there."""
        return self.metrics.registry.get_sample_value(name, labels) or 0.0

    async def _refresh(self) -> None:
        self.metrics.know_adapters(self.registry.keys(), self.registry.revision)
        await self.knowledge.refresh()
