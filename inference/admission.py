"""Which request is sent next to a model, and when: a bounded queue, priorities, fairness, deadlines, rate, congestion.

A pure state machine: requests are offered, withdrawn, started and finished, each with the time. `LimitedLLM` drives it
in a process, an actor can for a cluster, a simulation does in the tests.

Rules:
* The queue is bounded in requests, in tokens, and for each agent; beyond that `QueueFull`: back-pressure, at once.
* A greater priority goes first, always; among equals the fair queue decides (`inference/fair_queue.py`). So high
  priorities are for the few: a flood of them starves the rest.
* A request whose deadline passes while it waits leaves, and was definitely not sent.
* At most `running_requests` are sent and not answered. When the endpoint says to slow down, nobody goes before the time
  it named, and the window is halved; each answer opens it by the inverse of its size (additive increase, multiplicative
  decrease: D.-M. Chiu, R. Jain, Computer Networks 17, 1989). So those who waited do not come back as a storm, whether
  or not the endpoint's rate is known.
* After a hold one request goes alone, a probe (the half-open state of a circuit breaker: M. Nygard, "Release It!",
  2007). The others follow when it is answered, or is not refused within `PROBE_S`: refusals are quick, answers are not.
"""

from collections import Counter
from dataclasses import dataclass
from heapq import heappop, heappush

from inference.errors import DeadlinePassed, QueueFull
from inference.fair_queue import FairQueue
from inference.limits import Rate, ServingLimits
from inference.rate import RateLimiter
from inference.request import Caller

PROBE_S = 1.0
"""An endpoint that has not refused a request in this time has taken it."""


@dataclass(frozen=True)
class Ticket:
    """A request that asks to be sent."""

    number: int
    """Its own, given by whoever offers it."""
    caller: Caller
    tokens: int
    """The most that it can use, prompt and answer."""
    deadline_s: float | None = None
    """By the clock of all the times here."""


