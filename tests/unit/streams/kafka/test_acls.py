"""The rights of each role: what they leave out, and that the document has them as the code."""

from pathlib import Path

import pytest

from schemas.topics import Topics
from streams.kafka.acls import (
    Acl,
    Operation,
    Pattern,
    Resource,
    client_acls,
    dashboard_acls,
    gateway_acls,
    judge_acls,
    markdown_table,
    operator_acls,
    registrar_acls,
    router_acls,
    topic_names,
    worker_acls,
)

DOCS = Path(__file__).parents[4] / "docs" / "security.md"
TOPICS = Topics()
ROLES = {
    "router": router_acls(TOPICS, "lorelay-router"),
    "judge": judge_acls(TOPICS),
    "worker": worker_acls(TOPICS, "lorelay-worker"),
    "gateway": gateway_acls(TOPICS),
    "registrar": registrar_acls(TOPICS),
    "dashboard": dashboard_acls(TOPICS, "lorelay-router", "lorelay-worker"),
    "client": client_acls(TOPICS),
    "operator": operator_acls(TOPICS),
}


def writable(role: str) -> set[str]:
    return {
        acl.name
        for acl in ROLES[role]
        if acl.resource is Resource.TOPIC and Operation.WRITE in acl.operations
    }


def test_docs_hold_the_table_as_the_code_has_it() -> None:
    assert markdown_table(ROLES) in DOCS.read_text(), (
        "docs/security.md is stale; put the output of "
        "`lorelay topics acls --format markdown` in the place of its table"
    )


@pytest.mark.parametrize("role", ROLES)
def test_each_resource_is_there_once(role: str) -> None:
    named = [(acl.resource, acl.name, acl.pattern) for acl in ROLES[role]]
    assert len(named) == len(set(named))


@pytest.mark.parametrize("role", ["router", "worker", "gateway", "client"])
def test_only_operators_registrars_and_judges_write_to_the_registry(role: str) -> None:
    registry = {TOPICS.adapters, TOPICS.examples, TOPICS.traffic, TOPICS.lifecycle}
    assert not writable(role) & registry
    assert registry <= writable("operator")
    assert registry == writable("registrar")
    assert writable("judge") == registry - {TOPICS.examples}


def test_a_client_writes_no_answers_and_reads_nobody_s_requests() -> None:
    assert not writable("client") & {TOPICS.requests, TOPICS.responses, TOPICS.replies}
    assert TOPICS.requests not in topic_names(ROLES["client"])


def test_who_writes_by_transactions_may_use_those_of_its_own_group_only() -> None:
    used = [acl for acl in ROLES["worker"] if acl.resource is Resource.TRANSACTIONAL_ID]
    assert [acl.name for acl in used] == ["lorelay-worker-lorelay.requests-"]
    assert used[0].pattern is Pattern.PREFIXED


def test_the_arguments_are_those_of_kafka_s_own_tool() -> None:
    acl = Acl(Resource.TOPIC, "a.", (Operation.READ, Operation.WRITE), Pattern.PREFIXED)
    assert acl.arguments("User:CN=An Na") == (
        "--add --allow-principal 'User:CN=An Na' --operation Read --operation Write "
        "--topic a. --resource-pattern-type prefixed"
    )


def test_without_a_prefix_a_right_on_all_topics_is_kafka_s_wildcard() -> None:
    (everything,) = [acl for acl in operator_acls(Topics("")) if acl.name == "*"]
    assert everything.pattern is Pattern.LITERAL
    assert "*" not in topic_names(operator_acls(Topics("")))
