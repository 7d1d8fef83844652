"""What HTTP adds to asking over the topics, and how many streams a gateway holds."""

from collections.abc import Sequence
from pathlib import Path
from statistics import median

from benchmarks.figures import Aim, percentile
from benchmarks.piece import run_piece
from benchmarks.plan import Plan
from benchmarks.queries import texts
from benchmarks.stack import ROUTER, WORKER, Stack, echo_stack, echo_variables

NAME = "gateway"

GATEWAY = "gateway"
_RATE = 10.0
_STREAMS = 2000
#: An answer takes so long that all streams are open before the first one ends.
_OPENED_A_SECOND = 100.0
_TEXTS = 400


def run(plan: Plan) -> None:
    """A trickle that takes turns between the two ways, whole and streamed; then many streams."""
    with echo_stack(plan.settings) as stack:
        stack.start(ROUTER)
        url = _start_gateway(stack)
        for number in plan.each_round(NAME):
            _compare(plan, stack, url, number)
            _hold(plan, stack, url)


def _start_gateway(stack: Stack) -> str:
    file: Path = stack.folder / "gateway.api"
    own = {"LORELAY_GATEWAY_PORT": "0", "LORELAY_GATEWAY_ADDRESS_FILE": str(file)}
    stack.start(GATEWAY, variables=own)
    return f"http://{file.read_text().strip()}"


def _compare(plan: Plan, stack: Stack, url: str, number: int) -> None:
    stack.start(WORKER, variables=stack.engine | echo_variables(service_ms=50))
    records = plan.size(600, 60)
    asked = {
        "url": url,
        "kafka": stack.settings.kafka,
        "texts": texts(_TEXTS),
        "rate": _RATE,
        "seed": number,
    }
    run_piece("gateway_trickle", asked | {"records": 40, "stream": True})
    plan.say(f"a trickle of {_RATE:g}/s, whole answers")
    whole = run_piece("gateway_trickle", asked | {"records": records, "stream": False})
    ends = {way: [end for _, end in waited] for way, waited in whole.items()}
    _add(plan, "whole answer", ends["gateway"], ends["topic"], None)
    plan.say(f"a trickle of {_RATE:g}/s, streams")
    streamed = run_piece("gateway_trickle", asked | {"records": records, "stream": True})
    firsts = {way: [first for first, _ in waited] for way, waited in streamed.items()}
    _add(plan, "first chunk", firsts["gateway"], firsts["topic"], Aim(20, at_most=True))
    stack.stop(WORKER)


def _add(
    plan: Plan, what: str, gateway: Sequence[float], topic: Sequence[float], aim: Aim | None
) -> None:
    for name, share in (("p50", 0.5), ("p99", 0.99)):
        through, past = percentile(gateway, share), percentile(topic, share)
        plan.add(NAME, f"{what} through the gateway, {name}", through, "ms")
        plan.add(NAME, f"{what} from the topic, {name}", past, "ms")
    added = median(gateway) - median(topic)
    plan.add(NAME, f"{what}: added by the gateway, p50", added, "ms", aim)


def _hold(plan: Plan, stack: Stack, url: str) -> None:
    streams = plan.size(_STREAMS, 50)
    service_ms = 1000 * streams / _OPENED_A_SECOND + plan.size(20_000, 1_000)
    engine = {"service_ms": service_ms, "max_num_seqs": streams}
    stack.start(WORKER, variables=stack.engine | echo_variables(**engine))
    plan.say(f"{streams:,} streams, opened {_OPENED_A_SECOND:g} a second")
    asked = {"url": url, "streams": streams, "opened_a_second": _OPENED_A_SECOND}
    found = run_piece("gateway_streams", asked)
    stack.stop(WORKER)
    plan.add(NAME, "streams open at a time", found["held"], "", Aim(streams))
    plan.add(NAME, "of them ended whole", found["ended"], "", Aim(streams))
