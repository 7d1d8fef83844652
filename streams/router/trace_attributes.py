"""What traces say of a decision; pure."""

from schemas.records import BASE, Routing
from streams.telemetry.metrics import choice_of
from streams.telemetry.tracing import Attribute


def routing_attributes(routing: Routing) -> dict[str, Attribute]:
    """The adapter that was chosen, how, and how near it is; figures that there are none of lack."""
    figures = {
        "lorelay.score": routing.score,
        "lorelay.margin": routing.margin,
        "lorelay.threshold": routing.threshold,
    }
    names = {"lorelay.language": routing.language, "lorelay.variant": routing.variant}
    return {
        "lorelay.adapter": routing.adapter or BASE,
        "lorelay.choice": choice_of(routing),
        **{name: value for name, value in figures.items() if value is not None},
        **{name: value for name, value in names.items() if value is not None},
    }
