"""Our processes and commands on a cluster that grants each its own rights and no others."""

import asyncio
import json
import subprocess
import time
import uuid
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.errors import TopicAuthorizationFailedError
from pydantic import SecretStr

from schemas.codec import Codec
from schemas.records import Response
from schemas.topics import Topics
from streams.kafka.access import AccessRefused
from streams.kafka.acls import (
    Acl,
    client_acls,
    gateway_acls,
    judge_acls,
    operator_acls,
    router_acls,
    worker_acls,
)
from streams.kafka.admin import create_topics
from streams.kafka.settings import KafkaSettings
from tests.certificates import Authority
from tests.chaos.fleet import ROOT, Fleet, Member
from tests.chaos.preloaded import PreloadedCommand
from tests.integration.kafka.members import eventually
from tests.integration.security.secured_broker import MARKER, Listener, SecuredBroker, password
from tests.unit.streams.registry.factories import write_adapter

_SECONDS = 60.0
USER = {
    "kafka_security": "SASL_SSL",
    "kafka_username": "client",
    "kafka_password": password("client"),
}
#: In no prompt but those of the test below, and so in no log.
SECRET = "Granatapfelkernöl"
COMMANDS = (("ask", "?"), ("cancel", "q"), ("adapters", "list"), ("metrics",), ("topics",))
LISTENERS: tuple[Listener, ...] = ("SASL_SSL", "SSL")


class Secured:
    """Processes and commands of one test, each as somebody; remembers all that they print."""

    def __init__(self, broker: SecuredBroker, listener: Listener, folder: Path) -> None:
        self.broker = broker
        self.listener = listener
        self.topics = Topics(f"test-{uuid.uuid4().hex[:12]}.")
        self.folder = folder
        self.groups = {role: f"{self.topics.prefix}{role}" for role in ("router", "worker")}
        self.names = {
            "LORELAY_TOPIC_PREFIX": self.topics.prefix,
            "LORELAY_ROUTER_GROUP": self.groups["router"],
            "LORELAY_WORKER_GROUP": self.groups["worker"],
        }
        self.fleet = Fleet(folder, self.names)
        self.printed = ""

    def acls(self, role: str) -> Sequence[Acl]:
        return {
            "router": router_acls(self.topics, self.groups["router"]),
            "worker": worker_acls(self.topics, self.groups["worker"]),
            "gateway": gateway_acls(self.topics),
            "client": client_acls(self.topics),
            "operator": operator_acls(self.topics),
        }[role]

    def grant(self, *roles: str) -> None:
        for role in roles:
            self.broker.grant(role, self.acls(role))

    def let_judge(self) -> None:
        """Grants the router what deciding on canaries takes."""
        self.broker.grant("router", judge_acls(self.topics))

    def create_topics(self) -> None:
        self.grant("operator")
        settings = self.broker.settings("operator", self.listener, self.topics.prefix)
        assert asyncio.run(create_topics(settings, self.topics.specs(2))) == []

    def start(self, role: str, **changes: str) -> Member:
        variables = self.broker.variables(role, self.listener) | changes
        return self.fleet.start(
            role,
            role,
            LORELAY_ENGINE="echo",
            LORELAY_LOG_LEVEL="DEBUG",
            LORELAY_GATEWAY_PORT="0",
            LORELAY_GATEWAY_ADDRESS_FILE=str(self.folder / "gateway.api"),
            **variables,
        )

    def gateway(self) -> httpx.Client:
        """The gateway's HTTP API."""
        address = (self.folder / "gateway.api").read_text().strip()
        return httpx.Client(base_url=f"http://{address}", trust_env=False, timeout=_SECONDS)

    def command(
        self, name: str, *arguments: str, **changes: str
    ) -> subprocess.CompletedProcess[str]:
        """`lorelay ARGUMENTS` as ``name``."""
        variables = self.broker.variables(name, self.listener) | self.names | changes
        command = PreloadedCommand(arguments, self.fleet.environment | variables, ROOT)
        done = command.completed(_SECONDS)
        self.printed += done.stdout + done.stderr
        return done

    async def write(self, name: str, topic: str, value: bytes) -> None:
        """Writes a record as ``name``. Raises: KafkaError."""
        settings = self.broker.settings(name, self.listener, self.topics.prefix)
        async with AIOKafkaProducer(**settings.client_kwargs()) as producer:
            await producer.send_and_wait(topic, value)

    async def responses(self, name: str, count: int) -> list[Response]:
        """The first so many responses, read as ``name``."""
        settings = self.broker.settings(name, self.listener, self.topics.prefix)
        found: list[Response] = []
        async with (
            asyncio.timeout(_SECONDS),
            AIOKafkaConsumer(
                self.topics.responses,
                group_id=f"{self.topics.prefix}client",
                auto_offset_reset="earliest",
                isolation_level="read_committed",
                **settings.client_kwargs(),
            ) as consumer,
        ):
            while len(found) < count:
                for records in (await consumer.getmany(timeout_ms=500)).values():
                    found += [Codec().decode(Response, record.value) for record in records]
        return found

    def get(self, role: str, path: str) -> str:
        """What a process answers on its port; empty where it has none yet."""
        try:
            text = self.fleet.page(role, path)
        except (FileNotFoundError, httpx.HTTPError):
            return ""
        self.printed += text
        return text

    def await_reason(self, role: str, words: str) -> None:
        """Returns when the process says on /ready that it waits for that."""
        deadline = time.monotonic() + _SECONDS
        while words not in (reason := self.get(role, "/ready")):
            assert time.monotonic() < deadline, f"never said {words!r}, but {reason!r}"
            time.sleep(0.1)

    def await_ready(self, *members: Member) -> None:
        async def ready() -> None:
            await asyncio.gather(*(self.fleet.until_ready(member) for member in members))

        asyncio.run(ready())

    def close(self) -> None:
        """Ends everything; nothing that was printed or logged has held a secret."""
        self.fleet.close()
        logs = "".join(log.read_text(errors="replace") for log in self.folder.glob("*.log"))
        assert MARKER not in self.printed + logs


