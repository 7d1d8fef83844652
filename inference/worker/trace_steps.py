"""What traces say of a generation, in the words of OpenTelemetry's conventions (gen_ai)."""

from inference.engine.protocol import Completion, EngineLimits
from schemas.records import InferenceRequest
from streams.telemetry.attributes import asked_attributes, known
from streams.telemetry.tracing import Attribute, Trace


def trace_generation(
    trace: Trace,
    since: float,
    request: InferenceRequest,
    completion: Completion,
    adapter: str | None,
    limits: EngineLimits,
) -> None:
    """Tells the wait for a place in the engine's batch, and the whole that has just ended."""
    if not trace.is_recorded:
        return
    if completion.engine_queue_ms is not None:
        trace.step("schedule", since, since + completion.engine_queue_ms / 1000)
    attributes = generation_attributes(request, completion, adapter, str(limits.base_model))
    operation = attributes["gen_ai.operation.name"]
    trace.step(f"{operation} {attributes['gen_ai.request.model']}", since, None, attributes)


def generation_attributes(
    request: InferenceRequest, completion: Completion, adapter: str | None, base_model: str
) -> dict[str, Attribute]:
    """What was asked of which model, and what it took; no word of prompt or answer."""
    first_token_ms = completion.first_token_ms
    return {
        **asked_attributes(request.query, request.routing.adapter or base_model),
        "gen_ai.response.model": adapter or base_model,
        "gen_ai.response.finish_reasons": [completion.finish_reason],
        "gen_ai.usage.input_tokens": completion.usage.prompt_tokens,
        "gen_ai.usage.output_tokens": completion.usage.completion_tokens,
        "lorelay.attempt": request.attempt,
        **known(
            {
                "gen_ai.response.time_to_first_chunk": (
                    None if first_token_ms is None else first_token_ms / 1000
                )
            }
        ),
    }
