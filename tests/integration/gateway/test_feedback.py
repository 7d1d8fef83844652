"""What people think of answers."""

import pytest

from schemas.records import Feedback
from tests.integration.gateway.system import LEGAL, RunningSystem


def written(system: RunningSystem, query_id: str) -> list[Feedback]:
    found = [
        system.codec.decode(Feedback, message.value() or b"")
        for message in system.cluster.read(system.topics.feedback)
    ]
    return [feedback for feedback in found if feedback.query_id == query_id]


def test_an_opinion_goes_to_its_topic_with_the_version_that_answered(
    system: RunningSystem,
) -> None:
    with system.openai() as client:
        query_id = client.completions.create(model=LEGAL, prompt="When does it end?").id
    before = system.metric("lorelay_gateway_feedback_total", "gateway-2")
    opinion = {
        "query_id": query_id,
        "rating": 0.25,
        "comment": "Too short.",
        "correction": "In May.",
    }
    with system.http("gateway-2") as client_of_another:
        taken = client_of_another.post("/v1/feedback", json=opinion)
    assert taken.status_code == 201
    assert taken.json()["adapter"] == f"{LEGAL}@1.0.0"
    (feedback,) = written(system, query_id)
    assert feedback.adapter == f"{LEGAL}@1.0.0"
    assert (feedback.rating, feedback.comment, feedback.correction) == (
        0.25,
        "Too short.",
        "In May.",
    )
    assert system.metric("lorelay_gateway_feedback_total", "gateway-2") == before + 1


def test_what_nobody_asked_or_answered_has_no_opinions(system: RunningSystem) -> None:
    with system.http() as client:
        unknown = client.post("/v1/feedback", json={"query_id": "nobody-s", "rating": 1})
    assert (unknown.status_code, unknown.json()["error"]["code"]) == (404, "unknown_query")


@pytest.mark.parametrize(
    ("opinion", "param"),
    [
        ({"query_id": "q"}, None),
        ({"query_id": "q", "rating": 1.5}, "rating"),
        ({"query_id": "q", "rating": "good"}, "rating"),
        ({"query_id": "", "rating": 1}, "query_id"),
        ({"query_id": "q", "rating": 1, "stars": 5}, "stars"),
        ({"rating": 1}, "query_id"),
    ],
)
def test_an_opinion_that_says_nothing_clear_is_refused(
    system: RunningSystem, opinion: dict[str, object], param: str | None
) -> None:
    with system.http() as client:
        refused = client.post("/v1/feedback", json=opinion)
    assert refused.status_code == 400
    assert refused.json()["error"]["param"] == param
