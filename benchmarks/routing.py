"""Routed queries a second, over what the encoder can do and over Kafka's part without work.

Every query is encoded, here and there: a few hundred texts come again and again, so the router's
cache of encodings is off.
"""

from benchmarks.adapters import stand_ins
from benchmarks.client import Client
from benchmarks.figures import Aim
from benchmarks.piece import run_piece
from benchmarks.plan import Plan
from benchmarks.queries import questions
from benchmarks.stack import PARTITIONS, ROUTER, Stack, running_stack
from streams.kafka.settings import KafkaSettings
from streams.router.settings import RouterSettings

NAME = "routing"

_DEFAULTS = RouterSettings.model_fields
_COPIES = "benchmark.copies"


def run(plan: Plan) -> None:
    """The encoder, raw aiokafka and a router, one after the other in each round."""
    records = plan.size(20_000, 2_000)
    with running_stack(plan.settings) as stack:
        folders = stand_ins(stack.folder / "adapters")
        stack.register(folders)
        stack.create_topic(_COPIES, PARTITIONS)
        for number in plan.each_round(NAME):
            plan.say("the encoder alone")
            encoder = run_piece("encoder", _encoder(plan, [str(folder) for folder in folders]))
            with Client(stack.settings, stack.settings.topics.requests) as client:
                routed = _routed(plan, stack, client, records)
            plan.say("aiokafka alone, over the same records")
            raw = run_piece("raw_kafka", _raw(stack.settings, number, records))["rate"]
            plan.add(NAME, "encoder alone, batched", encoder["encode"]["rate"], "queries/s")
            plan.add(NAME, "encoder and selection alone", encoder["select"]["rate"], "queries/s")
            plan.add(NAME, "aiokafka consume-produce alone", raw, "records/s")
            plan.add(NAME, "router", routed, "queries/s")
            plan.add(NAME, "router / encoder", routed / encoder["encode"]["rate"], "", Aim(0.6))
            plan.add(NAME, "router / aiokafka", routed / raw, "")


def _routed(plan: Plan, stack: Stack, client: Client, records: int) -> float:
    plan.say(f"the router, with {records:,} queries piled up")
    stack.start(ROUTER)
    warm = records // 10
    client.pile_up(questions(), warm)
    client.count(warm)
    client.pile_up(questions(), records)
    rate = client.count(records).rate
    stack.stop(ROUTER)
    return rate


def _encoder(plan: Plan, folders: list[str]) -> dict[str, object]:
    return {
        "encoder": plan.setting("encoder", _DEFAULTS["encoder"].default),
        "threads": int(plan.setting("encoder_threads", _DEFAULTS["encoder_threads"].default)),
        "batch": int(plan.setting("router_batch", _DEFAULTS["router_batch"].default)),
        "count": 20,
        "seconds": plan.size(10, 2),
        "adapters": folders,
    }


def _raw(settings: KafkaSettings, number: int, records: int) -> dict[str, object]:
    return {
        "kafka": settings.kafka,
        "source": settings.topics.queries,
        "target": _COPIES,
        "group": f"benchmark-raw-{number}",
        "records": records,
    }
