"""How near the queries come to the adapters, and why none is chosen. Pure."""

from collections import Counter, deque
from dataclasses import dataclass
from statistics import median
from typing import Any, Final

from schemas.records import Response
from streams.telemetry.metrics import Choice, choice_of

KEPT: Final = 1_000
"""How many of the newest responses are looked at."""

BINS: Final = 20
"""Into how many parts the scores from 0 to 1 are cut."""

_MOST_ADAPTERS: Final = 20


@dataclass(frozen=True, slots=True)
class _Compared:
    """A decision; without a nearest adapter where nothing was compared."""

    choice: Choice
    nearest: str | None
    score: float
    threshold: float | None


class Selections:
    """The newest decisions, as their responses tell them."""

    def __init__(self) -> None:
        self._newest: deque[_Compared] = deque(maxlen=KEPT)

    def add(self, response: Response) -> None:
        """Takes note of the decision; a response without one has failed before."""
        routing = response.routing
        if routing is None:
            return
        nearest = routing.candidates[0].adapter if routing.candidates else None
        score = 0.0 if routing.score is None else routing.score
        if routing.score is None:
            nearest = None
        self._newest.append(_Compared(choice_of(routing), nearest, score, routing.threshold))

    def summary(self) -> dict[str, Any]:
        """Decisions by kind, and the scores by the adapter that was nearest."""
        by_adapter: dict[str, list[_Compared]] = {}
        for compared in self._newest:
            if compared.nearest is not None:
                by_adapter.setdefault(compared.nearest, []).append(compared)
        most = sorted(by_adapter.items(), key=lambda found: (-len(found[1]), found[0]))
        return {
            "responses": len(self._newest),
            "choices": Counter(compared.choice for compared in self._newest),
            "nearest": [_row(adapter, found) for adapter, found in most[:_MOST_ADAPTERS]],
        }


def _row(adapter: str, found: list[_Compared]) -> dict[str, Any]:
    chosen, rejected = [0] * BINS, [0] * BINS
    for compared in found:
        place = min(BINS - 1, max(0, int(compared.score * BINS)))
        (chosen if compared.choice == "selected" else rejected)[place] += 1
    return {
        "adapter": adapter,
        "compared": len(found),
        "rejected": sum(rejected),
        "median": median(compared.score for compared in found),
        "threshold": found[-1].threshold,
        "chosen_bins": chosen,
        "rejected_bins": rejected,
    }
