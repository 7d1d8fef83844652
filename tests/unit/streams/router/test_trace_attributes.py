"""What a trace says of a decision."""

from schemas.records import Routing
from streams.router.trace_attributes import routing_attributes


def test_a_selected_adapter_is_told_with_its_figures() -> None:
    routing = Routing(
        adapter="legal-qa-v1@1.0.0", score=0.7, margin=0.2, threshold=0.4, language="de"
    )
    assert routing_attributes(routing) == {
        "lorelay.adapter": "legal-qa-v1@1.0.0",
        "lorelay.choice": "selected",
        "lorelay.score": 0.7,
        "lorelay.margin": 0.2,
        "lorelay.threshold": 0.4,
        "lorelay.language": "de",
    }


def test_figures_that_there_are_none_of_are_left_out() -> None:
    assert routing_attributes(Routing()) == {
        "lorelay.adapter": "base",
        "lorelay.choice": "uncompared",
    }
