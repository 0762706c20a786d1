"""Admission, simulated: bounded, fair, by priority, within deadlines, and calm after the endpoint said to slow down."""

from heapq import heappop, heappush
from random import Random

import pytest

from inference.admission import Admission, Ticket
from inference.errors import ConfigurationError, DeadlinePassed, QueueFull
from inference.limits import Rate, ServingLimits
from inference.request import Caller


def ticket(
    number: int, agent: str = "a/1", *, priority: int = 0, tokens: int = 10, deadline_s: float | None = None
) -> Ticket:
    return Ticket(number, Caller(agent, agent.partition("/")[0], priority=priority), tokens, deadline_s)


def started(admission: Admission, now_s: float = 0.0) -> list[int]:
    """The numbers of all that may be sent now."""
    numbers = []
    while (chosen := admission.start(now_s)) is not None:
        numbers.append(chosen.number)
    return numbers


def test_so_many_run_and_no_more() -> None:
    admission = Admission(ServingLimits(running_requests=3))
    for number in range(5):
        admission.offer(ticket(number), 0.0)
    assert started(admission) == [0, 1, 2]
    assert (admission.running, admission.waiting) == (3, 2)
    admission.finish(1, 1.0, 10, answered=True)
    assert started(admission, 1.0) == [3]


@pytest.mark.parametrize(
    ("limits", "told"),
    [
        (ServingLimits(queued_requests=3), "3 requests wait for the model.*queued_requests"),
        (ServingLimits(queued_tokens=30), "requests of 30 tokens wait"),
        (ServingLimits(agent_requests=3), "3 requests of a/1 wait"),
    ],
)
def test_the_queue_is_bounded_and_pushes_back(limits: ServingLimits, told: str) -> None:
    admission = Admission(limits)
    for number in range(3):
        admission.offer(ticket(number), 0.0)
    with pytest.raises(QueueFull, match=told) as caught:
        admission.offer(ticket(9), 0.0)
    assert caught.value.definite
    admission.withdraw(1)
    admission.offer(ticket(9), 0.0)


def test_a_full_agent_leaves_room_for_others() -> None:
    admission = Admission(ServingLimits(agent_requests=1))
    admission.offer(ticket(0), 0.0)
    admission.offer(ticket(1, "a/2"), 0.0)


def test_a_request_larger_than_the_queue_may_wait_alone() -> None:
    Admission(ServingLimits(queued_tokens=5)).offer(ticket(0, tokens=10), 0.0)


def test_a_greater_priority_goes_first() -> None:
    admission = Admission(ServingLimits())
    for number, priority in enumerate([0, 5, -1, 5]):
        admission.offer(ticket(number, priority=priority), 0.0)
    assert started(admission) == [1, 3, 0, 2]


def test_what_waits_past_its_deadline_leaves_in_time() -> None:
    admission = Admission(ServingLimits(running_requests=1))
    admission.offer(ticket(0, deadline_s=9.0), 0.0)
    assert started(admission) == [0]
    for number, deadline_s in ((1, 5.0), (2, 3.0), (3, None)):
        admission.offer(ticket(number, deadline_s=deadline_s), 0.0)
    assert admission.wait_s(1.0) == 2.0
    assert admission.expired(2.9) == []
    assert [gone.number for gone in admission.expired(5.0)] == [2, 1]
    assert admission.waiting == 1
    assert admission.wait_s(5.0) is None  # what is sent is not waited for here
    with pytest.raises(DeadlinePassed) as caught:
        admission.offer(ticket(4, deadline_s=5.0), 5.0)
    assert caught.value.definite


def test_the_rate_is_waited_for() -> None:
    admission = Admission(ServingLimits(), Rate(requests_per_minute=60, burst_s=2.0))
    for number in range(4):
        admission.offer(ticket(number), 0.0)
    assert started(admission) == [0, 1]
    assert admission.wait_s(0.0) == pytest.approx(1.0)
    assert started(admission, 1.0) == [2]


