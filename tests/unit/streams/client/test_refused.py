"""What a client is asked that nobody could be sent; no broker is needed for that."""

from typing import Any

import pytest

from schemas.errors import ConfigurationError, InvalidRequest
from schemas.records import Origin, Response
from streams.client import Client

HALF = "\ud800"
RESPONSE = Response(query_id="q", status="ok", origin=Origin("lorelay.queries", 0, 1))


@pytest.mark.parametrize(
    ("question", "options"),
    [
        (HALF, {}),
        ([{"role": "user", "content": HALF}], {}),
        ("Why?", {"id": HALF}),
        ("Why?", {"session": HALF}),
        ("Why?", {"context": {"mark": HALF}}),
        ("Why?", {"seed": 2**70}),
    ],
)
async def test_what_no_record_can_hold_is_an_invalid_request(
    question: Any, options: dict[str, Any]
) -> None:
    client = Client("127.0.0.1:1")
    with pytest.raises(InvalidRequest):
        await client.ask(question, **options)
    with pytest.raises(InvalidRequest):
        async for _ in client.stream(question, **options):
            pass


async def test_neither_a_cancel_nor_feedback_holds_half_a_character() -> None:
    client = Client("127.0.0.1:1")
    with pytest.raises(InvalidRequest):
        await client.cancel(HALF)
    with pytest.raises(InvalidRequest):
        await client.feedback(RESPONSE, comment=HALF)


def test_a_cluster_that_is_none_is_told_when_the_client_is_made() -> None:
    with pytest.raises(ConfigurationError, match="host:abc"):
        Client("host:abc")
