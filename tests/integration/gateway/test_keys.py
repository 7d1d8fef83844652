"""Gateways that want to know who asks."""

import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import openai
import pytest

from tests.chaos.fleet import ROOT
from tests.chaos.preloaded import PreloadedCommand
from tests.integration.gateway.system import LEGAL, RunningSystem, eventually

TOKEN = "a-token-of-the-tests"
QUESTION = {"model": "base", "prompt": "x"}


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("keys") / "keys.json"


@pytest.fixture(scope="module")
def closed(system: RunningSystem, file: Path) -> RunningSystem:
    """With a gateway `gateway-3` that has keys."""
    add(file, "nobody")
    system.start_gateway("gateway-3", LORELAY_GATEWAY_KEYS=str(file), LORELAY_ADMIN_TOKEN=TOKEN)
    return system


def lorelay(*arguments: str) -> str:
    done = PreloadedCommand(["gateway", "keys", *arguments], os.environ, ROOT).completed(60)
    done.check_returncode()
    return done.stdout.strip()


def add(file: Path, tenant: str, *options: str) -> str:
    """The text of a new key."""
    return lorelay("add", tenant, "--file", str(file), *options)


def client_of(system: RunningSystem, key: str, gateway: str = "gateway-3") -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{system.url(gateway)}/v1", api_key=key, max_retries=0)


def test_a_key_lets_its_tenant_ask_at_his_priority(closed: RunningSystem, file: Path) -> None:
    with client_of(closed, add(file, "clara", "--priority", "3")) as client:
        answer = client.completions.create(model="base", prompt="x")
        assert client.models.retrieve(LEGAL).id == LEGAL
    query = closed.await_query(answer.id)
    assert (query.tenant, query.priority) == ("clara", 3)


def test_without_a_key_that_counts_nobody_is_let_in(closed: RunningSystem, file: Path) -> None:
    revoked = add(file, "clara")
    lorelay("revoke", revoked.split("-")[1], "--file", str(file))
    for text in ("none", revoked):
        with client_of(closed, text) as client:
            with pytest.raises(openai.AuthenticationError) as refused:
                client.completions.create(model="base", prompt="x")
            assert refused.value.code == "invalid_api_key"
            with pytest.raises(openai.AuthenticationError):
                client.models.list()
    with client_of(closed, TOKEN) as admin, pytest.raises(openai.PermissionDeniedError):
        admin.completions.create(model="base", prompt="x")
    with closed.http("gateway-3") as plain:
        assert plain.get("/api/adapters/registry").status_code == 401
        assert plain.get("/health").is_success


def test_a_tenant_finds_his_own_answers_only(closed: RunningSystem, file: Path) -> None:
    with client_of(closed, add(file, "clara")) as client:
        asked = client.completions.create(model="base", prompt="mine").id
        assert client.responses.retrieve(asked).output_text == "[base] mine"
    with client_of(closed, add(file, "covina")) as other, pytest.raises(openai.NotFoundError):
        other.responses.retrieve(asked)


def test_others_who_use_the_same_id_hide_no_answer(closed: RunningSystem, file: Path) -> None:
    # More of theirs than a search keeps at a time.
    tenants = ["clara", *["covina"] * 20]
    with (
        client_of(closed, add(file, "clara")) as client,
        client_of(closed, add(file, "nobody")) as other,
    ):
        with closed.nobody_answers():
            queries = [
                json.dumps({"id": "shared", "prompt": t, "tenant": t, "adapter": "base"}).encode()
                for t in tenants
            ]
            closed.cluster.produce(closed.topics.queries, queries, key=b"shared")
            assert client.responses.retrieve("shared").status == "in_progress"
            with pytest.raises(openai.NotFoundError):
                other.responses.retrieve("shared")
        eventually(lambda: len(closed.responses("shared")) == len(tenants), "the answers")
        assert client.responses.retrieve("shared").output_text == "[base] clara"
        with pytest.raises(openai.NotFoundError):
            other.responses.retrieve("shared")


