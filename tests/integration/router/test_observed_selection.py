"""What a running router shows of its selections: scores, drift, and a shadow's disagreement."""

import uuid
from collections.abc import Iterator
from dataclasses import replace
from itertools import product

import pytest

from schemas.records import InferenceRequest, Query
from tests.integration.router.conftest import LEGAL, RunningRouter, eventually

SCHOOL = replace(
    LEGAL, adapter_id="school-qa-v1", family="school-qa", domain="school", adapter_version="1.0.0"
)
GARDEN = replace(SCHOOL, adapter_id="garden-qa-v1", family="garden-qa", domain="garden")
SCHOOL_TEXTS = tuple(
    f"{question} the {subject} exam in grade {grade}?"
    for question, subject, grade in product(
        ("How do I prepare for", "What is the date of", "Who corrects", "May I repeat"),
        (
            *("mathematics", "history", "physics", "geography", "chemistry"),
            *("biology", "music", "art", "Latin", "English"),
        ),
        range(5, 13),
    )
)
GARDEN_TEXTS = tuple(
    f"{question} the {plant} {place}?"
    for question, plant, place in product(
        ("When do I water", "How deep do I plant", "Which soil suits", "How do I prune"),
        ("roses", "tomatoes", "lavender", "ivy", "tulips"),
        ("on a balcony", "by a wall", "in a pot", "under a tree", "in clay", "in sand", "in rain"),
    )
)
SHADOW = "lorelay_router_shadow_queries_total"
NEAREST = "lorelay_router_nearest_queries_total"
DRIFT = "lorelay_router_drift_psi"


@pytest.fixture(scope="module")
def router(kafka: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningRouter]:
    """One with a shadow that turns half of an adapter's own queries away."""
    folder = tmp_path_factory.mktemp("router")
    running = RunningRouter(kafka, folder, LORELAY_SHADOW_FALSE_REJECT="0.5")
    try:
        running.start()
        running.register(SCHOOL, SCHOOL_TEXTS[::2])
        running.register(GARDEN, GARDEN_TEXTS[::2])
        yield running
    finally:
        running.stop()


def ask(router: RunningRouter, texts: list[str]) -> list[InferenceRequest]:
    """The requests that become of the texts as queries, in any order."""
    run = uuid.uuid4().hex
    for text in texts:
        router.send(Query(id=run, prompt=text, language="en"))

    def find() -> list[InferenceRequest] | None:
        messages = router.cluster.read(router.topics.requests)
        requests = [router.codec.decode(InferenceRequest, m.value() or b"") for m in messages]
        found = [request for request in requests if request.query.id == run]
        return found if len(found) == len(texts) else None

    return eventually(find, f"{len(texts)} requests")


def until_learnt(router: RunningRouter, text: str, adapter: str) -> None:
    while ask(router, [text])[0].routing.adapter != adapter:
        pass


def test_scores_that_moved_and_a_shadow_that_decides_otherwise_are_seen(
    router: RunningRouter,
) -> None:
    until_learnt(router, SCHOOL_TEXTS[0], SCHOOL.key)
    until_learnt(router, GARDEN_TEXTS[0], GARDEN.key)
    # Queries of the same kind as the examples, and others that are the examples themselves.
    asked = ask(router, [*SCHOOL_TEXTS[1::2], *GARDEN_TEXTS[::2], *GARDEN_TEXTS[::2]])
    chosen = [request.routing.adapter for request in asked]

    selected = router.metric(NEAREST, adapter=GARDEN.key, language="en", choice="selected")
    assert selected is not None
    assert selected >= chosen.count(GARDEN.key) > 100
    memorised = router.metric(DRIFT, adapter=GARDEN.key, language="en")
    alike = router.metric(DRIFT, adapter=SCHOOL.key, language="en")
    assert memorised is not None and alike is not None
    by_chance = router.metric(f"{DRIFT}_by_chance", adapter=GARDEN.key, language="en")
    assert by_chance is not None
    assert memorised > max(by_chance, 0.25)
    assert alike < memorised
    assert router.metric(DRIFT, adapter=LEGAL.key, language="en") is None

    def disagreement() -> float | None:
        # A busy machine's shadow drops some, and rejects only a few of these: all are asked again.
        ask(router, list(SCHOOL_TEXTS[1::2]))
        return router.metric(SHADOW, adapter=SCHOOL.key, outcome="shadow_rejects")

    assert eventually(disagreement, "a query that the shadow rejects") >= 1
    assert router.metric(SHADOW, adapter="base", outcome="shadow_accepts") is None
    assert router.metric(SHADOW, adapter=SCHOOL.key, outcome="failed") is None
