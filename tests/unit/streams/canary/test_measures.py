"""What is slow, told from the windows of the others."""

import random

from streams.canary.measures import Slowness
from streams.telemetry.sketch import Quantiles


def durations(draw: random.Random) -> Quantiles:
    found = Quantiles()
    for _ in range(draw.randrange(30)):
        found.add(draw.choice([0.0, draw.lognormvariate(5, 2)]))
    return found


def test_it_is_the_95th_percentile_of_the_last_sixty_windows_that_have_any() -> None:
    draw = random.Random(2)
    slowness = Slowness()
    windows: list[Quantiles] = []
    for _ in range(200):
        new = durations(draw)
        slowness.add(new)
        windows += [new] if new.count else []
        merged = Quantiles()
        for window in windows[-60:]:
            merged.merge(window)
        expected = merged.at(0.95) if merged.count >= 20 else None
        assert slowness.threshold_ms() == expected
