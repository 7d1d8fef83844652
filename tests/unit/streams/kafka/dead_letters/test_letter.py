"""What is written as a dead letter is read again, and so is whatever else lies on the topic."""

from dataclasses import replace

import pytest
from hypothesis import given

from schemas.errors import AdapterCorrupt
from schemas.json_form import to_json
from schemas.records import Query
from streams.kafka.output import Output
from tests.unit.streams.kafka.dead_letters.factories import (
    CODEC,
    DEAD_SINCE,
    QUERY,
    failed_request,
    letter,
    read,
    written,
)
from tests.unit.streams.kafka.dead_letters.strategies import Anything, anything


class TestWriting:
    def test_kafka_connects_headers_say_where_it_comes_from_and_why(self) -> None:
        headers = dict(written(QUERY).headers)
        assert headers["__connect.errors.topic"] == b"lorelay.queries"
        assert headers["__connect.errors.partition"] == b"1"
        assert headers["__connect.errors.offset"] == b"41"
        assert headers["__connect.errors.stage"] == b"router"
        assert headers["__connect.errors.exception.class.name"] == b"MalformedRecord"
        assert headers["__connect.errors.exception.message"] == b"It is no record."

    def test_error_query_and_adapter_need_no_decoding(self) -> None:
        headers = dict(written(query_id="q-9", adapter="legal-qa-v1@1.0.0").headers)
        assert headers["lorelay.error.category"] == b"invalid_request"
        assert headers["lorelay.error.code"] == b"malformed_record"
        assert headers["lorelay.query.id"] == b"q-9"
        assert headers["lorelay.adapter"] == b"legal-qa-v1@1.0.0"

    def test_a_null_value_is_no_tombstone(self) -> None:
        assert written(value=None).value == b""

    def test_a_message_that_is_no_unicode_is_kept_all_the_same(self) -> None:
        assert "\\ud800" in letter(error=AdapterCorrupt("a", "\ud800")).message


class TestReading:
    def test_what_was_written_is_read(self) -> None:
        found = letter(origin=QUERY, adapter="legal-qa-v1@1.0.0")
        assert found.origin == "lorelay.queries/1/41"
        assert found.place == QUERY
        assert (found.original_key, found.value) == (b"session-1", b"\x07 no query")
        assert found.headers == (("traceparent", b"00-1-2-01"),)
        assert (found.stage, found.error_class) == ("router", "MalformedRecord")
        assert (found.category, found.code) == ("invalid_request", "malformed_record")
        assert found.message == "It is no record."
        assert (found.query_id, found.adapter) == ("q-1", "legal-qa-v1@1.0.0")
        assert found.since == DEAD_SINCE
        assert (found.redriven_at, found.redriven_count, found.redriven_from) == (None, 0, None)
        assert found.problem is None

    def test_a_record_without_a_key_has_none(self) -> None:
        assert letter(key=None).original_key is None
        assert letter(key=b"").original_key == b""

    def test_original_headers_that_look_like_ours_stay_the_originals(self) -> None:
        from_connect = (("__connect.errors.topic", b"elsewhere"), ("lorelay.adapter", None))
        found = letter(headers=from_connect)
        assert found.headers == from_connect
        assert found.place == QUERY
        assert found.adapter is None
        assert found.problem is None

    def test_a_redriven_record_that_failed_again_names_its_dead_letter(self) -> None:
        found = letter(headers=(("lorelay.redriven.from", b"lorelay.queries/0/1"),))
        assert found.redriven_from == "lorelay.queries/0/1"
        assert found.redriven_count == 0

    def test_without_the_headers_a_request_says_its_query_and_adapter(self) -> None:
        request, origin = failed_request()
        found = read(_bare(written(origin, value=CODEC.encode(request))))
        assert (found.query_id, found.adapter) == ("q-7", "legal-qa-v1@1.0.0")

    def test_a_query_without_an_id_goes_by_its_place(self) -> None:
        query = to_json(Query(prompt="Wie?", adapter="legal-qa")).encode()
        found = read(_bare(written(QUERY, value=query)))
        assert (found.query_id, found.adapter) == ("lorelay.queries-1-41", "legal-qa")

    def test_bytes_that_cannot_be_read_say_nothing(self) -> None:
        found = read(_bare(written()))
        assert (found.query_id, found.adapter) == (None, None)


class TestForeignRecords:
    @pytest.mark.parametrize(
        ("key", "headers", "problem"),
        [
            (b"lorelay.queries/1/41", (), "no headers that say where"),
            (b"\xff\xfe", written().headers, "its key is no origin"),
            (b"a/b/c", written().headers, "its key is no origin"),
            (b"/1/41", written().headers, "its key is no origin"),
            (b"lorelay.queries/1/42", written().headers, "different origins"),
            (b"lorelay.queries/1/41", (("__connect.errors.topic", None),), "different origins"),
        ],
    )
    def test_a_problem_says_why_it_is_none_of_ours(
        self, key: bytes, headers: tuple[tuple[str, bytes | None], ...], problem: str
    ) -> None:
        found = read(Output("t", b"", key, headers=headers))
        assert problem in (found.problem or "")

    @given(anything())
    def test_whatever_lies_on_the_topic_is_read(self, record: Anything) -> None:
        found = record.read()
        assert [*found.headers, *found.reason] == record.headers
        assert (found.value, found.key) == (record.value, record.key or b"")


def _bare(output: Output) -> Output:
    """As an earlier version wrote it."""
    headers = [h for h in output.headers if not h[0].startswith(("lorelay.query", "lorelay.ad"))]
    return replace(output, headers=headers)
