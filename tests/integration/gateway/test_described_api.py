"""The API as it is described, against what it does: schemathesis makes up the requests."""

from collections.abc import Iterator
from typing import Any

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis import Case, CheckContext, GenerationMode, Response
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.conftest import Scale
from tests.integration.gateway.system import RunningSystem

TOKEN = "a-token-of-the-tests"
VARIABLES = {"LORELAY_ADMIN_TOKEN": TOKEN, "LORELAY_GATEWAY_TIMEOUT": "30"}
OPERATIONS = (
    "POST /v1/completions",
    "POST /v1/chat/completions",
    "GET /v1/models",
    "GET /v1/models/{model_id}",
    "GET /v1/responses/{query_id}",
    "POST /v1/feedback",
    "GET /api/adapters/registry",
    "GET /api/adapters/{adapter}/metadata",
    "GET /api/adapters/{adapter}/metrics",
    "POST /api/adapters/register",
    "GET /health",
    "GET /ready",
)
#: Each of these searches topics.
SLOW = ("GET /v1/responses/{query_id}", "POST /v1/feedback")


def no_fault(ctx: CheckContext, response: Response, case: Case) -> None:
    """A fault of ours is what nobody may provoke."""
    assert response.status_code != 500, response.text


@pytest.fixture(scope="module")
def described(system: RunningSystem) -> Any:
    with system.http() as client:
        return schemathesis.openapi.from_dict(client.get("/openapi.json").json())


@pytest.fixture(scope="module")
def session() -> Iterator[requests.Session]:
    with requests.Session() as made:
        made.trust_env = False
        yield made


def test_every_operation_is_tried(described: Any) -> None:
    found = {operation.ok().label for operation in described.get_all_operations()}
    assert found == set(OPERATIONS)


@pytest.mark.parametrize(
    ("label", "mode"),
    [
        (label, mode)
        for label in OPERATIONS
        for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE)
        # Where nothing can be said, nothing can be said wrongly.
        if mode is GenerationMode.POSITIVE or label not in ("GET /health", "GET /ready")
    ],
)
def test_whatever_is_sent_the_answer_is_one_that_is_described(
    label: str,
    mode: GenerationMode,
    described: Any,
    session: requests.Session,
    system: RunningSystem,
    scale: Scale,
) -> None:
    method, _, path = label.partition(" ")
    operation = described[path][method]
    cases: st.SearchStrategy[Case] = operation.as_strategy(generation_mode=mode)
    url = system.url()

    @settings(
        max_examples=scale.requests // (5 if label in SLOW else 1),
        suppress_health_check=list(HealthCheck),
        database=None,
    )
    @given(cases)
    def check(case: Case) -> None:
        response = case.call(
            base_url=url,
            session=session,
            headers={"authorization": f"Bearer {TOKEN}"},
            timeout=60,
        )
        case.validate_response(
            response,
            checks=[
                no_fault,
                status_code_conformance,
                content_type_conformance,
                response_schema_conformance,
            ],
        )

    check()
