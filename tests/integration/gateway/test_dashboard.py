"""The dashboard's feed over the real broker: what it shows, to whom, and at what cost."""

import asyncio
import json
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import httpx
import pytest

from tests.integration.gateway.system import (
    LEGAL,
    LEGAL_TEXTS,
    MEDICAL,
    RunningSystem,
    eventually,
)

VARIABLES = {"LORELAY_METRICS_WINDOW": "1", "LORELAY_HEARTBEAT_SECONDS": "0.5"}
TOKEN = "a-token-of-the-tests"

T = TypeVar("T")


class Seen:
    """What a viewer has been sent, put together as the page does."""

    def __init__(self, lines: Iterator[str]) -> None:
        self._lines = lines
        self.sections: dict[str, Any] = {}
        self.queries: dict[str, dict[str, Any]] = {}

    def until(self, find: Callable[["Seen"], T | None], what: str) -> T:
        """Reads events until it finds something."""

        def look() -> T | None:
            self._read()
            return find(self)

        return eventually(look, what)

    def query(self, query_id: str) -> dict[str, Any]:
        return self.until(lambda seen: seen.queries.get(query_id), f"the query {query_id}")

    def _read(self) -> None:
        line = next(line for line in self._lines if line.startswith("data: "))
        content = json.loads(line.removeprefix("data: "))
        for name in ("latest", "news"):
            self.queries |= {row["id"]: row for row in content.pop(name, [])}
        self.sections |= content


@contextmanager
def looking(
    system: RunningSystem, gateway: str = "gateway", token: str | None = None
) -> Iterator[Seen]:
    headers = {"authorization": f"Bearer {token}"} if token else {}
    with (
        system.http(gateway) as client,
        client.stream("GET", "/dashboard/feed", headers=headers) as stream,
    ):
        assert stream.status_code == 200, stream.read()
        assert stream.headers["content-type"].startswith("text/event-stream")
        yield Seen(stream.iter_lines())


def ask(system: RunningSystem, query_id: str, prompt: str, model: str = "lorelay") -> str:
    """Who answered."""
    with system.openai() as client:
        answer = client.completions.create(model=model, prompt=prompt, extra_body={"id": query_id})
    return answer.model


def flow_of(seen: Seen) -> dict[str, dict[str, Any]]:
    return {topic["kind"]: topic for topic in seen.sections["flow"]["topics"]}


def test_a_query_shows_with_its_decision_and_without_its_text(system: RunningSystem) -> None:
    with looking(system) as seen:
        eventually(
            lambda: ask(system, "legal", LEGAL_TEXTS[0]).startswith(LEGAL) or None, "selection"
        )
        ask(system, "named", "A secret?", MEDICAL)
        named = seen.query("named")
        assert (named["adapter"], named["choice"]) == (f"{MEDICAL}@1.0.0", "named")
        legal = seen.until(
            lambda seen: next(
                (row for row in seen.queries.values() if row["choice"] == "selected"), None
            ),
            "a selection",
        )
        assert legal["routed_to"] == f"{LEGAL}@1.0.0"
        assert legal["score"] > legal["threshold"]
        assert legal["reason"].startswith("closest to legal-qa-v1@1.0.0")
        assert legal["total_ms"] > 0
        assert "secret" not in json.dumps(seen.queries)


def test_every_section_fills(system: RunningSystem) -> None:
    ask(system, "before", "x", MEDICAL)
    with looking(system) as seen:
        # It was asked before anybody looked.
        seen.query("before")
        rows = seen.until(lambda seen: seen.sections["versions"]["rows"], "figures")
        assert f"{MEDICAL}@1.0.0" in [row["adapter"] for row in rows]
        assert all(row["errors"] == 0 and row["p95_ms"] > 0 for row in rows)
        families = {family["family"]: family for family in seen.sections["families"]}
        assert families["legal-qa"]["shares"][0]["percent"] == 100.0
        (worker,) = seen.until(
            lambda seen: [w for w in seen.sections["workers"] if w["resident"]], "a worker"
        )
        assert f"{MEDICAL}@1.0.0" in worker["resident"]
        counts = flow_of(seen)
        assert sum(count or 0 for count in counts["queries"]["counts"]) > 0
        assert sum(count or 0 for count in counts["responses"]["counts"]) > 0
        assert seen.sections["about"]["troubles"] == []


