from collections.abc import Mapping

import pytest

from cli.stack.plan import ENGINE, MODEL, Plan, Wishes, instance_names, plan

VLLM = {ENGINE: "vllm", MODEL: "/models/base"}
ECHO = {ENGINE: "echo"}
RECORDED: Mapping[str, Mapping[str, str]] = {
    "router": {},
    "worker": VLLM,
    "worker-2": VLLM,
    "gateway": {},
}


def started(planned: Plan) -> dict[str, Mapping[str, str]]:
    return {member.name: member.settings for member in planned.missing}


def test_names_count_from_two() -> None:
    assert instance_names("worker", 3) == ("worker", "worker-2", "worker-3")
    assert instance_names("worker", 0) == ()


def test_a_new_stack_has_a_router_a_vllm_worker_and_a_gateway() -> None:
    expected = {"router": {}, "worker": {ENGINE: "vllm"}, "gateway": {}}
    assert started(plan(Wishes(), {}, ())) == expected


def test_what_runs_is_left_alone() -> None:
    planned = plan(Wishes(), RECORDED, RECORDED)
    assert planned == Plan(("router", "worker", "worker-2", "gateway"), ())


def test_what_has_ended_is_started_again_as_it_was() -> None:
    planned = plan(Wishes(), RECORDED, {"router", "worker", "gateway"})
    assert started(planned) == {"worker-2": VLLM}


def test_more_workers_take_the_settings_of_the_first() -> None:
    planned = plan(Wishes(workers=3), RECORDED, {"router", "worker", "gateway"})
    assert started(planned) == {"worker-2": VLLM, "worker-3": VLLM}


def test_fewer_workers_stop_none_but_start_none_either() -> None:
    assert plan(Wishes(workers=1), RECORDED, RECORDED).present == tuple(RECORDED)
    assert started(plan(Wishes(workers=1), RECORDED, {"router", "worker", "gateway"})) == {}


def test_no_worker_at_all_can_be_wished_for() -> None:
    assert started(plan(Wishes(workers=0), {}, ())) == {"router": {}, "gateway": {}}


def test_there_may_be_several_gateways_or_none() -> None:
    none = plan(Wishes(gateways=0), {}, ())
    assert set(started(none)) == {"router", "worker"}
    several = plan(Wishes(gateways=2), RECORDED, RECORDED)
    assert started(several) == {"gateway-2": {}}


def test_another_engine_does_not_inherit_the_model() -> None:
    assert started(plan(Wishes(worker=ECHO), RECORDED, {"router", "worker-2", "gateway"})) == {
        "worker": ECHO
    }


def test_another_model_keeps_the_engine() -> None:
    planned = plan(Wishes(worker={MODEL: "/other"}), RECORDED, {"router", "worker-2", "gateway"})
    assert started(planned) == {"worker": {ENGINE: "vllm", MODEL: "/other"}}


def test_a_wish_that_a_running_worker_does_not_fulfil_is_said_and_changes_nothing() -> None:
    planned = plan(Wishes(worker=ECHO), RECORDED, RECORDED)
    assert planned.missing == ()
    assert len(planned.notes) == 2
    assert planned.notes[0].startswith("worker runs with LORELAY_ENGINE=vllm")


@pytest.mark.parametrize("wishes", [Wishes(worker=VLLM), Wishes(worker={ENGINE: "vllm"})])
def test_a_wish_that_is_fulfilled_is_not_worth_a_word(wishes: Wishes) -> None:
    assert plan(wishes, RECORDED, RECORDED).notes == ()


def test_ten_workers_stay_in_order() -> None:
    names = [
        member.name for member in plan(Wishes(routers=0, workers=11, gateways=0), {}, ()).missing
    ]
    assert names == list(instance_names("worker", 11))