@pytest.fixture(params=LISTENERS)
def secured(
    request: pytest.FixtureRequest, broker: SecuredBroker, tmp_path: Path
) -> Iterator[Secured]:
    made = Secured(broker, request.param, tmp_path)
    yield made
    made.close()


@pytest.fixture
def with_passwords(broker: SecuredBroker, tmp_path: Path) -> Iterator[Secured]:
    made = Secured(broker, "SASL_SSL", tmp_path)
    yield made
    made.close()


def test_a_query_is_answered_with_least_rights_each_as_its_own_principal(
    secured: Secured,
) -> None:
    secured.create_topics()
    roles = ("router", "worker", "gateway")
    secured.grant(*roles, "client")
    secured.await_ready(*(secured.start(role) for role in roles))
    asyncio.run(secured.write("client", secured.topics.queries, b"{broken"))
    for options in ((), ("--stream",)):
        asked = secured.command("client", "ask", "Guten Tag?", "--adapter", "base", *options)
        assert asked.returncode == 0, asked.stderr
        assert "Guten Tag?" in asked.stdout
    assert secured.command("client", "cancel", "q1").returncode == 0
    with secured.gateway() as gateway:
        for stream in (False, True):
            body = {"id": f"q-{stream}", "model": "base", "prompt": "Guten Tag?", "stream": stream}
            assert "Guten" in gateway.post("/v1/completions", json=body).text
            assert "Guten Tag?" in gateway.get(f"/v1/responses/q-{stream}").text
    deadline = time.monotonic() + _SECONDS
    while secured.topics.queries not in secured.command("operator", "dead-letters", "list").stdout:
        assert time.monotonic() < deadline, "the broken query never became a dead letter"
    for command in (
        *(("topics", "--partitions", "2"), ("adapters", "list"), ("metrics",)),
        ("dead-letters", "redrive", "--all", "--yes"),
    ):
        done = secured.command("operator", *command)
        assert done.returncode == 0, done.stderr
    for role in roles:
        assert "lorelay_" in secured.get(role, "/metrics")
    assert secured.fleet.crashed() == []


