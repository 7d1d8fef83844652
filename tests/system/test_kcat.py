"""kcat, which knows nothing of us, asks in JSON and reads the answer in Avro."""

import json
import uuid
from io import BytesIO

import fastavro

from tests.e2e.running import Stack
from tests.system.programs import ROOT, output, program

SCHEMA = fastavro.schema.load_schema(ROOT / "schemas" / "avro" / "Response.avsc")


def test_json_goes_in_and_avro_comes_out(stack: Stack) -> None:
    kcat, query_id = program("kcat"), uuid.uuid4().hex
    query = json.dumps({"id": query_id, "prompt": "Was ist Notwehr?", "adapter": "base"})
    output(kcat, "-P", "-b", stack.kafka, "-t", "lorelay.queries", given=query)

    reading = (kcat, "-C", "-b", stack.kafka, "-t", "lorelay.responses", "-o", "beginning", "-e")
    records: dict[str, bytes] = {}
    while query_id not in records:
        records |= parsed(output(*reading, "-q", "-f", "%k %S\n%s"))
    # Two bytes that say what it is, eight of the schema's fingerprint, then the record.
    value = records[query_id]
    assert value[:2] == b"\xc3\x01"
    response = fastavro.schemaless_reader(BytesIO(value[10:]), SCHEMA)
    assert isinstance(response, dict)
    assert response["query_id"] == query_id
    assert response["status"] == "ok"
    assert response["origin"]["topic"] == "lorelay.queries"


def parsed(text: bytes) -> dict[str, bytes]:
    """Records by key; each is a line of its key and its length, and then so many bytes."""
    records = {}
    while text:
        head, _, rest = text.partition(b"\n")
        key, length = head.decode().rsplit(" ", 1)
        records[key], text = rest[: int(length)], rest[int(length) :]
    return records
