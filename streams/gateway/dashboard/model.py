"""What the page shows, as one state that records change. Pure: times are passed in."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from schemas.records import AdapterMetrics, Origin, Query, Response
from schemas.topics import Topics
from streams.gateway.dashboard.answers import Answers, Row
from streams.gateway.dashboard.flow import SECONDS, Flow
from streams.gateway.dashboard.lag import Backlog
from streams.gateway.dashboard.letters import Letters
from streams.gateway.dashboard.selections import Selections
from streams.gateway.dashboard.versions import SPAN, Versions

#: Responses that are looked into each second; beyond that they are only counted.
_READ_PER_SECOND: Final = 250


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All that is shown now: sections, the newest answers, and those of them that are new."""

    sections: Mapping[str, Any]
    latest: list[Row] = field(default_factory=list)
    news: list[Row] = field(default_factory=list)


class Model:
    """What was read from Kafka since somebody looks."""

    def __init__(self, topics: Topics, now: datetime, *, with_text: bool) -> None:
        self._names = {
            "queries": topics.queries,
            "requests": topics.requests,
            "responses": topics.responses,
        }
        self.flow = Flow(tuple(self._names.values()), now.timestamp() - SECONDS)
        self.backlogs: dict[str, dict[int, Backlog]] = {topics.queries: {}, topics.requests: {}}
        self._lags: dict[str, int] = {}
        self.letters = Letters()
        self.unreadable = 0
        self.with_text = with_text
        self._answers = Answers(with_text=with_text)
        self._selections = Selections()
        self._versions = Versions()
        self._second = 0
        self._read = 0
        self._skipped = 0

    def has_room(self, now: float) -> bool:
        """Whether one more response is to be looked into; too many a second are only counted."""
        if int(now) != self._second:
            self._second, self._read = int(now), 0
        self._read += 1
        if self._read > _READ_PER_SECOND:
            self._skipped += 1
            return False
        return True

    def know_lag(self, topic: str) -> None:
        """What its group has finished was just asked: only now the two can be compared."""
        self._lags[topic] = sum(backlog.records for backlog in self.backlogs[topic].values())

    def ask(self, origin: Origin, query: Query) -> None:
        """A record of the queries topic."""
        self._answers.ask(origin, query)

    def answer(self, response: Response, at: datetime) -> None:
        """A record of the responses topic, and when it was written."""
        self._answers.answer(response, at)
        self._selections.add(response)

    def measure(self, window: AdapterMetrics) -> None:
        """A record of the metrics topic."""
        try:
            self._versions.add(window)
        except ValueError:
            self.unreadable += 1

    def snapshot(self, now: datetime) -> Snapshot:
        """The sections that come from Kafka's records."""
        sections = {
            "flow": self._flow(now.timestamp()),
            "versions": {"seconds": SPAN.total_seconds(), "rows": self._versions.rows(now)},
            "selections": self._selections.summary(),
            "letters": self.letters.summary(),
            "reading": {"unreadable": self.unreadable, "skipped": self._skipped},
        }
        return Snapshot(sections, self._answers.latest(), self._answers.news())

    def _flow(self, now: float) -> dict[str, Any]:
        return {
            "end": int(now),
            "topics": [
                {
                    "kind": kind,
                    "topic": topic,
                    "per_second": self.flow.rate(topic, now),
                    "counts": self.flow.series(topic, now),
                    "lag": self._lags.get(topic),
                }
                for kind, topic in self._names.items()
            ],
        }