def test_a_router_decides_on_canaries_only_where_it_may(
    with_passwords: Secured, tmp_path: Path
) -> None:
    secured = with_passwords
    secured.create_topics()
    secured.grant("router")
    secured.await_ready(secured.start("router"))
    folders = [
        write_adapter(tmp_path / number, seed=seed, adapter_version=number)
        for seed, number in enumerate(("1.0.0", "1.1.0"))
    ]
    registered = secured.command("operator", "adapters", "register", *map(str, folders))
    assert registered.returncode == 0, registered.stderr
    begun = secured.command("operator", "adapters", "canary", "legal-qa-v1", "--for", "1s")
    assert begun.returncode == 0, begun.stderr
    deadline = time.monotonic() + _SECONDS
    while "judging canaries" not in (log := secured.fleet.log("router").read_text()):
        assert time.monotonic() < deadline, "never said that it may not judge"
        time.sleep(0.1)
    assert "user router lacks " in log
    assert f"Write on topic {secured.topics.adapters}" in log
    assert "lists a judge's rights" in log

    secured.let_judge()
    while "canary_undecided" not in (
        told := secured.command("operator", "adapters", "history", "--json").stdout
    ):
        assert time.monotonic() < deadline + _SECONDS, f"never decided: {told}"
    assert secured.fleet.crashed() == []


def test_prompts_and_answers_are_in_no_log_whatever_becomes_of_them(
    with_passwords: Secured,
) -> None:
    secured = with_passwords
    secured.create_topics()
    roles = ("router", "worker", "gateway")
    secured.grant(*roles, "client")
    crashing = {"LORELAY_CRASH_ON": "poison", "LORELAY_MAX_MODEL_LEN": "512"}
    worker = secured.start("worker", **crashing)
    secured.await_ready(secured.start("router"), worker, secured.start("gateway"))
    asked: list[dict[str, Any]] = [
        {"prompt": SECRET, "adapter": "base"},
        {"prompt": SECRET},
        {"prompt": SECRET, "adapter": "base", "stream": True},
        {"messages": [{"role": "user", "content": SECRET}], "adapter": "base"},
        {"prompt": f"{SECRET} " * 1000, "adapter": "base"},
        {"prompt": f"{SECRET} poison", "adapter": "base"},
        {"prompt": SECRET, "adapter": "unknown"},
        {"prompt": SECRET, "priority": 12},
        {"prompt": SECRET, "messages": SECRET},
        {"prompt": SECRET, "timeout_ms": 1e-6},
        {"prompt": SECRET, "timeout_ms": 1e300, "adapter": "base"},
    ]
    values = [json.dumps(query, ensure_ascii=False).encode() for query in asked]
    values += [values[0][:-1], SECRET.encode(), b"\xc3\x01" + SECRET.encode()]
    for value in values:
        asyncio.run(secured.write("client", secured.topics.queries, value))
    responses = asyncio.run(secured.responses("client", len(values)))
    by_code = Counter(r.error.code if r.error else r.status for r in responses)
    assert by_code["ok"] == 5, by_code
    assert by_code["prompt_too_long"] == by_code["engine_crashed"] == 1
    assert by_code["unknown_adapter"] == by_code["deadline_exceeded"] == 1
    assert any(SECRET in (response.text or "") for response in responses)
    assert SECRET not in "".join(str(response.error) for response in responses)
    with secured.gateway() as gateway:
        for over_http in (
            {"prompt": SECRET},
            {"prompt": SECRET, "stream": True},
            {"prompt": SECRET, "n": 2},
            {"prompt": [SECRET, SECRET]},
            {"prompt": f"{SECRET} " * 1000},
        ):
            gateway.post("/v1/completions", json={"model": "base"} | over_http)
        gateway.post("/v1/completions", content=SECRET.encode())
    for role in roles:
        for path in ("/metrics", "/ready"):
            secured.get(role, path)
    for role in roles:
        log = secured.fleet.log(role).read_text(errors="replace")
        assert SECRET not in log
        assert SECRET.encode("unicode_escape").decode() not in log
    assert SECRET not in secured.printed


