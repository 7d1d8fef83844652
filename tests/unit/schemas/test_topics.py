import pytest

from schemas.topics import MAX_QUERY_BYTES, MAX_RECORD_BYTES, Topics

COMPACTED = {"adapters", "examples", "traffic", "schemas", "dead-letters"}
SINGLE = {"cancels", "adapters", "examples", "traffic", "workers", "schemas"}
READ_BY_GROUPS = {"queries", "requests", "responses"}

#: Names that no broker takes.
IMPOSSIBLE = ["lorelay.replies.a b", "lorelay.replies.\n", "lorelay.replies." + "a" * 234]

OFFSETS_RETENTION_MS = 7 * 24 * 60 * 60 * 1000
"""Kafka's default of offsets.retention.minutes."""


def test_there_is_a_spec_for_every_name() -> None:
    topics = Topics()
    names = {getattr(topics, name) for name in dir(Topics) if is_name(name)}
    assert {spec.name for spec in topics.specs()} == names


def is_name(attribute: str) -> bool:
    return isinstance(getattr(Topics, attribute), property)


@pytest.mark.parametrize("prefix", ["lorelay.", "clara-", ""])
def test_every_name_starts_with_the_prefix(prefix: str) -> None:
    names = [spec.name.removeprefix(prefix) for spec in Topics(prefix).specs()]
    assert [prefix + name for name in names] == [spec.name for spec in Topics(prefix).specs()]
    assert set(names) == {spec.name for spec in Topics("").specs()}


def test_work_is_shared_out_and_stores_are_not() -> None:
    for spec in Topics("").specs(partitions=6):
        assert spec.partitions == (1 if spec.name in SINGLE else 6), spec.name


def test_stores_are_compacted_and_heartbeats_expire_too() -> None:
    for spec in Topics("").specs():
        policy = spec.config["cleanup.policy"]
        if spec.name == "workers":
            assert policy == "compact,delete"
        else:
            assert policy == ("compact" if spec.name in COMPACTED else "delete"), spec.name


def test_no_record_outlives_the_committed_offset_that_marks_it_finished() -> None:
    for spec in Topics("").specs():
        if spec.name in READ_BY_GROUPS:
            assert 0 < int(spec.config["retention.ms"]) < OFFSETS_RETENTION_MS


def test_a_full_sized_query_fits_every_topic_it_travels_through() -> None:
    limits = {
        spec.name: int(spec.config.get("max.message.bytes", 0)) for spec in Topics("").specs()
    }
    assert limits["queries"] > MAX_QUERY_BYTES
    for name in ("requests", "responses", "replies", "dead-letters"):
        assert limits[name] > MAX_RECORD_BYTES > limits["queries"]


@pytest.mark.parametrize(
    "topic",
    ["lorelay.replies", "lorelay.replies.a", "lorelay.replies-b", "lorelay.replies." + "a" * 233],
)
def test_replies_may_go_under_the_topic_of_replies(topic: str) -> None:
    assert Topics().accepts_replies(topic)


@pytest.mark.parametrize(
    "topic", ["lorelay.responses", "lorelay.repliesx", "replies", "", *IMPOSSIBLE]
)
def test_replies_may_go_nowhere_else(topic: str) -> None:
    assert not Topics().accepts_replies(topic)
