"""`lorelay cancel`."""

import asyncio
from datetime import UTC, datetime
from typing import Annotated

import typer
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError, UnknownTopicOrPartitionError

from cli.query_client import no_topic, quieten_clients, unreachable
from schemas.json_form import to_json
from schemas.records import Cancel
from streams.kafka.settings import KafkaSettings


def cancel(
    query_ids: Annotated[
        list[str], typer.Argument(metavar="ID...", help="The ids of the queries to take back.")
    ],
    reason: Annotated[
        str | None, typer.Option("--reason", "-r", help="Why; the response says it.")
    ] = None,
) -> None:
    """Take queries back: each ends with the error `cancelled`, unless its answer is there already.

    It makes no difference whether a query waits, runs, or is sent within the next hour.

    Examples:

      lorelay cancel 018f2c4e-7a51-7c3e-b9b0-6f2f8f0d7c11

      lorelay cancel q1 q2 --reason "the user has left"
    """
    quieten_clients()
    asyncio.run(_send(KafkaSettings(), query_ids, reason))
    typer.echo(f"{len(query_ids)} cancelled.")


async def _send(settings: KafkaSettings, query_ids: list[str], reason: str | None) -> None:
    topic = settings.topics.cancels
    producer = AIOKafkaProducer(enable_idempotence=True, **settings.client_kwargs())
    try:
        await producer.start()
        for query_id in query_ids:
            record = Cancel(query_id, reason, datetime.now(UTC))
            await producer.send_and_wait(topic, to_json(record).encode(), key=query_id.encode())
    except UnknownTopicOrPartitionError as error:
        raise no_topic(settings, topic) from error
    except KafkaError as error:
        raise await unreachable(settings, error) from error
    finally:
        await producer.stop()
