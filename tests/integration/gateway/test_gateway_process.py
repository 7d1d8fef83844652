"""Gateways as processes: side by side, killed, told to stop; and clients who leave."""

import asyncio
import json
import signal
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import httpx
import openai
import pytest

from tests.integration.gateway.system import LEGAL, RunningSystem, eventually

#: So long that a cancel comes in time.
VARIABLES = {"LORELAY_SERVICE_MS": "400"}
GATEWAYS = 2


@contextmanager
def asking(
    system: RunningSystem, query_id: str, gateway: str = "gateway", *, stream: bool = False
) -> Iterator[socket.socket]:
    """A connection on which a question waits for its answer."""
    host, _, port = system.url(gateway).removeprefix("http://").partition(":")
    body = json.dumps({"id": query_id, "model": "base", "prompt": "x", "stream": stream})
    head = f"POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n"
    with socket.create_connection((host, int(port)), timeout=60.0) as connection:
        connection.sendall(f"{head}Content-Type: application/json\r\n\r\n{body}".encode())
        system.await_query(query_id)
        yield connection


@pytest.mark.parametrize("stream", [False, True])
def test_a_client_who_leaves_takes_his_query_back(system: RunningSystem, stream: bool) -> None:
    query_id = f"left-{stream}"
    with system.nobody_answers():
        with asking(system, query_id, stream=stream):
            pass
        cancel = eventually(
            lambda: next((c for c in system.cancels() if c.query_id == query_id), None),
            "the cancel",
        )
        assert cancel.reason == "The client has left."
    (response,) = eventually(lambda: system.responses(query_id), "the response")
    assert response.error is not None and response.error.code == "cancelled"
    assert system.metric("lorelay_gateway_cancels_total") > 0


def test_a_query_that_others_cancel_ends_so(system: RunningSystem) -> None:
    with (
        system.nobody_answers(),
        ThreadPoolExecutor() as threads,
        system.openai(max_retries=0) as client,
    ):
        waiting = threads.submit(
            client.completions.create, model="base", prompt="x", extra_body={"id": "taken-back"}
        )
        system.await_query("taken-back")
        system.cancel("taken-back")
        system.resume()
        with pytest.raises(openai.APIStatusError, match="the test says so") as refused:
            waiting.result()
    assert refused.value.status_code == 499


def test_each_gateway_reads_its_own_replies(system: RunningSystem) -> None:
    before = {
        name: system.metric("lorelay_gateway_foreign_replies_total", name)
        for name in ("gateway", "gateway-2")
    }
    asked: dict[str, list[str]] = {}
    for name in before:
        with system.openai(name) as client:
            asked[name] = [
                client.completions.create(model="base", prompt=f"{name} {n}").id for n in range(5)
            ]
    places = {name: system.reply_partitions(ids) for name, ids in asked.items()}
    assert [len(partitions) for partitions in places.values()] == [1, 1]
    assert places["gateway"] != places["gateway-2"]
    for name, count in before.items():
        assert system.metric("lorelay_gateway_foreign_replies_total", name) == count


def test_gateways_that_share_a_partition_each_get_only_theirs(system: RunningSystem) -> None:
    system.start_gateway("gateway-5")  # of four partitions the same as gateway's

    async def ask(name: str) -> list[str]:
        async with system.openai_async(name) as client:
            answers = [
                client.completions.create(
                    model="base", prompt=f"{name} {number}", extra_body={"id": f"same-{number}"}
                )
                for number in range(10)
            ]
            return [answer.choices[0].text for answer in await asyncio.gather(*answers)]

    async def both() -> list[list[str]]:
        return list(await asyncio.gather(ask("gateway"), ask("gateway-5")))

    # Even where both use the same ids.
    mine, theirs = asyncio.run(both())
    assert mine == [f"[base] gateway {number}" for number in range(10)]
    assert theirs == [f"[base] gateway-5 {number}" for number in range(10)]


def test_the_answer_of_a_killed_gateway_is_fetched_from_another(system: RunningSystem) -> None:
    doomed = system.start_gateway("gateway-3")
    with system.http("gateway-2") as other:
        with system.nobody_answers():
            with asking(system, "orphan", "gateway-3"):
                system.fleet.send(doomed, signal.SIGKILL)
                asyncio.run(system.fleet.until_ended(doomed))
            pending = other.get("/v1/responses/orphan")
            assert (pending.status_code, pending.json()["status"]) == (202, "in_progress")
        assert eventually(lambda: fetched(other, "orphan"), "the answer") == "[base] x"
    assert not [cancel for cancel in system.cancels() if cancel.query_id == "orphan"]


def fetched(client: httpx.Client, query_id: str) -> str | None:
    answer = client.get(f"/v1/responses/{query_id}")
    if answer.status_code != 200:
        return None
    text: str = answer.json()["output"][0]["content"][0]["text"]
    return text


