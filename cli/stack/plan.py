"""Which routers, workers and gateways a stack should have, and which must be started."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

ROUTER = "router"
WORKER = "worker"
GATEWAY = "gateway"

ENGINE = "LORELAY_ENGINE"
MODEL = "LORELAY_MODEL"
VLLM_CONFIG = "LORELAY_VLLM_CONFIG"


@dataclass(frozen=True, slots=True)
class Wishes:
    """What `up` was asked for; None leaves what is there, or the default.

    ``worker`` are LORELAY_* variables of the workers.
    """

    routers: int | None = None
    workers: int | None = None
    worker: Mapping[str, str] = field(default_factory=dict)
    gateways: int | None = None


@dataclass(frozen=True, slots=True)
class Member:
    """A process of the stack, with the LORELAY_* variables that it is started with."""

    name: str
    kind: str
    settings: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Plan:
    """``missing`` are to be started, ``present`` run already; ``notes`` say what stays as it is."""

    present: tuple[str, ...]
    missing: tuple[Member, ...]
    notes: tuple[str, ...] = ()


def instance_names(kind: str, count: int) -> tuple[str, ...]:
    """``kind``, then kind-2, kind-3, ..."""
    return tuple(kind if number == 1 else f"{kind}-{number}" for number in range(1, count + 1))


def kind_of(name: str) -> str:
    """The kind in an instance's name: "worker" of "worker-2"."""
    return name.partition("-")[0]


def plan(
    wishes: Wishes, recorded: Mapping[str, Mapping[str, str]], running: Collection[str]
) -> Plan:
    """What to start so that ``wishes`` come true and nothing that runs is touched.

    ``recorded`` are the settings of every process that was started here before, by
    name: without a wish they are all wanted again, as they were.
    """
    names = [
        *_wanted(ROUTER, wishes.routers, recorded, running),
        *_wanted(WORKER, wishes.workers, recorded, running),
        *_wanted(GATEWAY, wishes.gateways, recorded, running),
    ]
    missing = []
    notes = []
    for name in names:
        kind = kind_of(name)
        wished = wishes.worker if kind == WORKER else {}
        before = recorded.get(name, recorded.get(kind, {}))
        if name not in running:
            missing.append(Member(name, kind, _settings(kind, wished, before)))
        elif differing := {key for key in wished if before.get(key) != wished[key]}:
            found = ", ".join(f"{key}={before.get(key, '')}" for key in sorted(differing))
            notes.append(
                f"{name} runs with {found} and is left alone; `lorelay down` first to change it."
            )
    present = tuple(name for name in names if name in running)
    return Plan(present, tuple(missing), tuple(notes))


def _wanted(
    kind: str, count: int | None, recorded: Collection[str], running: Collection[str]
) -> tuple[str, ...]:
    """The names of a kind that should run; one of each kind where nothing says otherwise."""
    known = [name for name in recorded if kind_of(name) == kind]
    if count is None:
        names = set(known) or {kind}
    else:
        names = {*instance_names(kind, count), *(name for name in known if name in running)}
    return tuple(sorted(names, key=lambda name: (len(name), name)))


def _settings(kind: str, wished: Mapping[str, str], before: Mapping[str, str]) -> Mapping[str, str]:
    if kind != WORKER:
        return before
    if ENGINE in wished and wished[ENGINE] != before.get(ENGINE):
        before = {}  # the model of one engine says nothing to another
    return {ENGINE: "vllm"} | dict(before) | dict(wished)
