"""A question over HTTP is one trace, down to what vLLM does with it."""

import json
import secrets

import httpx
import pytest

from tests.e2e.conversation import sample_of
from tests.e2e.running import Stack
from tests.integration.tracing.collector import Collector

FAMILY = "legal-qa"
GATEWAY, ROUTER, WORKER = "lorelay-gateway", "lorelay-router", "lorelay-worker"


@pytest.mark.parametrize("stream", [False, True])
def test_a_question_is_one_trace_over_gateway_router_and_worker(
    stack: Stack, adapter_keys: dict[str, str], collector: Collector, stream: bool
) -> None:
    adapter, question = adapter_keys[FAMILY], sample_of(FAMILY)[0].text
    gateway = json.loads((stack.folder / ".lorelay" / "stack.json").read_text())["gateway"]
    trace_id, client = secrets.token_hex(16), secrets.token_hex(8)

    answer = httpx.post(
        f"{gateway}/v1/chat/completions",
        json={"messages": [{"role": "user", "content": question}], "stream": stream},
        headers={"traceparent": f"00-{trace_id}-{client}-01"},
        timeout=120.0,
        trust_env=False,
    )
    assert answer.status_code == 200

    asking, generating = "POST /v1/chat/completions", f"chat {adapter}"
    expected = {
        asking: (GATEWAY, "the client"),
        "send lorelay.queries": (GATEWAY, asking),
        "process lorelay.queries": (ROUTER, "send lorelay.queries"),
        "receive": (ROUTER, "process lorelay.queries"),
        "encode": (ROUTER, "process lorelay.queries"),
        "route": (ROUTER, "process lorelay.queries"),
        "send lorelay.requests": (ROUTER, "process lorelay.queries"),
        "process lorelay.requests": (WORKER, "send lorelay.requests"),
        "queue": (WORKER, "process lorelay.requests"),
        "schedule": (WORKER, "process lorelay.requests"),
        generating: (WORKER, "process lorelay.requests"),
        "send lorelay.responses": (WORKER, "process lorelay.requests"),
    }
    spans = collector.spans(trace_id, expected)
    names = {span.span_id: name for name, span in spans.items()} | {client: "the client"}
    found = {name: (span.service, names[span.parent_id]) for name, span in spans.items()}
    assert found == expected
    told, served = spans[asking].attributes, spans[generating].attributes
    assert told["lorelay.adapter"] == told["gen_ai.response.model"] == adapter
    assert told["gen_ai.usage.output_tokens"] == served["gen_ai.usage.output_tokens"] > 1
    assert ("gen_ai.response.time_to_first_chunk" in told) == stream
    assert not [name for name, span in spans.items() if span.is_error]
    assert question not in str(spans)