def test_what_waits_for_a_worker_is_its_lag(system: RunningSystem) -> None:
    with looking(system) as seen:
        seen.until(lambda seen: flow_of(seen)["requests"]["lag"] == 0 or None, "no lag")
        with system.nobody_answers():
            for number in range(3):
                value = json.dumps({"id": f"waits-{number}", "prompt": "x", "adapter": "base"})
                system.cluster.produce(system.topics.queries, [value.encode()])
            seen.until(lambda seen: flow_of(seen)["requests"]["lag"] == 3 or None, "a lag of 3")
        seen.until(lambda seen: flow_of(seen)["requests"]["lag"] == 0 or None, "no lag again")


def test_a_dead_letter_shows_with_its_error(system: RunningSystem) -> None:
    system.cluster.produce(system.topics.queries, [b'{"prompt": 7}'])
    with looking(system) as seen:
        newest = seen.until(lambda seen: seen.sections["letters"]["newest"], "a dead letter")
        assert newest[0]["origin"].startswith(f"{system.topics.queries}/")
        assert newest[0]["code"] and newest[0]["message"]


def test_texts_are_shown_where_that_is_allowed_to_the_admin(system: RunningSystem) -> None:
    system.start_gateway("gateway-4", LORELAY_DASHBOARD_TEXT="true", LORELAY_ADMIN_TOKEN=TOKEN)
    with looking(system, "gateway-4", TOKEN) as seen:
        ask(system, "shown", "May I know?", "base")
        row = seen.until(
            lambda seen: (row := seen.queries.get("shown")) and row["prompt"] and row, "its text"
        )
        assert (row["prompt"], row["text"]) == ("May I know?", "[base] May I know?")
    with system.http("gateway-4") as client:
        for headers in ({}, {"authorization": "Bearer another"}):
            refused = client.get("/dashboard/feed", headers=headers)
            assert refused.status_code == 401
            assert refused.headers["www-authenticate"] == "Bearer"
            assert "admin's token" in refused.json()["error"]["message"]
        # The page itself holds nothing.
        assert client.get("/dashboard").status_code == 200


def test_the_page_is_there_with_all_its_files(system: RunningSystem) -> None:
    with system.http() as client:
        page = client.get("/dashboard")
        assert page.headers["content-type"] == "text/html; charset=utf-8"
        for path in ("dashboard/main.js", "dashboard/style.css", "dashboard/icon.svg"):
            assert path in page.text or path.endswith("main.js")
            assert client.get(f"/{path}").status_code == 200
        assert client.get("/dashboard/model.py").status_code == 404


def test_many_viewers_cost_one_reader_and_nobody_none(system: RunningSystem) -> None:
    def readers() -> int:
        return int(system.metric("lorelay_gateway_dashboard_readers"))

    eventually(lambda: readers() == 0 or None, "nothing read")
    with looking(system) as first, looking(system) as second:
        ask(system, "both", "x", "base")
        first.query("both")
        second.query("both")
        assert readers() == 1
        assert system.metric("lorelay_gateway_dashboard_viewers") == 2
    eventually(lambda: readers() == 0 or None, "nothing read again")


def test_the_gateway_stops_though_somebody_looks(system: RunningSystem) -> None:
    member = system.start_gateway("gateway-6")
    with looking(system, "gateway-6") as seen:
        seen.until(lambda seen: seen.sections.get("about"), "anything")
        system.fleet.send(member, signal.SIGTERM)
        with pytest.raises((StopIteration, httpx.HTTPError)):
            while True:
                seen.until(lambda seen: None, "the end")
    assert asyncio.run(system.fleet.until_ended(member)) == 0