def test_others_who_use_the_same_id_take_nothing_back(closed: RunningSystem, file: Path) -> None:
    closed.start_gateway("gateway-4", LORELAY_GATEWAY_KEYS=str(file))
    order: dict[str, Any] = {"model": "base", "prompt": "x", "extra_body": {"id": "order-77"}}
    with (
        client_of(closed, add(file, "clara")) as client,
        client_of(closed, add(file, "covina"), "gateway-4") as other,
        ThreadPoolExecutor() as threads,
    ):
        with closed.nobody_answers():
            waiting = threads.submit(client.completions.create, **order)
            closed.await_query("order-77")
            with pytest.raises(openai.APITimeoutError):
                other.completions.create(**order, timeout=2.0)
            cancel = eventually(
                lambda: next((c for c in closed.cancels() if c.query_id == "order-77"), None),
                "the cancel",
            )
            assert cancel.tenant == "covina"
        assert waiting.result().choices[0].text == "[base] x"
        assert client.completions.create(**order).choices[0].text == "[base] x"
        with pytest.raises(openai.ConflictError, match="cancelled within the last hour"):
            other.completions.create(**order)


def test_more_than_a_key_allows_a_minute_is_refused(closed: RunningSystem, file: Path) -> None:
    with client_of(closed, add(file, "clara", "--requests-per-minute", "2")) as client:
        first = client.completions.with_raw_response.create(model="base", prompt="x")
        assert first.headers["x-ratelimit-limit-requests"] == "2"
        assert first.headers["x-ratelimit-remaining-requests"] == "1"
        with client.completions.create(model="base", prompt="x", stream=True) as stream:
            assert stream.response.headers["x-ratelimit-remaining-requests"] == "0"
            assert list(stream)
        with pytest.raises(openai.RateLimitError) as refused:
            client.completions.create(model="base", prompt="x")
    assert refused.value.code == "rate_limit_exceeded"
    assert 0 < int(refused.value.response.headers["retry-after"]) <= 30


def test_the_tokens_of_a_day_are_counted(closed: RunningSystem, file: Path) -> None:
    with client_of(closed, add(file, "clara", "--tokens-per-day", "3")) as client:
        client.completions.create(model="base", prompt="one two three four")
        with pytest.raises(openai.RateLimitError) as refused:
            client.completions.create(model="base", prompt="x")
    assert refused.value.code == "insufficient_quota"
    assert refused.value.response.headers["x-should-retry"] == "false"
    assert refused.value.response.headers["x-ratelimit-remaining-tokens"] == "0"


def test_what_a_left_stream_brought_is_counted(closed: RunningSystem, file: Path) -> None:
    with (
        client_of(closed, add(file, "clara", "--tokens-per-day", "1")) as client,
        ThreadPoolExecutor() as threads,
    ):
        with closed.nobody_answers():
            waiting = threads.submit(
                client.completions.create,
                model="base",
                prompt="x",
                stream=True,
                extra_body={"id": "left"},
            )
            closed.await_query("left")
            closed.begin_answer("left", "[ba")
            with waiting.result() as stream:
                assert next(iter(stream)).choices[0].text == "[ba"
            eventually(
                lambda: [cancel for cancel in closed.cancels() if cancel.query_id == "left"],
                "the cancel",
            )
        with pytest.raises(openai.RateLimitError) as refused:
            client.completions.create(model="base", prompt="x")
    assert refused.value.code == "insufficient_quota"


def test_queries_under_way_are_limited(closed: RunningSystem, file: Path) -> None:
    with (
        client_of(closed, add(file, "clara", "--at-once", "1")) as client,
        ThreadPoolExecutor() as threads,
    ):
        with closed.nobody_answers():
            waiting = threads.submit(
                client.completions.create, model="base", prompt="x", extra_body={"id": "first"}
            )
            closed.await_query("first")
            with pytest.raises(openai.RateLimitError, match="as are allowed: 1"):
                client.completions.create(model="base", prompt="y")
        assert waiting.result().id == "first"
        assert client.completions.create(model="base", prompt="y").choices


def test_keys_are_listed_without_their_secrets_and_never_logged(
    closed: RunningSystem, file: Path
) -> None:
    text = add(file, "clara", "--name", "front")
    with client_of(closed, text) as client:
        client.completions.create(model="base", prompt="x")
    listed = json.loads(lorelay("list", "--json", "--file", str(file)))
    assert listed[-1]["name"] == "front"
    assert "sha256" not in listed[-1]
    for kept in (file.read_text(), closed.fleet.log("gateway-3").read_text(), json.dumps(listed)):
        assert text.split("-", 2)[2] not in kept
        assert TOKEN not in kept
