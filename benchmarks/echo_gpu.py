"""How full the path keeps an engine that takes no CPU, as a GPU's doesn't."""

from benchmarks.client import Client
from benchmarks.figures import Aim
from benchmarks.piece import run_piece
from benchmarks.plan import Plan
from benchmarks.queries import questions
from benchmarks.stack import ROUTER, WORKER, Stack, echo_stack, echo_variables

NAME = "echo-gpu"

CONCURRENCY = (8, 32, 64)
#: What 24 tokens take at 12 ms a token.
_SERVICE_MS = 288
_WARM_SECONDS = 2.0


def run(plan: Plan) -> None:
    """The engine alone and behind Kafka, with 8, 32 and 64 places, in each round."""
    seconds = plan.size(12, 3)
    with echo_stack(plan.settings) as stack:
        stack.start(ROUTER)
        for _ in plan.each_round(NAME):
            for places in CONCURRENCY:
                engine = {"service_ms": _SERVICE_MS, "max_num_seqs": places}
                plan.say(f"an engine of {places} places alone")
                loop = {"concurrency": places, "warm": _WARM_SECONDS, "seconds": seconds}
                alone = run_piece("echo_engine", engine | loop)["rate"]
                stack.start(WORKER, variables=stack.engine | echo_variables(**engine))
                plan.say(f"the same through Kafka, {places} and {2 * places} at a time")
                as_many = _through_kafka(stack, places, seconds)
                full = _through_kafka(stack, 2 * places, seconds)
                stack.stop(WORKER)
                plan.add(NAME, f"{places} places: engine alone", alone, "requests/s")
                plan.add(
                    NAME,
                    f"{places} places, twice as many queries under way",
                    full / alone,
                    "",
                    Aim(0.97),
                )
                plan.add(NAME, f"{places} places, as many queries under way", as_many / alone, "")


def _through_kafka(stack: Stack, concurrency: int, seconds: float) -> float:
    with Client(stack.settings, stack.settings.topics.responses) as client:
        counted, _ = client.closed_loop(questions(), concurrency, _WARM_SECONDS, seconds)
    return counted.rate