@pytest.mark.parametrize("name", ["in-the-query", None])
def test_a_query_without_a_key_is_known_by_its_id_or_else_its_place(
    system: RunningSystem, name: str | None
) -> None:
    query = json.dumps({"id": name, "prompt": "x", "adapter": "base"}).encode()
    with system.http() as client:
        with system.nobody_answers():
            (offset,) = system.cluster.produce(system.topics.queries, [query], partition=0)
            query_id = name or f"{system.topics.queries}-0-{offset}"
            pending = client.get(f"/v1/responses/{query_id}")
            assert (pending.status_code, pending.json()["status"]) == (202, "in_progress")
        assert eventually(lambda: fetched(client, query_id), "the answer") == "[base] x"


def test_an_id_that_is_under_way_or_cancelled_is_taken(system: RunningSystem) -> None:
    with system.openai(max_retries=0) as client:
        with system.nobody_answers(), asking(system, "twice"):
            with pytest.raises(openai.ConflictError) as refused:
                client.completions.create(model="base", prompt="x", extra_body={"id": "twice"})
            assert refused.value.code == "duplicate_id"
            assert client.responses.retrieve("twice").status == "in_progress"
        eventually(
            lambda: [cancel for cancel in system.cancels() if cancel.query_id == "twice"], "cancel"
        )
        with pytest.raises(openai.ConflictError, match="cancelled within the last hour"):
            client.completions.create(model="base", prompt="x", extra_body={"id": "twice"})
        eventually(lambda: system.responses("twice"), "the response")
        assert client.responses.retrieve("twice").status == "cancelled"


def test_a_stream_goes_on_with_another_worker_s_answer_if_it_begins_alike(
    system: RunningSystem,
) -> None:
    with system.nobody_answers(), asking(system, "alike", stream=True) as connection:
        system.begin_answer("alike", "[ba")
        begun = received(connection, b"[ba")
        system.resume()
        text = begun + received(connection, b"[DONE]")
    assert b'"text":"se]' in text
    assert b'"error"' not in text


def test_a_stream_whose_answer_becomes_another_one_ends_with_an_error(
    system: RunningSystem,
) -> None:
    with system.nobody_answers(), asking(system, "unlike", stream=True) as connection:
        system.begin_answer("unlike", "Two")
        received(connection, b"Two")
        system.resume()
        rest = received(connection, b"stream_broken")
    assert b"[base]" not in rest
    assert b"/v1/responses/unlike has it" in rest
    assert system.metric("lorelay_gateway_broken_streams_total") == 1
    with system.openai() as client:
        assert client.responses.retrieve("unlike").output_text == "[base] x"


def received(connection: socket.socket, words: bytes) -> bytes:
    """What comes up to these words, at least."""
    text = b""
    while words not in text:
        piece = connection.recv(65536)
        assert piece, text
        text += piece
    return text


def test_a_gateway_told_to_stop_finishes_what_is_under_way(system: RunningSystem) -> None:
    leaving = system.start_gateway("gateway-4")
    with ThreadPoolExecutor() as threads, system.openai("gateway-4", max_retries=0) as client:
        with system.nobody_answers():
            waiting = threads.submit(
                client.completions.create, model="base", prompt="x", extra_body={"id": "last"}
            )
            system.await_query("last")
            system.fleet.send(leaving, signal.SIGTERM)
            eventually(lambda: not is_open(system.url("gateway-4")), "the end of listening")
        assert waiting.result().choices[0].text == "[base] x"
        assert asyncio.run(system.fleet.until_ended(leaving)) == 0


def is_open(url: str) -> bool:
    host, _, port = url.removeprefix("http://").partition(":")
    try:
        socket.create_connection((host, int(port))).close()
    except OSError:
        return False
    return True


def test_a_gateway_that_can_t_wait_any_longer_says_where_the_answer_will_be(
    system: RunningSystem,
) -> None:
    leaving = system.start_gateway("gateway-6", LORELAY_SHUTDOWN_SECONDS="0.1")
    with ThreadPoolExecutor() as threads, system.openai("gateway-6", max_retries=0) as client:
        with system.nobody_answers():
            waiting = threads.submit(
                client.completions.create, model="base", prompt="x", extra_body={"id": "later"}
            )
            system.await_query("later")
            system.fleet.send(leaving, signal.SIGTERM)
            with pytest.raises(openai.InternalServerError, match="/v1/responses/later"):
                waiting.result()
        assert asyncio.run(system.fleet.until_ended(leaving)) == 0
    with system.openai() as other:
        eventually(lambda: system.responses("later"), "the response")
        assert other.responses.retrieve("later").output_text == "[base] x"


def test_no_more_queries_than_allowed_are_under_way(system: RunningSystem) -> None:
    system.start_gateway("gateway-7", LORELAY_GATEWAY_REQUESTS="1")
    with system.http("gateway-7") as client:
        with system.nobody_answers(), asking(system, "first", "gateway-7"):
            refused = client.post("/v1/completions", json={"model": "base", "prompt": "x"})
            assert refused.status_code == 503
            assert refused.headers["retry-after"] == "1"
            assert refused.json()["error"]["code"] == "overloaded"
        answered = eventually(
            lambda: (
                answer
                if (
                    answer := client.post("/v1/completions", json={"model": "base", "prompt": "x"})
                ).is_success
                else None
            ),
            "a place",
        )
    assert answered.json()["choices"][0]["text"] == "[base] x"


