from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from inference.scheduling.round_robin import MAX_COST, QUANTUM
from inference.scheduling.scheduler import Scheduler


@dataclass(frozen=True)
class Item:
    number: int
    priority: int = 5
    adapter: str | None = "a"
    tenant: str | None = None
    cost: float = QUANTUM


def push(scheduler: Scheduler[Item], items: Iterable[Item]) -> None:
    for item in items:
        scheduler.push(
            item,
            priority=item.priority,
            adapter=item.adapter,
            tenant=item.tenant,
            cost=item.cost,
        )


def drain(scheduler: Scheduler[Item]) -> list[Item]:
    popped = []
    while (item := scheduler.pop()) is not None:
        popped.append(item)
    return popped


@st.composite
def items(draw: st.DrawFn) -> list[Item]:
    drawn = draw(
        st.lists(
            st.tuples(
                st.integers(0, 9),
                st.sampled_from([None, "a", "b", "c"]),
                st.sampled_from([None, "t", "u"]),
                st.floats(0, 2 * MAX_COST),
            ),
            max_size=60,
        )
    )
    return [Item(number, *fields) for number, fields in enumerate(drawn)]


@given(items(), st.data())
def test_everything_comes_out_once_but_what_was_removed(
    pushed: list[Item], data: st.DataObject
) -> None:
    scheduler: Scheduler[Item] = Scheduler()
    push(scheduler, pushed)
    removed = data.draw(st.sets(st.sampled_from(pushed))) if pushed else set()
    for item in removed:
        assert scheduler.remove(item)
        assert not scheduler.remove(item)
    assert len(scheduler) == len(pushed) - len(removed)
    popped = drain(scheduler)
    assert Counter(popped) == Counter(item for item in pushed if item not in removed)
    assert len(scheduler) == 0


@given(items())
def test_a_higher_priority_goes_first_and_a_flow_keeps_its_order(pushed: list[Item]) -> None:
    scheduler: Scheduler[Item] = Scheduler()
    push(scheduler, pushed)
    popped = drain(scheduler)
    assert [item.priority for item in popped] == sorted(
        (item.priority for item in pushed), reverse=True
    )
    flows: defaultdict[tuple[object, ...], list[int]] = defaultdict(list)
    for item in popped:
        flows[item.priority, item.adapter, item.tenant].append(item.number)
    assert all(numbers == sorted(numbers) for numbers in flows.values())


@given(st.lists(st.one_of(items(), st.integers(1, 20)), max_size=12))
def test_it_never_holds_back_what_waits(acts: list[list[Item] | int]) -> None:
    scheduler: Scheduler[tuple[int, Item]] = Scheduler()
    waiting = 0
    for number, act in enumerate(acts):
        if isinstance(act, int):
            for _ in range(act):
                assert (scheduler.pop() is not None) == (waiting > 0)
                waiting = max(0, waiting - 1)
        else:
            for item in act:
                scheduler.push(
                    (number, item),
                    priority=item.priority,
                    adapter=item.adapter,
                    tenant=item.tenant,
                    cost=item.cost,
                )
            waiting += len(act)


@given(
    st.dictionaries(st.sampled_from("abcdef"), st.floats(QUANTUM / 4, MAX_COST), min_size=2),
    st.integers(1, 5),
)
def test_flows_that_always_wait_get_the_same_cost(costs: dict[str, float], rounds: int) -> None:
    """Shreedhar and Varghese's bound: no flow is ahead by more than a quantum and three items."""
    scheduler: Scheduler[Item] = Scheduler()
    number = 0
    for adapter, cost in costs.items():
        for _ in range(2 + int(rounds * max(costs.values()) / cost)):
            number += 1
            push(scheduler, [Item(number, adapter=adapter, cost=cost)])
    served: Counter[str] = Counter()
    waiting = Counter({a: 2 + int(rounds * max(costs.values()) / c) for a, c in costs.items()})
    while min(waiting.values()) > 0:
        item = scheduler.pop()
        assert item is not None and item.adapter is not None
        waiting[item.adapter] -= 1
        served[item.adapter] += item.cost  # type: ignore[assignment]
        ahead = max(served[a] for a in costs) - min(served[a] for a in costs)
        assert ahead <= QUANTUM + 3 * max(costs.values()) + 1e-6


@given(st.integers(1, 500), st.integers(0, 5))
def test_a_backlog_of_one_adapter_makes_nobody_wait(backlog: int, others: int) -> None:
    scheduler: Scheduler[Item] = Scheduler()
    push(scheduler, (Item(number) for number in range(backlog)))
    push(scheduler, (Item(1000 + n, adapter=f"other{n}") for n in range(others)))
    push(scheduler, [Item(5000, adapter="cold")])
    popped = drain(scheduler)
    assert popped.index(Item(5000, adapter="cold")) <= others + 1


@given(st.integers(1, 500))
def test_a_backlog_of_one_tenant_makes_no_other_wait(backlog: int) -> None:
    scheduler: Scheduler[Item] = Scheduler()
    push(scheduler, (Item(number, tenant="busy") for number in range(backlog)))
    push(scheduler, [Item(5000, tenant="quiet")])
    assert drain(scheduler).index(Item(5000, tenant="quiet")) <= 1


