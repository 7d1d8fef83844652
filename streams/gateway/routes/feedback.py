"""POST /v1/feedback: what a person thought of an answer."""

from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter, Request, Response
from pydantic import Field, model_validator

from schemas.json_form import to_json
from schemas.records import Feedback
from streams.gateway.archive import Pending
from streams.gateway.failures import NotAnswered, UnknownQuery
from streams.gateway.request_body import RequestBody
from streams.gateway.routes.of import User, answers, errors, gateway_of
from streams.gateway.routes.shapes import TakenFeedback

router = APIRouter(tags=["Feedback"])

Text = Annotated[str | None, Field(max_length=100_000)]


class Opinion(RequestBody):
    """A rating, what the answer should have been, or anything else; at least one of them."""

    query_id: str = Field(pattern=r"^[!-~]{1,200}$", description="The id that the answer has.")
    rating: float | None = Field(default=None, ge=0, le=1, description="0 (useless) to 1 (right).")
    correction: Text = None
    comment: Text = None

    @model_validator(mode="after")
    def _says_something(self) -> "Opinion":
        if self.rating is None and not self.correction and not self.comment:
            raise ValueError("a rating, a correction or a comment is needed")
        return self


@router.post(
    "/v1/feedback",
    response_model=None,
    status_code=201,
    summary="Say what an answer was worth",
    responses={
        **answers(TakenFeedback, 201, "It is noted"),
        **errors(400, 401, 403, 404, 409, 413, 500, 503),
    },
)
async def give_feedback(opinion: Opinion, request: Request, user: User) -> Response:
    """Goes to the feedback topic with the version that answered; a canary is judged by it."""
    gateway = gateway_of(request)
    tenant = user.tenant if user else None
    if gateway.exchange.is_under_way(opinion.query_id, tenant):
        raise NotAnswered(opinion.query_id)
    found = await gateway.archive.find(opinion.query_id, tenant)
    if found is None:
        raise UnknownQuery(opinion.query_id)
    if isinstance(found, Pending):
        raise NotAnswered(opinion.query_id)
    feedback = Feedback(
        opinion.query_id,
        found.adapter,
        opinion.rating,
        opinion.correction,
        opinion.comment,
        tenant,
        datetime.now(UTC),
    )
    await gateway.sender.feedback(feedback)
    gateway.metrics.count_feedback(feedback)
    return Response(to_json(feedback), 201, media_type="application/json")