def test_a_client_who_does_not_read_is_cut_off(system: RunningSystem) -> None:
    system.start_gateway("gateway-8", LORELAY_GATEWAY_STALL="0.5")
    # More than what sockets and server buffer for one client.
    prompt = "x" * 390_000
    body = json.dumps({"model": "base", "prompt": prompt, "stream": True}).encode()
    host, _, port = system.url("gateway-8").removeprefix("http://").partition(":")
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.connect((host, int(port)))
        head = f"POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n"
        connection.sendall(f"{head}Content-Type: application/json\r\n\r\n".encode() + body)
        eventually(
            lambda: system.metric("lorelay_gateway_requests_total", "gateway-8") == 1,
            "the end of the request",
        )
        assert system.metric("lorelay_gateway_open_streams", "gateway-8") == 0


def test_what_is_too_large_or_too_long_is_refused(system: RunningSystem) -> None:
    with system.http() as client:
        huge = client.post("/v1/completions", json={"prompt": "x" * 2_200_000})
        long = client.post("/v1/completions", json={"prompt": "x" * 500_000})
        half = client.post(
            "/v1/completions",
            content=b'{"prompt": "\\ud800"}',
            headers={"content-type": "application/json"},
        )
    assert (huge.status_code, huge.json()["error"]["code"]) == (413, "body_too_large")
    assert (long.status_code, long.json()["error"]["code"]) == (400, "string_above_max_length")
    assert (half.status_code, half.json()["error"]["code"]) == (400, "invalid_request")


def test_a_query_that_the_topic_does_not_take_spoils_none_that_follow(
    system: RunningSystem,
) -> None:
    topic = system.topics.queries
    before = int(system.cluster.config(topic)["max.message.bytes"])
    system.cluster.limit(topic, 5_000)
    try:
        with system.http() as client:
            for size in (10_000, 10, 10_000, 10, 10, 10, 10, 10, 10):
                question = {"model": "base", "prompt": "x" * size}
                answer = client.post("/v1/completions", json=question)
                assert answer.status_code == (413 if size > 5_000 else 200), answer.text
    finally:
        system.cluster.limit(topic, before)


def test_without_the_topic_that_answers_come_to_no_query_is_taken(system: RunningSystem) -> None:
    question = {"model": "base", "prompt": "x"}
    with system.http() as client:
        system.cluster.delete(system.topics.replies)
        try:
            eventually(lambda: client.get("/ready").is_error, "that it is not ready")
            assert system.topics.replies in client.get("/ready").json()["waits_for"]
            refusal = client.post("/v1/completions", json=question)
            assert (refusal.status_code, refusal.headers["x-should-retry"]) == (503, "true")
        finally:
            asyncio.run(system.create_topics())
        eventually(lambda: client.get("/ready").is_success, "that it is ready")
        answer = client.post("/v1/completions", json=question)
        assert answer.json()["choices"][0]["text"] == "[base] x"


def test_a_session_is_the_key_and_a_trace_goes_along(system: RunningSystem) -> None:
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    with system.openai() as client:
        answer = client.completions.create(
            model=LEGAL,
            prompt="x",
            user="u-1",
            extra_headers={"traceparent": trace, "X-Session-Id": "s-1"},
        )
    (record,) = [
        message
        for message in system.cluster.read(system.topics.queries)
        if ("ce_id", answer.id.encode()) in (message.headers() or [])
    ]
    assert record.key() == b"s-1"
    assert ("traceparent", trace.encode()) in (record.headers() or [])
    with system.openai("gateway-2") as other:
        assert other.responses.retrieve(answer.id).output_text == f"[{LEGAL}@1.0.0] x"


def test_the_pages_need_nothing_from_elsewhere(system: RunningSystem) -> None:
    with system.http() as client:
        page = client.get("/", follow_redirects=True)
        assert "swagger" in page.text
        assert "https://" not in page.text
        for name in ("swagger-ui-bundle.js", "swagger-ui.css", "favicon.png"):
            assert f"docs/{name}" in page.text
            assert client.get(f"/docs/{name}").status_code == 200
        assert client.get("/docs/other.js").status_code == 404
        paths = client.get("/openapi.json").json()["paths"]
        assert {"/v1/completions", "/v1/chat/completions", "/v1/models"} <= set(paths)
        assert client.get("/health").json() == {"status": "ok"}
        assert client.get("/ready").json() == {"status": "ready"}


def test_a_taken_port_is_one_plain_sentence(system: RunningSystem, tmp_path: Path) -> None:
    port = system.url().rpartition(":")[2]
    member = system.fleet.start("gateway-9", "gateway", LORELAY_GATEWAY_PORT=port)
    assert asyncio.run(system.fleet.until_ended(member)) == 2
    log = system.fleet.log("gateway-9").read_text()
    assert f"Port {port} for the gateway is taken" in log
