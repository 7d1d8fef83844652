"""Whether a process can do its work yet."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import httpx

from cli.stack import ports
from cli.stack.http import local_client
from schemas.errors import LorelayError

_POLL_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class Ready:
    """It can; ``metrics`` is the base URL of its metrics port, if it has one."""

    metrics: str | None = None


@dataclass(frozen=True, slots=True)
class NotYet:
    """It can't, and what it waits for."""

    reason: str
    metrics: str | None = None


Probe = Callable[[], Ready | NotYet]


class EndedEarly(LorelayError):
    """A process ended before it was ready; ``name`` says which."""

    code = "process_ended"

    def __init__(self, name: str) -> None:
        super().__init__(f"{name} ended before it was ready.")
        self.name = name


class NotReadyInTime(LorelayError):
    """A process was not ready in time; ``name`` says which."""

    code = "process_not_ready"

    def __init__(self, name: str, reason: str, seconds: float) -> None:
        super().__init__(f"{name} was not ready within {seconds:.0f} s: {reason}.")
        self.name = name


def broker_probe(address: str) -> Probe:
    """Asks the broker at ``host:port``: it listens only when it answers."""

    def probe() -> Ready | NotYet:
        return Ready() if ports.answers(address) else NotYet(f"nothing answers at {address}")

    return probe


def metrics_probe(address_file: Path) -> Probe:
    """Asks GET /ready of the process that leaves its host:port in ``address_file``.

    One that is too busy to answer still waits for what it last said.
    """
    last_reason: str | None = None

    def probe() -> Ready | NotYet:
        nonlocal last_reason
        try:
            address = address_file.read_text().strip()
        except FileNotFoundError:
            return NotYet("starting")
        metrics = f"http://{address}"
        try:
            answer = local_client().get(f"{metrics}/ready")
        except httpx.HTTPError:
            return NotYet(last_reason or f"no answer at {metrics}", metrics)
        if answer.status_code == httpx.codes.OK:
            return Ready(metrics)
        last_reason = answer.text.strip() or f"status {answer.status_code}"
        return NotYet(last_reason, metrics)

    return probe


def wait_until_ready(
    probes: Mapping[str, Probe],
    alive: Callable[[str], bool],
    timeout: float,
    report: Callable[[str, Ready | NotYet], None] = lambda name, state: None,
) -> None:
    """Wait for all of ``probes``, by process name; ``report`` is given every answer.

    Raises EndedEarly as soon as one is no longer ``alive``, NotReadyInTime after ``timeout``
    seconds.
    """
    deadline = time.monotonic() + timeout
    pending = dict(probes)
    while pending:
        for name, probe in list(pending.items()):
            # Asked before the probe: a process that ends in between is seen next time.
            is_alive = alive(name)
            state = probe()
            report(name, state)
            if isinstance(state, Ready):
                del pending[name]
            elif not is_alive:
                raise EndedEarly(name)
            elif time.monotonic() > deadline:
                raise NotReadyInTime(name, state.reason, timeout)
        if pending:
            time.sleep(_POLL_SECONDS)
