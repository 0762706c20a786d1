"""Who is next: fair between roles, and within a role between agents, however much one of them asks.

Start-time fair queueing (P. Goyal, H. Vin, H. Cheng, "Start-time fair queueing", SIGCOMM 1996) on two levels, with
tokens as the service, as in the virtual token counter (Y. Sheng et al., "Fairness in serving large language models",
OSDI 2024): a flow's counter grows by the tokens that it was served, and the least is next. One that was idle begins at
the present virtual time: it has no claim on what it did not ask for. Of two flows that both wait, over any time, what
they were served differs by at most their two largest requests (SFQ, theorem 1).

Rules:
* Pure and deterministic: ties go to the flow that began to wait first.
* What a request used is not known when it is chosen: the estimate is charged, and `correct` sets it right.
* A counter that is behind the virtual time says nothing, and is forgotten.
"""

from heapq import heapify, heappop, heappush
from typing import Generic, TypeVar

Item = TypeVar("Item")
_FORGET_ABOVE = 1_024


class _Flow(Generic[Item]):
    """Those that wait under one name; on the upper level, the flows within it."""

    def __init__(self) -> None:
        self.counter = 0.0
        self.version = 0
        """Of its entry in the heap; others are out of date."""
        self.items: dict[int, tuple[Item, int]] = {}
        """(item, cost) by number, in order of arrival."""
        self.inner: _Level[Item] | None = None

    def waits(self) -> bool:
        return bool(self.inner.active if self.inner else self.items)


class _Level(Generic[Item]):
    """Flows by name, the one with the least counter first."""

    def __init__(self) -> None:
        self.flows: dict[str, _Flow[Item]] = {}
        self.active = 0
        self.virtual = 0.0
        self._furthest = 0.0
        """The greatest counter of all."""
        self._heap: list[tuple[float, int, str]] = []
        self._versions = 0
        self._forget_above = _FORGET_ABOVE

    def flow(self, name: str) -> _Flow[Item]:
        return self.flows.setdefault(name, _Flow())

    def begin(self, name: str) -> None:
        """A flow that was idle waits now."""
        flow = self.flows[name]
        flow.counter = max(flow.counter, self.virtual)
        self.active += 1
        self._enter(name, flow)

    def end(self, name: str) -> None:
        """A flow has no more that waits."""
        self.active -= 1
        self.flows[name].version = 0
        if not self.active:
            self.virtual = (
                self._furthest
            )  # a busy period ends: what was served in it says nothing about the next
        if len(self.flows) > self._forget_above:
            idle = [
                name
                for name, flow in self.flows.items()
                if flow.version == 0 and flow.counter <= self.virtual
            ]
            for forgotten in idle:
                del self.flows[forgotten]
            self._heap = [entry for entry in self._heap if self._is_current(entry)]
            heapify(self._heap)
            self._forget_above = _FORGET_ABOVE + 2 * len(
                self.flows
            )  # so that a sweep costs little for each flow

    def first(self) -> str:
        """The name of the flow that is next. There must be one."""
        while not self._is_current(self._heap[0]):
            heappop(self._heap)
        return self._heap[0][2]

    def charge(self, name: str, cost: float, *, served: bool) -> None:
        """A flow was served so much, or so much more or less than was thought."""
        flow = self.flows.get(name)
        if flow is None:
            return  # forgotten since: it was behind
        if served:
            self.virtual = max(self.virtual, flow.counter)
        flow.counter += cost
        self._furthest = max(self._furthest, flow.counter)
        if flow.version:
            self._enter(name, flow)

    def _enter(self, name: str, flow: _Flow[Item]) -> None:
        self._versions += 1
        # A flow that goes on waiting keeps its place among equals by when it was last served.
        flow.version = self._versions
        heappush(self._heap, (flow.counter, flow.version, name))

    def _is_current(self, entry: tuple[float, int, str]) -> bool:
        flow = self.flows.get(entry[2])
        return flow is not None and flow.version == entry[1]


class FairQueue(Generic[Item]):
    """Items of agents of roles. Each has a number of its own, given by whoever adds it."""

    def __init__(self) -> None:
        self._roles: _Level[Item] = _Level()
        self._places: dict[int, tuple[str, str]] = {}

    def __len__(self) -> int:
        return len(self._places)

    def add(self, number: int, role: str, agent: str, item: Item, cost: int) -> None:
        """An item waits. `cost` is what serving it takes, in tokens."""
        assert number not in self._places
        self._places[number] = (role, agent)
        outer = self._roles.flow(role)
        if outer.inner is None:
            outer.inner = _Level()
        inner = outer.inner.flow(agent)
        idle, agent_idle = not outer.inner.active, not inner.items
        inner.items[number] = (item, cost)
        if agent_idle:
            outer.inner.begin(agent)
        if idle:
            self._roles.begin(role)

    def first(self) -> tuple[int, Item, int] | None:
        """(number, item, cost) of the next; None if nothing waits. It goes on waiting."""
        if not self._places:
            return None
        inner = self._roles.flows[self._roles.first()].inner
        assert inner is not None
        items = inner.flows[inner.first()].items
        number = next(iter(items))
        return (number, *items[number])

    def take(self, number: int) -> None:
        """The item is served: it leaves, and its agent and role are charged."""
        role, agent = self._places[number]
        inner = self._roles.flows[role].inner
        assert inner is not None
        cost = inner.flows[agent].items[number][1]
        inner.charge(agent, cost, served=True)
        self._roles.charge(role, cost, served=True)
        self.remove(number)

    def remove(self, number: int) -> None:
        """The item leaves without being served."""
        role, agent = self._places.pop(number)
        inner = self._roles.flows[role].inner
        assert inner is not None
        items = inner.flows[agent].items
        del items[number]
        if not items:
            inner.end(agent)
            if not inner.active:
                self._roles.end(role)

    def correct(self, role: str, agent: str, difference: int) -> None:
        """An item that was served took so much more (or less) than its cost."""
        outer = self._roles.flows.get(role)
        if outer is not None and outer.inner is not None:
            outer.inner.charge(agent, difference, served=False)
            self._roles.charge(role, difference, served=False)