def test_what_is_not_granted_is_refused(with_passwords: Secured) -> None:
    secured = with_passwords
    secured.create_topics()
    secured.grant("client")

    with pytest.raises(TopicAuthorizationFailedError):
        asyncio.run(secured.write("client", secured.topics.responses, b"forged"))
    listed = secured.command("client", "adapters", "list")
    assert listed.returncode == 1
    assert listed.stderr.startswith("lorelay: User client lacks a right on the topic")
    assert listed.stderr.count("\n") == 1


def test_who_has_no_rights_is_told_so(with_passwords: Secured) -> None:
    secured = with_passwords
    secured.create_topics()
    for arguments in COMMANDS:
        done = secured.command("stranger", *arguments)
        assert done.returncode == 1, done.stderr
        assert "user stranger" in done.stderr.lower()
        assert done.stderr.count("\n") == 1


def test_a_process_waits_for_its_rights_and_says_which(with_passwords: Secured) -> None:
    secured = with_passwords
    secured.create_topics()
    worker = secured.start("worker")
    secured.await_reason("worker", f"{secured.topics.requests}")
    secured.await_reason("worker", "`lorelay topics acls`")
    topics = [acl for acl in secured.acls("worker") if acl.resource == "topic"]
    others = [acl for acl in secured.acls("worker") if acl not in topics]
    secured.broker.grant("worker", topics)
    secured.await_reason("worker", f"lacks Read on group {secured.groups['worker']}")
    secured.await_reason("worker", "Write on transactional-id")
    secured.broker.grant("worker", others)
    secured.await_ready(worker)


def test_a_wrong_password_is_told_and_tried_again(with_passwords: Secured) -> None:
    secured = with_passwords
    wrong = {"LORELAY_KAFKA_PASSWORD": f"{MARKER}-wrong"}
    for role in ("router", "worker", "gateway"):
        member = secured.start(role, **wrong)
        secured.await_reason(role, f"it refuses user {role}")
        assert member.is_alive
    for arguments in COMMANDS:
        done = secured.command("client", *arguments, **wrong)
        assert done.returncode == 1, done.stderr
        assert "it refuses user client" in done.stderr
        assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("listener", "given", "told"),
    [
        ("SSL", {"kafka_security": "SSL"}, "wants a client certificate"),
        ("SSL", {}, "does not answer with LORELAY_KAFKA_SECURITY=PLAINTEXT"),
        ("SASL_SSL", {"kafka_security": "SSL"}, "does not answer with LORELAY_KAFKA_SECURITY=SSL"),
        ("SASL_SSL", USER | {"kafka_sasl_mechanism": "PLAIN"}, "does not take PLAIN"),
    ],
)
async def test_a_connection_that_can_t_be_made_says_what_to_set(
    broker: SecuredBroker, listener: Listener, given: dict[str, Any], told: str
) -> None:
    ca = {"kafka_ca": broker.authority.file} if given else {}
    await refused(KafkaSettings(kafka=broker.addresses[listener], **given | ca), told)


async def test_a_certificate_of_an_unknown_authority_is_refused_by_either_side(
    broker: SecuredBroker, tmp_path: Path
) -> None:
    other = Authority(tmp_path, "other")
    ours, theirs = broker.certificates["client"], other.issue("client", password("client"))
    for ca, given, told in (
        (other.file, ours, "set LORELAY_KAFKA_CA"),
        (broker.authority.file, theirs, "wants a client certificate that it trusts"),
    ):
        settings = KafkaSettings(
            kafka=broker.addresses["SSL"],
            kafka_security="SSL",
            kafka_ca=ca,
            kafka_certificate=given.certificate,
            kafka_key=given.key,
            kafka_key_password=SecretStr(password("client")),
        )
        await refused(settings, told)


async def refused(settings: KafkaSettings, told: str) -> None:
    with pytest.raises(AccessRefused, match=told):
        await create_topics(settings, settings.topics.specs())
    # The loop closes the connection of a handshake that failed by itself, and needs the time to.
    loop: Any = asyncio.get_running_loop()
    await eventually(
        lambda: all(each._sock is None for each in list(loop._transports.values())),
        "every connection closed",
    )
