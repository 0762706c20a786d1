"""The fair queue keeps to its theorem; broken ones do not."""

from collections.abc import Callable
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inference import fair_queue
from inference.fair_queue import FairQueue

Asked = tuple[str, str, int]
"""(role, agent, cost)"""


def drained(asked: list[Asked]) -> list[Asked]:
    """All wait from the start; the order in which they are served."""
    queue: FairQueue[Asked] = FairQueue()
    for number, item in enumerate(asked):
        queue.add(number, item[0], item[1], item, item[2])
    served = []
    while (first := queue.first()) is not None:
        queue.take(first[0])
        served.append(first[1])
    assert len(queue) == 0
    return served


def worst_gap(served: list[Asked], of: Callable[[Asked], str]) -> float:
    """The largest difference in service of two flows while both wait, over their two largest requests: at most 1."""
    flows = sorted({of(item) for item in served})
    worst = 0.0
    for one in flows:
        for other in flows:
            if one == other:
                continue
            costs = {flow: [item[2] for item in served if of(item) == flow] for flow in (one, other)}
            left = {flow: len(costs[flow]) for flow in (one, other)}
            # Over all windows: the largest fall and rise of the running difference.
            difference, lowest = 0, 0
            for item in served:
                flow = of(item)
                if flow in left:
                    difference += item[2] if flow == one else -item[2]
                    left[flow] -= 1
                    worst = max(worst, (difference - lowest) / (max(costs[one]) + max(costs[other])))
                    lowest = min(lowest, difference)
                if not all(left.values()):
                    break
    return worst


FLOWS = st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from("123"), st.integers(1, 50)), max_size=80)


@given(FLOWS)
def test_roles_and_agents_that_wait_are_served_alike(asked: list[tuple[str, str, int]]) -> None:
    served = drained([(role, f"{role}/{agent}", cost) for role, agent, cost in asked])
    assert worst_gap(served, lambda item: item[0]) <= 1
    for role in "ab":
        assert worst_gap([item for item in served if item[0] == role], lambda item: item[1]) <= 1


def test_one_chatty_agent_cannot_starve_the_others() -> None:
    asked = [("a", "a/0", 10)] * 1000 + [("a", f"a/{agent}", 10) for agent in range(1, 10) for _ in range(3)]
    served = drained(asked)
    last = max(place for place, item in enumerate(served) if item[1] != "a/0")
    assert last < 3 * 10 + 10
    by_role = drained([("a", f"a/{agent}", 10) for agent in range(100)] + [("b", "b/0", 10)] * 10)
    assert max(place for place, item in enumerate(by_role) if item[0] == "b") <= 20


def test_a_flow_served_first_come_first_would_be_caught() -> None:
    asked = [("a", "a/0", 10)] * 30 + [("a", "a/1", 10)] * 30
    assert worst_gap(asked, lambda item: item[1]) > 1


def comeback() -> int:
    """How many of ten requests of a flow that comes back from idleness are served at once, one flow always waiting."""
    queue: FairQueue[str] = FairQueue()
    for number in range(200):
        queue.add(number, "r", "busy", "busy", 10)
    queue.add(1000, "r", "idle", "idle", 10)
    for _ in range(101):
        first = queue.first()
        assert first is not None
        queue.take(first[0])
    for number in range(1001, 1011):
        queue.add(number, "r", "idle", "idle", 10)
    row = 0
    while (first := queue.first()) is not None and first[1] == "idle":
        queue.take(first[0])
        row += 1
    return row


def test_who_was_idle_has_no_claim_on_the_past(monkeypatch: pytest.MonkeyPatch) -> None:
    assert comeback() <= 2

    def without_lift(self: fair_queue._Level[str], name: str) -> None:
        self.active += 1
        self._enter(name, self.flows[name])

    monkeypatch.setattr(fair_queue._Level, "begin", without_lift)
    assert comeback() == 10  # the mutant is caught


def test_a_correction_moves_the_agent_back_or_forward() -> None:
    queue: FairQueue[str] = FairQueue()
    for number in range(10):
        queue.add(number, "r", "ab"[number % 2], "ab"[number % 2], 10)
    order = []
    for turn in range(6):
        first = queue.first()
        assert first is not None
        queue.take(first[0])
        order.append(first[1])
        if turn == 0:
            queue.correct("r", "a", 20)  # it used three times what was thought
    assert order == ["a", "b", "b", "b", "a", "b"]


def test_those_who_leave_are_forgotten_and_cost_nothing() -> None:
    queue: FairQueue[int] = FairQueue()
    rng = Random(3)
    for number in range(20_000):
        queue.add(number, "r", f"r/{number}", number, 1 + rng.randrange(5))
        if number % 2:
            queue.remove(number)
        else:
            first = queue.first()
            assert first is not None
            queue.take(first[0])
    inner = queue._roles.flows["r"].inner
    assert inner is not None
    assert len(inner.flows) < 4 * fair_queue._FORGET_ABOVE
    assert len(inner._heap) < 4 * fair_queue._FORGET_ABOVE


@given(st.integers(0, 10**6))
def test_whatever_is_added_taken_and_removed_the_queue_holds_what_it_should(seed: int) -> None:
    rng, queue, model = Random(seed), FairQueue[int](), dict[int, tuple[str, str]]()
    for number in range(200):
        act = rng.random()
        if act < 0.5:
            role, agent = rng.choice("ab"), rng.choice("12")
            queue.add(number, role, agent, number, rng.randrange(1, 9))
            model[number] = (role, agent)
        elif model and act < 0.7:
            gone = rng.choice(sorted(model))
            queue.remove(gone)
            del model[gone]
        elif model:
            first = queue.first()
            assert first is not None, f"seed {seed}"
            # Within an agent: first come, first served.
            assert first[0] == min(other for other, place in model.items() if place == model[first[0]]), seed
            queue.take(first[0])
            role, agent = model.pop(first[0])
            queue.correct(role, agent, rng.randrange(-5, 6))
        assert len(queue) == len(model), f"seed {seed}"
        assert (queue.first() is None) == (not model), f"seed {seed}"
