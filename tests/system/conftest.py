"""A stack as `lorelay up` starts it, with the echo engine, under some queries."""

import json
import os
import uuid
from collections.abc import Iterator, Mapping
from typing import Any

import httpx
import pytest
from confluent_kafka import Consumer, Producer

from benchmarks.adapters import stand_ins
from benchmarks.stack import base_variables
from examples.demo import FAMILIES
from tests.e2e.running import Stack
from tests.system.programs import ROOT
from tests.system.prometheus import Prometheus, running_prometheus, until

DATA = ROOT / "examples" / "data"
SELECTED = 'lorelay_router_queries_total{choice="selected"}'
SHADOWED = 'lorelay_router_shadow_queries_total{outcome!="dropped"}'


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Broker, router and worker, with stand-ins of the demo's adapters."""
    folder = tmp_path_factory.mktemp("system")
    adapters = stand_ins(folder / "adapters")
    clean = {name: value for name, value in os.environ.items() if not name.startswith("LORELAY_")}
    # Half of what an adapter gets is turned away by the shadow, so that it has something to say.
    variables = clean | base_variables(adapters[0]) | {"LORELAY_SHADOW_FALSE_REJECT": "0.5"}
    stack = Stack(folder, "", variables)
    try:
        stack.lorelay("up", "--engine", "echo", "--kafka-port", "0")
        kafka = json.loads((folder / ".lorelay" / "stack.json").read_text())["kafka"]
        stack = Stack(folder, kafka, variables)
        stack.lorelay("adapters", "register", *map(str, adapters))
        yield stack
    finally:
        Stack(folder, "", variables).lorelay("down")


@pytest.fixture(scope="session")
def prometheus(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """A Prometheus that has scraped the stack before, while and after it answered queries."""
    processes = json.loads(stack.lorelay("status", "--json"))["processes"]
    addresses = [p["metrics"].removeprefix("http://") for p in processes if p.get("metrics")]
    with running_prometheus(tmp_path_factory.mktemp("prometheus"), addresses) as running:
        until(lambda: len(running.query("up == 1")) == len(addresses), "every target")
        until(lambda: running.value("min(lorelay_adapters_known)") == len(FAMILIES), "adapters")
        answered = 0
        # Whether the router and its shadow have learnt them shows in what they decide.
        while not all(map(running.query, (SELECTED, SHADOWED))):
            answered += ask(stack.kafka)
        answered += ask(stack.kafka)
        ask_over_http(json.loads((stack.folder / ".lorelay" / "stack.json").read_text())["gateway"])
        until(lambda: running.value("sum(lorelay_responses_total)") >= answered, "responses")
        until(lambda: running.value("sum(lorelay_dead_letters_total)") > 0, "a dead letter")
        until(lambda: running.value("sum(lorelay_router_metric_windows_total)") > 0, "windows")
        yield running


def ask(kafka: str) -> int:
    """Sends queries of every kind and one that is broken; returns once the others are answered.

    Returns how many those are.
    """
    run = uuid.uuid4().hex
    queries: list[Mapping[str, Any]] = [
        {"prompt": text_of(json.loads(line))}
        for family in (*FAMILIES, "none")
        for line in (DATA / f"{family}.jsonl").read_text("utf-8").splitlines()[:12]
    ]
    queries += [
        {"prompt": "Named", "adapter": FAMILIES[0]},
        {"prompt": "Base", "adapter": "base"},
        {"prompt": "Unknown", "adapter": "no-such-adapter"},
        {"prompt": "Late", "timeout_ms": 0.001},
    ]
    values = [json.dumps({"id": f"{run}-{n}", **query}) for n, query in enumerate(queries)]
    consumer = Consumer(
        {
            "bootstrap.servers": kafka,
            "group.id": run,
            "auto.offset.reset": "earliest",
            "isolation.level": "read_committed",
        }
    )
    consumer.subscribe(["lorelay.responses"])
    producer = Producer({"bootstrap.servers": kafka})
    for value in [*values, '{"prompt": 7}']:
        producer.produce("lorelay.queries", value)
    producer.flush()
    left = len(values)
    while left:
        message = consumer.poll(60)
        assert message is not None, f"{left} queries are not answered"
        left -= (message.key() or b"").startswith(run.encode())
    consumer.close()
    return len(values)


def ask_over_http(gateway: str) -> None:
    """One answer as a whole and one in pieces, as a client of the gateway gets them."""
    for stream in (False, True):
        asked = {"model": "base", "prompt": "Over HTTP", "max_tokens": 4, "stream": stream}
        answer = httpx.post(f"{gateway}/v1/completions", json=asked, timeout=60, trust_env=False)
        assert answer.status_code == 200, answer.text


def text_of(row: Mapping[str, str]) -> str:
    return row.get("text") or row["instruction"]