class Admission:
    """Decides. Times never go back."""

    def __init__(self, limits: ServingLimits, rate: Rate | None = None) -> None:
        self._limits = limits
        self._rate = RateLimiter(rate or Rate())
        self._queues: dict[int, FairQueue[Ticket]] = {}
        self._waiting: dict[int, Ticket] = {}
        self._waiting_tokens = 0
        self._by_agent: dict[str, int] = {}
        self._running: dict[int, Ticket] = {}
        self._deadlines: list[tuple[float, int]] = []
        self._window = float(limits.running_requests)
        self._held_until_s = float("-inf")
        self._probing = False
        """Held, and no request since then is known to have been taken."""
        self._probe: tuple[int, float] | None = None
        """The request that tries, and since when."""

    @property
    def waiting(self) -> int:
        """Requests in the queue."""
        return len(self._waiting)

    @property
    def running(self) -> int:
        """Requests sent and not answered."""
        return len(self._running)

    def by_role(self) -> tuple[Counter[str], Counter[str]]:
        """(waiting, running) requests of each role. Walks over all of them."""
        waiting = Counter(ticket.caller.role for ticket in self._waiting.values())
        return waiting, Counter(ticket.caller.role for ticket in self._running.values())

    def offer(self, ticket: Ticket, now_s: float) -> None:
        """A request wants to be sent. Raises `QueueFull` or `DeadlinePassed`; then it is not taken."""
        limits, agent = self._limits, ticket.caller.agent
        if ticket.deadline_s is not None and ticket.deadline_s <= now_s:
            raise DeadlinePassed("the deadline had passed before the request could wait", definite=True)
        if len(self._waiting) >= limits.queued_requests:
            raise QueueFull(
                f"{len(self._waiting):,} requests wait for the model, and no more may (queued_requests)"
            )
        if self._waiting and self._waiting_tokens + ticket.tokens > limits.queued_tokens:
            raise QueueFull(
                f"requests of {self._waiting_tokens:,} tokens wait for the model, and no more may (queued_tokens)"
            )
        if agent and self._by_agent.get(agent, 0) >= limits.agent_requests:
            raise QueueFull(
                f"{self._by_agent[agent]:,} requests of {agent} wait for the model (agent_requests)"
            )
        assert ticket.number not in self._waiting
        self._waiting[ticket.number] = ticket
        self._waiting_tokens += ticket.tokens
        self._by_agent[agent] = self._by_agent.get(agent, 0) + 1
        queue = self._queues.setdefault(ticket.caller.priority, FairQueue())
        queue.add(ticket.number, ticket.caller.role, agent, ticket, ticket.tokens)
        if ticket.deadline_s is not None:
            heappush(self._deadlines, (ticket.deadline_s, ticket.number))

    def withdraw(self, number: int) -> None:
        """A request that waits is not wanted any more."""
        ticket = self._leave(number)
        self._queues[ticket.caller.priority].remove(number)

    def expired(self, now_s: float) -> list[Ticket]:
        """The requests whose deadline passed while they waited, in the order of deadlines; they have left."""
        gone = []
        while self._deadlines and self._deadlines[0][0] <= now_s:
            _deadline, number = heappop(self._deadlines)
            ticket = self._waiting.get(number)
            if ticket is not None:
                self.withdraw(number)
                gone.append(ticket)
        return gone

    def start(self, now_s: float) -> Ticket | None:
        """The request to send now, if any may go."""
        ticket = self._next()
        if ticket is None or not self._has_place(now_s) or self._rate.wait_s(now_s, ticket.tokens) > 0:
            return None
        self._rate.take(now_s, ticket.tokens)
        self._queues[ticket.caller.priority].take(ticket.number)
        self._leave(ticket.number)
        self._running[ticket.number] = ticket
        if self._probing:
            self._probe = (ticket.number, now_s)
        return ticket

    def wait_s(self, now_s: float) -> float | None:
        """When to ask again though nothing ends before: for the rate, a hold or a deadline. None: not needed."""
        waits = []
        ticket = self._next()
        if ticket is not None and self._has_place(now_s):
            waits.append(self._rate.wait_s(now_s, ticket.tokens))
        elif ticket is not None and self._probe is not None:
            waits.append(self._probe[1] + PROBE_S - now_s)
        while self._deadlines and self._deadlines[0][1] not in self._waiting:
            heappop(self._deadlines)
        if self._deadlines:
            waits.append(self._deadlines[0][0] - now_s)
        return max(0.0, min(waits)) if waits else None

    def finish(self, number: int, now_s: float, used_tokens: int, *, answered: bool) -> None:
        """A request that was sent has ended; `answered` if the endpoint gave what it was asked for."""
        ticket = self._running.pop(number)
        self._rate.settle(now_s, ticket.tokens, used_tokens)
        queue = self._queues.get(ticket.caller.priority)
        if queue is not None:
            queue.correct(ticket.caller.role, ticket.caller.agent, used_tokens - ticket.tokens)
        if self._probe is not None and self._probe[0] == number:
            self._probe = None
            self._probing = self._probing and not answered
        if answered:
            self._window = min(float(self._limits.running_requests), self._window + 1.0 / self._window)

    def hold(self, now_s: float, seconds: float) -> None:
        """The endpoint said to slow down. Those that were under way together halve the window once."""
        if now_s >= self._held_until_s:
            self._window = max(1.0, self._window / 2)
        self._held_until_s = max(self._held_until_s, now_s + seconds)
        self._rate.hold(now_s, seconds)
        self._probing, self._probe = True, None

    def _has_place(self, now_s: float) -> bool:
        if self._probe is not None and now_s >= self._probe[1] + PROBE_S:
            self._probing, self._probe = False, None
        return self._probe is None and len(self._running) < int(self._window)

    def _next(self) -> Ticket | None:
        for priority in sorted(self._queues, reverse=True):
            first = self._queues[priority].first()
            if first is not None:
                return first[1]
        return None

    def _leave(self, number: int) -> Ticket:
        ticket = self._waiting.pop(number)
        self._waiting_tokens -= ticket.tokens
        agent = ticket.caller.agent
        self._by_agent[agent] -= 1
        if not self._by_agent[agent]:
            del self._by_agent[agent]
        return ticket
