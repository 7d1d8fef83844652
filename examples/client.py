"""A whole client in 15 lines: Kafka and Avro, and nothing of Lorelay's but one schema file.

    LORELAY_KAFKA=127.0.0.1:9092 python examples/client.py "Woran erkennt man einen Schlaganfall?"

A query may be plain JSON; schemas/avro/Query.avsc describes its fields. A response is Avro in
single-object encoding: 2 bytes that say so and 8 of the schema's fingerprint, then the record.
The consumer group goes on where it stopped, so no response is missed between two runs.
"""

import io
import json
import os
import sys
import uuid
from pathlib import Path

import fastavro
from confluent_kafka import Consumer, Producer

kafka = {"bootstrap.servers": os.environ["LORELAY_KAFKA"]}
schema = fastavro.schema.load_schema(Path(__file__).parents[1] / "schemas/avro/Response.avsc")

query = {"id": str(uuid.uuid4()), "prompt": sys.argv[1]}
producer = Producer(kafka | {"enable.idempotence": True})
producer.produce("lorelay.queries", json.dumps(query), key=query["id"])
producer.flush()

reading = {"group.id": "example", "auto.offset.reset": "earliest"}
consumer = Consumer(kafka | reading | {"isolation.level": "read_committed"})
consumer.subscribe(["lorelay.responses"])
for message in iter(lambda: consumer.poll(30), None):
    if message.key() == query["id"].encode():
        response = fastavro.schemaless_reader(io.BytesIO(message.value()[10:]), schema)
        print(response["adapter"], response["timing"]["total_ms"], "ms:", response["text"])
        break
consumer.close()