def test_limits_without_end_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="running_requests is 0"):
        ServingLimits(running_requests=0)


# --- A simulated endpoint -------------------------------------------------------------------------------------


class Endpoint:
    """Allows so many requests in each second, and answers 429 with `Retry-After` to the rest. It knows no mercy."""

    def __init__(self, per_second: int, retry_after_s: float) -> None:
        self.per_second = per_second
        self.retry_after_s = retry_after_s
        self.answered: dict[int, int] = {}
        self.refused: dict[int, int] = {}

    def ask(self, now_s: float) -> bool:
        second = int(now_s)
        good = self.answered.get(second, 0) < self.per_second
        counts = self.answered if good else self.refused
        counts[second] = counts.get(second, 0) + 1
        return good


def simulated(
    admission: Admission, endpoint: Endpoint, agents: int, calls: int, until_s: float
) -> dict[str, int]:
    """Each agent has all its calls waiting from the start; a call takes a second. How many of each were answered."""
    rng = Random(1)
    served: dict[str, int] = {}
    names: dict[int, str] = {}
    for number in range(agents * calls):
        names[number] = f"a/{number % agents}"
        admission.offer(ticket(number, names[number]), 0.0)
    events: list[tuple[float, int, bool]] = []
    now_s = 0.0
    while now_s < until_s and (admission.waiting or events):
        while (chosen := admission.start(now_s)) is not None:
            good = endpoint.ask(now_s)
            heappush(events, (now_s + (1.0 + rng.random() / 10 if good else 0.05), chosen.number, good))
        wait_s = admission.wait_s(now_s)
        times = [events[0][0]] if events else []
        times += [now_s + wait_s] if wait_s else []
        assert times, "nothing is under way and nothing may go: stuck"
        now_s = max(now_s, min(times))
        while events and events[0][0] <= now_s:
            _at, number, good = heappop(events)
            admission.finish(number, now_s, 10 if good else 0, answered=good)
            if good:
                served[names[number]] = served.get(names[number], 0) + 1
            else:
                admission.hold(now_s, endpoint.retry_after_s)
                admission.offer(ticket(number, names[number]), now_s)
    return served


def test_after_a_refusal_all_wait_and_do_not_come_back_as_a_storm() -> None:
    endpoint = Endpoint(per_second=5, retry_after_s=10.0)
    served = simulated(Admission(ServingLimits(running_requests=100)), endpoint, 50, 20, 600.0)
    bursts = [count for second, count in sorted(endpoint.refused.items())]
    assert bursts[0] >= 90  # nobody knew
    assert max(bursts[1:]) <= 50 // 2 + 25  # the window was halved, not the storm repeated
    assert sum(bursts[1:]) < sum(served.values())
    # While a hold lasts nobody goes.
    for second in endpoint.refused:
        assert all(endpoint.answered.get(later, 0) == 0 for later in range(second + 2, second + 9))


def test_with_the_rate_known_nobody_is_refused_and_the_rate_is_used() -> None:
    endpoint = Endpoint(per_second=6, retry_after_s=10.0)
    rate = Rate(requests_per_minute=300, burst_s=0.2)
    served = simulated(Admission(ServingLimits(), rate), endpoint, 50, 10, 200.0)
    assert endpoint.refused == {}
    assert sum(served.values()) == 500


def test_agents_are_answered_alike_through_it_all() -> None:
    endpoint = Endpoint(per_second=5, retry_after_s=3.0)
    served = simulated(Admission(ServingLimits(running_requests=20)), endpoint, 10, 100, 120.0)
    assert max(served.values()) - min(served.values()) <= 3


def test_ten_thousand_wait_within_bounds_and_are_all_answered() -> None:
    admission = Admission(ServingLimits(running_requests=64))
    endpoint = Endpoint(per_second=10**9, retry_after_s=1.0)
    served = simulated(admission, endpoint, 1000, 10, 1e9)
    assert set(served.values()) == {10}
    assert (admission.waiting, admission.running) == (0, 0)
