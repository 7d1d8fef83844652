"""`lorelay dead-letters` against a real broker."""

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from cli.main import main
from schemas.codec import Codec
from schemas.errors import EngineError
from schemas.records import Origin
from schemas.topics import Topics
from streams.kafka.settings import KafkaSettings
from tests.integration.kafka.cluster import Cluster
from tests.integration.kafka.dead_letters.letters import dead_queries, put
from tests.unit.streams.kafka.dead_letters.factories import failed_request, written


class Outcome(NamedTuple):
    status: int
    out: str
    err: str


Lorelay = Callable[..., Outcome]


@pytest.fixture
def lorelay(
    kafka_settings: KafkaSettings,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Lorelay:
    """Runs the command with this test's topics, and what it is answered if it asks."""
    monkeypatch.setenv("LORELAY_KAFKA", kafka_settings.kafka)
    monkeypatch.setenv("LORELAY_TOPIC_PREFIX", kafka_settings.topic_prefix)
    monkeypatch.setenv("COLUMNS", "200")

    def run(*arguments: object, answer: str = "") -> Outcome:
        monkeypatch.setattr("sys.stdin", io.StringIO(answer))
        try:
            status = main(["dead-letters", *map(str, arguments)])
        except SystemExit as left:
            status = int(left.code or 0)
        return Outcome(status, *capsys.readouterr())

    return run


@pytest.fixture
def query(cluster: Cluster, live_topics: Topics) -> str:
    """The origin of an unreadable query's dead letter."""
    put(cluster, written(Origin(live_topics.queries, 1, 41), topics=live_topics))
    return f"{live_topics.queries}/1/41"


@pytest.fixture
def request_(cluster: Cluster, live_topics: Topics) -> str:
    """The origin of a failed request's dead letter."""
    request, _ = failed_request()
    put(
        cluster,
        written(
            Origin(live_topics.requests, 2, 7),
            value=Codec().encode(request),
            error=EngineError("It ran out of memory."),
            query_id="q-7",
            adapter="legal-qa-v1@1.0.0",
            topics=live_topics,
        ),
    )
    return f"{live_topics.requests}/2/7"


@pytest.mark.usefixtures("live_topics")
class TestListing:
    def test_all_are_listed_with_their_errors(
        self, lorelay: Lorelay, query: str, request_: str
    ) -> None:
        listed = lorelay("list")
        assert listed.status == 0
        for expected in (query, "malformed_record", request_, "engine_failed", "q-7"):
            assert expected in listed.out

    @pytest.mark.parametrize(
        "options",
        [
            ("--id", "q-7"),
            ("--error", "engine"),
            ("--error", "engine_failed"),
            ("--adapter", "legal-qa-v1", "--since", "1h"),
        ],
    )
    def test_options_narrow_the_list_down(
        self, lorelay: Lorelay, query: str, request_: str, options: tuple[str, ...]
    ) -> None:
        (found,) = json.loads(lorelay("list", "--json", *options).out)
        assert found["origin"] == request_

    def test_programs_get_json(self, lorelay: Lorelay, request_: str) -> None:
        (found,) = json.loads(lorelay("list", "--json").out)
        assert found["error"]["message"] == "It ran out of memory."
        assert found["headers"] == [["traceparent", "00-1-2-01"]]
        assert found["since"].endswith("Z")
        assert json.loads(lorelay("list", "--json", "--until", "1h").out) == []

    def test_nothing_is_said_to_be_nothing(self, lorelay: Lorelay) -> None:
        assert "There are no dead letters." in lorelay("list").out
        assert "No dead letter matches." in lorelay("list", "--id", "x").out

    def test_foreign_records_are_listed(
        self, lorelay: Lorelay, cluster: Cluster, live_topics: Topics
    ) -> None:
        cluster.produce(live_topics.dead_letters, [b"\xff"], key=b"\xfe[red]")
        assert r"\xfe[red]" in lorelay("list").out


class TestShowing:
    def test_the_prompt_is_shown_only_if_asked_for(self, lorelay: Lorelay, request_: str) -> None:
        for options in ((), ("--json",)):
            shown = lorelay("show", request_, *options)
            assert shown.status == 0
            assert "It ran out of memory." in shown.out
            assert "Wie lange?" not in shown.out
            assert "Wie lange?" in lorelay("show", request_, "--text", *options).out

    def test_bytes_that_cannot_be_read_are_shown_as_they_are(
        self, lorelay: Lorelay, query: str
    ) -> None:
        assert r"\x07 no query" in lorelay("show", query, "--text").out

    def test_the_original_bytes_go_to_a_file(
        self, lorelay: Lorelay, query: str, tmp_path: Path
    ) -> None:
        assert lorelay("show", query, "--bytes", tmp_path / "original").status == 0
        assert (tmp_path / "original").read_bytes() == b"\x07 no query"
        outcome = lorelay("show", query, "--bytes", tmp_path / "no folder" / "original")
        assert outcome.status == 2
        assert "can't be written" in outcome.err

    def test_one_that_is_not_there_is_a_plain_sentence(self, lorelay: Lorelay, query: str) -> None:
        outcome = lorelay("show", query + "0")
        assert outcome.status == 1
        assert f"There is no dead letter {query}0" in outcome.err


class TestRedriving:
    def test_it_says_what_it_does_and_does_it_once(
        self, lorelay: Lorelay, cluster: Cluster, live_topics: Topics, query: str, request_: str
    ) -> None:
        dry = lorelay("redrive", "--all", "--dry-run")
        assert "2 dead letters would be redriven" in dry.out
        assert "redriven 2 dead letters" in lorelay("redrive", "--all", "--yes").out
        again = lorelay("redrive", query, request_, "--yes")
        assert again.status == 0
        assert "2 dead letters redriven already" in again.err
        assert "Nothing to redrive" in again.out
        assert "redriven 1 dead letter\n" in lorelay("redrive", query, "--again", "--yes").out
        counts = {
            found["origin"]: found["redriven_count"]
            for found in json.loads(lorelay("list", "--json").out)
        }
        assert counts == {query: 2, request_: 1}
        assert "2 times, last 2" in lorelay("show", query).out

    def test_nothing_is_done_without_a_yes(self, lorelay: Lorelay, query: str) -> None:
        for answer in ("", "n\n"):
            asked = lorelay("redrive", query, answer=answer)
            assert asked.status == 1
            assert "Redrive 1 dead letter?" in asked.out
        assert json.loads(lorelay("list", "--json").out)[0]["redriven_count"] == 0

    def test_what_comes_from_elsewhere_is_refused_and_the_others_are_redriven(
        self, lorelay: Lorelay, cluster: Cluster, live_topics: Topics, query: str
    ) -> None:
        put(cluster, written(Origin(live_topics.responses, 0, 1), topics=live_topics))
        cluster.produce(live_topics.dead_letters, [b""], key=b"foreign")
        outcome = lorelay("redrive", "--all", "--yes")
        assert outcome.status == 1
        assert f"{live_topics.responses}/0/1: it comes from neither" in outcome.err
        assert "foreign: it has no headers" in outcome.err
        assert "redriven 1 dead letter\n" in outcome.out

    def test_one_that_is_not_there_stops_all(self, lorelay: Lorelay, query: str) -> None:
        outcome = lorelay("redrive", query, f"{query}0", "--yes")
        assert outcome.status == 1
        assert f"There is no dead letter {query}0:" in outcome.err
        assert json.loads(lorelay("list", "--json").out)[0]["redriven_count"] == 0


class TestPurging:
    def test_what_is_named_is_gone(self, lorelay: Lorelay, query: str, request_: str) -> None:
        assert "purged 1 dead letter\n" in lorelay("purge", query, "--yes").out
        assert [found["origin"] for found in json.loads(lorelay("list", "--json").out)] == [
            request_
        ]

    def test_options_choose_what_is_purged(
        self, lorelay: Lorelay, cluster: Cluster, live_topics: Topics, request_: str
    ) -> None:
        put(cluster, *dead_queries(live_topics, 3))
        assert "purged 3 dead letters" in lorelay("purge", "--id", "q-1", "--yes").out
        assert "No dead letter matches" in lorelay("purge", "--id", "q-1", "--yes").out
        assert request_ in lorelay("list").out

    def test_nothing_is_done_without_a_yes(self, lorelay: Lorelay, query: str) -> None:
        assert lorelay("purge", query).status == 1
        assert query in lorelay("list").out
        assert lorelay("purge", query, answer="y\n").status == 0
        assert query not in lorelay("list").out


def test_missing_topics_are_a_plain_sentence(lorelay: Lorelay, topics: Topics) -> None:
    for arguments in (("list",), ("redrive", "--all", "--yes"), ("purge", "--id", "x", "--yes")):
        outcome = lorelay(*arguments)
        assert outcome.status == 2
        assert f"has no topic {topics.dead_letters}" in outcome.err
        assert "Traceback" not in outcome.err
