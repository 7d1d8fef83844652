"""The client library against a server that speaks the part of the registry's API it needs."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from schemas.errors import ConfigurationError, SchemaRegistryUnavailable, UnknownSchema
from schemas.records import RECORD_TYPES, Query
from schemas.schema_registry import RegisteredSchemas, codec_of_registry, record_topics
from schemas.topics import Topics

TOPICS = Topics("test.")
MARKER = "s3cret-m4rker"


class StandInRegistry(ThreadingHTTPServer):
    """POST /subjects/S/versions and GET /schemas/ids/N, as Confluent's API documents them."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Requests)
        self.subjects: dict[str, int] = {}
        self.schemas: dict[int, str] = {}
        self.failing = False

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def register(self, subject: str, schema: str) -> int:
        known = {text: number for number, text in self.schemas.items()}
        number = known.get(schema, len(self.schemas) + 1)
        self.schemas[number] = schema
        self.subjects[subject] = number
        return number


class _Requests(BaseHTTPRequestHandler):
    server: StandInRegistry

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.server.failing:
            return self._answer(409, {"error_code": 409, "message": "incompatible"})
        subject = self.path.split("/")[2]
        return self._answer(200, {"id": self.server.register(subject, body["schema"])})

    def do_GET(self) -> None:
        number = int(self.path.split("?")[0].split("/")[3])
        if self.server.failing:
            return self._answer(500, {"error_code": 50001, "message": "out of order"})
        text = self.server.schemas.get(number)
        if text is None:
            return self._answer(404, {"error_code": 40403, "message": "Schema not found"})
        return self._answer(200, {"schema": text})

    def _answer(self, status: int, body: dict[str, object]) -> None:
        payload = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/vnd.schemaregistry.v1+json")
        self.send_header("Content-Length", str(len(payload)))
        self.end_headers()
        self.wfile.write(payload)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[StandInRegistry]:
    with StandInRegistry() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_every_topic_of_records_gets_its_subject(server: StandInRegistry) -> None:
    ids = RegisteredSchemas(server.url).publish(TOPICS)
    assert set(ids) == set(RECORD_TYPES)
    assert set(server.subjects) == {f"{topic}-value" for topic in record_topics(TOPICS)}


def test_a_codec_writes_confluents_wire_format_with_the_registrys_ids(
    server: StandInRegistry,
) -> None:
    codec = codec_of_registry(server.url, TOPICS)
    payload = codec.encode(Query(prompt="hi"))
    assert payload[0] == 0
    written = server.schemas[int.from_bytes(payload[1:5], "big")]
    assert json.loads(written)["name"] == "Query"
    assert codec.decode(Query, payload) == Query(prompt="hi")


def test_a_schema_that_another_registered_is_looked_up_once_it_is_met(
    server: StandInRegistry,
) -> None:
    codec = codec_of_registry(server.url, TOPICS)
    schema = {
        "type": "record",
        "name": "Query",
        "namespace": "com.example",
        "fields": [{"name": "prompt", "type": "string"}],
    }
    number = server.register("other", json.dumps(schema))
    payload = b"\0" + number.to_bytes(4, "big") + b"\x04hi"
    with pytest.raises(UnknownSchema) as caught:
        codec.decode(Query, payload)
    assert codec.look_up(caught.value)
    assert codec.decode(Query, payload) == Query(prompt="hi")


def test_an_id_that_is_not_there_stays_unknown(server: StandInRegistry) -> None:
    assert RegisteredSchemas(server.url).schema_text(4711) is None


def test_a_registry_out_of_order_is_not_taken_for_an_unknown_schema(
    server: StandInRegistry,
) -> None:
    server.failing = True
    with pytest.raises(SchemaRegistryUnavailable, match="does not answer") as caught:
        RegisteredSchemas(server.url).schema_text(1)
    assert caught.value.retryable


def test_a_schema_that_the_registry_refuses_is_the_operators_to_mend(
    server: StandInRegistry,
) -> None:
    server.failing = True
    with pytest.raises(ConfigurationError, match=r"refuses the schema of test\.queries"):
        RegisteredSchemas(server.url).publish(TOPICS)


def test_a_registry_that_is_not_there_is_named(server: StandInRegistry) -> None:
    url = "http://127.0.0.1:9"
    with pytest.raises(SchemaRegistryUnavailable, match=url):
        RegisteredSchemas(url).publish(TOPICS)


def test_an_address_that_is_none_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"such as http://127\.0\.0\.1:8081"):
        RegisteredSchemas("registry")


@pytest.mark.parametrize("url", [f"http://anna:{MARKER}@127.0.0.1:1", f"ftp://anna:{MARKER}@x"])
def test_credentials_in_the_address_are_never_told(url: str) -> None:
    with pytest.raises((ConfigurationError, SchemaRegistryUnavailable)) as caught:
        RegisteredSchemas(url).schema_text(1)
    assert MARKER not in str(caught.value)