@given(st.integers(1, 50), st.floats(QUANTUM / 8, QUANTUM), st.integers(1, 5))
def test_who_asks_for_little_goes_before_a_backlog_each_time(
    served_before: int, cost: float, rounds: int
) -> None:
    scheduler: Scheduler[Item] = Scheduler()
    push(scheduler, (Item(number, cost=cost) for number in range(300)))
    for number in range(rounds):
        for _ in range(served_before):
            scheduler.pop()
        rare = Item(5000 + number, adapter="rare", cost=cost)
        push(scheduler, [rare])
        if served_before * cost > 2 * QUANTUM:
            assert scheduler.pop() == rare
        else:
            # So soon after the last one it shares the turns.
            assert rare in [scheduler.pop() for _ in range(2 + int(QUANTUM / cost))]


@given(st.floats(QUANTUM / 8, QUANTUM), st.integers(1, 4))
def test_flows_that_come_and_go_starve_no_backlog(cost: float, comers: int) -> None:
    scheduler: Scheduler[Item] = Scheduler()
    push(scheduler, (Item(number, adapter="backlog", cost=cost) for number in range(200)))
    served: Counter[str | None] = Counter()
    for number in range(100):
        # Each has one waiting whenever it has none.
        for comer in range(comers):
            if not any(i.adapter == str(comer) for i in scheduler._entries):
                push(scheduler, [Item(10_000 + 10 * number + comer, adapter=str(comer), cost=cost)])
        item = scheduler.pop()
        assert item is not None
        served[item.adapter] += 1
    assert served["backlog"] > 100 / (comers + 1) - QUANTUM / cost - 1


def test_a_costly_item_goes_at_once_and_its_flow_pays_for_it_before_the_next() -> None:
    scheduler: Scheduler[Item] = Scheduler()
    push(scheduler, (Item(n, adapter="cheap") for n in range(1, 20)))
    first = scheduler.pop()
    dear, next_dear = (Item(100 + n, adapter="dear", cost=4 * QUANTUM) for n in range(2))
    push(scheduler, [dear, next_dear])
    popped = drain(scheduler)
    assert first == Item(1, adapter="cheap")
    assert popped.index(dear) == 0
    assert 3 <= popped.index(next_dear) <= 5


def test_a_flow_in_debt_is_not_fresh_when_it_comes_again() -> None:
    scheduler: Scheduler[Item] = Scheduler()
    push(scheduler, (Item(n, adapter="backlog") for n in range(1, 20)))
    push(scheduler, [Item(100, adapter="dear", cost=8 * QUANTUM)])
    while scheduler.pop() != Item(100, adapter="dear", cost=8 * QUANTUM):
        pass
    assert scheduler.pop() is not None
    push(scheduler, [Item(101, adapter="dear")])
    assert not scheduler.is_next_fresh
    assert drain(scheduler).index(Item(101, adapter="dear")) >= 5


def test_what_is_held_is_left_out_and_the_others_go() -> None:
    scheduler = Scheduler[Item]()
    a1, a2, a3 = (Item(number, adapter="a") for number in range(3))
    b1 = Item(3, adapter="b")
    push(scheduler, [a1, a2, b1])
    scheduler.hold("a")
    push(scheduler, [a3])
    assert drain(scheduler) == [b1]
    assert len(scheduler) == 3
    scheduler.free("a")
    assert drain(scheduler) == [a1, a2, a3]


def test_what_two_hold_is_free_once_both_free_it() -> None:
    scheduler = Scheduler[Item]()
    push(scheduler, [Item(1)])
    scheduler.hold("a")
    scheduler.hold("a")
    scheduler.free("a")
    assert scheduler.pop() is None
    scheduler.free("a")
    assert scheduler.pop() == Item(1)


def test_what_is_held_waits_in_every_priority() -> None:
    scheduler = Scheduler[Item]()
    scheduler.hold("a")
    high, other, low = Item(1, 9), Item(2, 1, "b"), Item(3, 1)
    push(scheduler, [high, other, low])
    assert drain(scheduler) == [other]
    scheduler.free("a")
    assert drain(scheduler) == [high, low]


def test_what_is_held_may_be_taken_out() -> None:
    scheduler = Scheduler[Item]()
    push(scheduler, [Item(1), Item(2)])
    scheduler.hold("a")
    assert scheduler.remove(Item(1))
    scheduler.free("a")
    assert drain(scheduler) == [Item(2)]


def test_adapters_are_told_in_the_order_of_their_turns() -> None:
    scheduler = Scheduler[Item]()
    a, b, c = Item(1), Item(2, adapter="b"), Item(3, 9, "c")
    push(scheduler, [a, b, Item(4), Item(5, adapter=None), c])
    scheduler.hold("a")
    assert list(scheduler.upcoming()) == ["c", "b", "a"]
    assert drain(scheduler) == [c, b, Item(5, adapter=None)]
    assert list(scheduler.upcoming()) == ["a"]
