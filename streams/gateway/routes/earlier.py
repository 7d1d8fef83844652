"""GET /v1/responses/{id}: the answer of a query that was asked before, here or elsewhere."""

from typing import Annotated

from fastapi import APIRouter, Path, Request, Response

from streams.gateway.archive import Pending
from streams.gateway.bodies import json_response
from streams.gateway.failures import UnknownQuery
from streams.gateway.openai.decision import decision_headers, query_headers
from streams.gateway.openai.stored import pending_answer, stored_answer
from streams.gateway.routes.of import User, answers, errors, gateway_of
from streams.gateway.routes.shapes import StoredAnswer

router = APIRouter(tags=["OpenAI"])


@router.get(
    "/v1/responses/{query_id:path}",
    response_model=None,
    summary="Fetch an earlier answer",
    responses={
        **answers(StoredAnswer, 200, "The answer, or how the query failed"),
        **answers(StoredAnswer, 202, "The query is under way; ask again"),
        **errors(401, 403, 404, 500, 503),
    },
)
async def fetch(
    query_id: Annotated[str, Path(description="The query's id, which every answer names.")],
    request: Request,
    user: User,
) -> Response:
    """The newest answer to a query of that id, whichever gateway took it, or none.

    A user with a key finds what his tenant has asked.
    """
    gateway = gateway_of(request)
    pending = json_response(202, pending_answer(query_id), query_headers(query_id))
    tenant = user.tenant if user else None
    if gateway.exchange.is_under_way(query_id, tenant):
        return pending
    found = await gateway.archive.find(query_id, tenant)
    if found is None:
        raise UnknownQuery(query_id)
    if isinstance(found, Pending):
        return pending
    return json_response(200, stored_answer(found), decision_headers(found))
