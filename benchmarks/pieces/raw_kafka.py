"""Consume and produce by aiokafka alone: transactions as its documentation has them, no work.

One consumer over all partitions, one transactional producer, each batch of records copied to
another topic in one transaction with its offsets.
"""

import asyncio
import json
import logging
import sys
from time import perf_counter
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

_MAX_BATCH = 1024
_BATCH_MS = 200
_PATIENCE_SECONDS = 60.0


async def copy(kafka: str, source: str, target: str, group: str, records: int) -> dict[str, Any]:
    """Records a second from the first commit to the last."""
    consumer = AIOKafkaConsumer(
        source,
        bootstrap_servers=kafka,
        group_id=group,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        isolation_level="read_committed",
    )
    producer = AIOKafkaProducer(bootstrap_servers=kafka, transactional_id=group)
    await producer.start()
    await consumer.start()
    done = first = 0
    began = last = 0.0
    try:
        async with asyncio.timeout(None) as patience:
            while done < records:
                patience.reschedule(asyncio.get_running_loop().time() + _PATIENCE_SECONDS)
                fetched = await consumer.getmany(timeout_ms=_BATCH_MS, max_records=_MAX_BATCH)
                if not fetched:
                    continue
                offsets = {place: batch[-1].offset + 1 for place, batch in fetched.items()}
                async with producer.transaction():
                    for batch in fetched.values():
                        for record in batch:
                            await producer.send(target, record.value, record.key)
                    await producer.send_offsets_to_transaction(offsets, group)
                done += sum(map(len, fetched.values()))
                last = perf_counter()
                if not first:
                    began, first = last, done
    finally:
        await consumer.stop()
        await producer.stop()
    return {"rate": (done - first) / (last - began)}


if __name__ == "__main__":
    # It builds a debug line per record unless its level forbids it.
    logging.getLogger("aiokafka").setLevel(logging.WARNING)
    print(json.dumps(asyncio.run(copy(**json.loads(sys.argv[1])))))
