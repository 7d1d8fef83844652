"""What spans say of a query, a decision and an answer; pure, and no word of prompt or answer.

Names beginning gen_ai are those of OpenTelemetry's conventions.
"""

from collections.abc import Mapping

from schemas.records import BASE, Query, Response, Routing
from streams.telemetry.metrics import choice_of
from streams.telemetry.operations import PROVIDER, operation_of
from streams.telemetry.tracing import Attribute


def asked_attributes(query: Query, model: str) -> dict[str, Attribute]:
    """What is asked of which model; what the query leaves open lacks."""
    sampling = query.sampling
    return {
        "gen_ai.operation.name": operation_of(query),
        "gen_ai.provider.name": PROVIDER,
        "gen_ai.request.model": model,
        "gen_ai.request.stream": query.stream,
    } | known(
        {
            "gen_ai.request.max_tokens": sampling.max_tokens,
            "gen_ai.request.temperature": sampling.temperature,
            "gen_ai.request.top_p": sampling.top_p,
            "gen_ai.request.seed": sampling.seed,
            "gen_ai.request.stop_sequences": list(sampling.stop) or None,
            "gen_ai.conversation.id": query.session,
        }
    )


def routing_attributes(routing: Routing) -> dict[str, Attribute]:
    """The adapter that was chosen, how, and how near it is; figures that there are none of lack."""
    return {
        "lorelay.adapter": routing.adapter or BASE,
        "lorelay.choice": choice_of(routing),
    } | known(
        {
            "lorelay.score": routing.score,
            "lorelay.margin": routing.margin,
            "lorelay.threshold": routing.threshold,
            "lorelay.language": routing.language,
            "lorelay.variant": routing.variant,
        }
    )


def response_attributes(response: Response) -> dict[str, Attribute]:
    """Who answered, why that one, and what it took; of an error as far as it came."""
    found = known(
        {
            "gen_ai.response.id": response.query_id,
            "gen_ai.response.model": response.adapter or response.base_model,
            "lorelay.attempt": response.attempt,
        }
    )
    if response.routing is not None:
        found |= routing_attributes(response.routing)
    if response.status == "ok":
        found |= {
            "gen_ai.response.finish_reasons": [response.finish_reason or "stop"],
            "gen_ai.usage.input_tokens": response.usage.prompt_tokens,
            "gen_ai.usage.output_tokens": response.usage.completion_tokens,
        }
    return found


def known(attributes: Mapping[str, Attribute | None]) -> dict[str, Attribute]:
    """Those that have a value."""
    return {name: value for name, value in attributes.items() if value is not None}
