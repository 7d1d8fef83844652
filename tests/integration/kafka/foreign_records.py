"""Records as no Python client writes them, straight into a produce request."""

import struct

from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.protocol.produce import ProduceRequest
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.record.util import calc_crc32c

_SOME_TIME_MS = 1_790_000_000_000
#: Where a batch has its checksum, and where what it is of begins (KIP-98).
_CHECKSUM, _CHECKED = 17, 21


async def produce_with_header(kafka: str, topic: str, value: bytes, name: bytes) -> None:
    """Writes a record to the first partition, with a header of that name, in any bytes."""
    producer = AIOKafkaProducer(bootstrap_servers=kafka)
    await producer.start()
    try:
        await producer.partitions_for(topic)
        leader = producer.client.cluster.leader_for_partition(TopicPartition(topic, 0))
        request = ProduceRequest(
            required_acks=-1,
            timeout=10_000,
            topics=[(topic, [(0, _batch(value, name))])],
            transactional_id=None,
        )
        ((_, ((_, error, *_),)),) = (await producer.client.send(leader, request)).topics
        assert error == 0
    finally:
        await producer.stop()


def _batch(value: bytes, name: bytes) -> bytes:
    builder = DefaultRecordBatchBuilder(
        magic=2,
        compression_type=0,
        is_transactional=0,
        producer_id=-1,
        producer_epoch=-1,
        base_sequence=-1,
        batch_size=1 << 20,
    )
    stand_in = "Q" * len(name)
    builder.append(0, _SOME_TIME_MS, None, value, [(stand_in, b"value")])
    made = bytearray(builder.build())
    at = made.rindex(stand_in.encode())
    made[at : at + len(name)] = name
    struct.pack_into(">I", made, _CHECKSUM, calc_crc32c(bytes(made[_CHECKED:])))
    return bytes(made)
