"""Replicas of a model with prefix caches, simulated: what a routing policy does to hits, throughput and waiting.

Virtual time, one event queue, no engine: figures compare policies under the same stated costs and predict no machine.

The model of a replica (continuous batching with a prefix cache, as vLLM's):
* It holds at most `slots` requests; others wait, first come first served.
* Prompt tokens that are not cached are read one request after another at `read_tokens_s`; the answer then takes
  `answer_tokens * token_s`, beside all others.
* The cache holds `cache_tokens`: of each persona what was read of its prompt, the persona unused for longest is evicted
  whole, and the beginning that all personas share is always in. What is being read counts as cached at once.
"""

from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from heapq import heappop, heappush
from random import Random
from typing import Protocol

from inference.router import Router


@dataclass(frozen=True)
class Costs:
    """Of one replica, and of the prompts of a trace."""

    slots: int = 64
    read_tokens_s: float = 8_000.0
    token_s: float = 0.02
    shared_tokens: int = 128
    persona_tokens: int = 1_400
    question_tokens: int = 48
    answer_tokens: int = 64

    @property
    def prompt_tokens(self) -> int:
        """Of one request."""
        return self.shared_tokens + self.persona_tokens + self.question_tokens


class Policy(Protocol):
    """Chooses replicas."""

    def choose(self, request: int, persona: int) -> str:
        """The replica for a request."""
        ...

    def ended(self, request: int) -> None:
        """A request has been answered."""
        ...


class Sticky:
    """The router itself."""

    def __init__(self, router: Router, cost: float) -> None:
        self.router = router
        self._cost = cost

    def choose(self, request: int, persona: int) -> str:
        """Where the persona is at home, within the bound."""
        return self.router.route(request, str(persona), "", self._cost)

    def ended(self, request: int) -> None:
        """Its load is gone."""
        self.router.finish(request)


class LeastLoaded:
    """The replica with the fewest requests under way; of several the first."""

    def __init__(self, replicas: Sequence[str]) -> None:
        self._counts = dict.fromkeys(replicas, 0)
        self._places: dict[int, str] = {}

    def choose(self, request: int, _persona: int) -> str:
        """The one with the fewest."""
        self._places[request] = min(self._counts, key=self._counts.__getitem__)
        self._counts[self._places[request]] += 1
        return self._places[request]

    def ended(self, request: int) -> None:
        """One fewer."""
        self._counts[self._places.pop(request)] -= 1


class Drawn:
    """Replicas by a function of the request's number: round robin, or drawn at random."""

    def __init__(self, replicas: Sequence[str], draw: Callable[[int], int]) -> None:
        self._replicas = replicas
        self._draw = draw

    def choose(self, request: int, _persona: int) -> str:
        """The one that is drawn."""
        return self._replicas[self._draw(request) % len(self._replicas)]

    def ended(self, request: int) -> None:
        """Nothing is remembered."""


POLICIES = ("sticky", "round_robin", "random", "least_loaded")


def policy_named(name: str, replicas: Sequence[str], costs: Costs, seed: int) -> Policy:
    """One of `POLICIES`."""
    if name == "sticky":
        return Sticky(Router(tuple(replicas)), costs.prompt_tokens + costs.answer_tokens)
    if name == "round_robin":
        return Drawn(replicas, lambda request: request)
    if name == "random":
        rng = Random(seed)
        return Drawn(replicas, lambda _request: rng.randrange(len(replicas)))
    return LeastLoaded(replicas)


@dataclass
class _Replica:
    """One replica as it goes."""

    cache: "OrderedDict[int, int]" = field(default_factory=OrderedDict)
    """Tokens cached of each persona, beyond what all share; used last is last."""
    cached_tokens: int = 0
    reader_free_s: float = 0.0
    running: set[int] = field(default_factory=set)
    waiting: "deque[int]" = field(default_factory=deque)


@dataclass(frozen=True)
class Result:
    """What a policy did with a trace."""

    hit_rate: float
    """Of the tokens of all prompts, those that were cached."""
    requests_per_second: float
    """In virtual time."""
    p99_s: float
    """From a request's arrival to its answer's end."""
    routed: dict[str, int]
    """Requests answered by each replica."""


class Simulation:
    """Clients that each have one request under way, until the trace is done."""

    def __init__(self, replicas: Sequence[str], policy: Policy, costs: Costs, cache_tokens: int) -> None:
        self.replicas = {name: _Replica() for name in replicas}
        self.policy = policy
        self.now_s = 0.0
        self._costs = costs
        self._cache_tokens = cache_tokens
        self._trace: Sequence[int] = ()
        self._places: dict[int, str] = {}
        self._arrived: dict[int, float] = {}
        self._events: list[tuple[float, int, str]] = []
        self._latencies: list[float] = []
        self._hits = 0
        self._read = 0
        self._answered: dict[str, int] = {}

    def run(
        self,
        trace: Sequence[int],
        clients: int,
        between: Callable[["Simulation", int], None] = lambda _simulation, _answered: None,
    ) -> Result:
        """Answers a trace of personas. `between` is called after each answer: there replicas come and go."""
        self._trace = trace
        for request in range(min(clients, len(trace))):
            self.send(request)
        started = min(clients, len(trace))
        while self._events:
            self.now_s, request, name = heappop(self._events)
            if self._places.get(request) != name or name not in self.replicas:
                continue  # it was lost with its replica
            self._end(request, name)
            if started < len(trace):
                self.send(started)
                started += 1
            between(self, len(self._latencies))
        latencies = sorted(self._latencies)
        return Result(
            self._hits / (self._hits + self._read),
            len(latencies) / self.now_s,
            latencies[int(0.99 * (len(latencies) - 1))],
            dict(self._answered),
        )

    def send(self, request: int) -> None:
        """A request arrives, or is sent again."""
        self._arrived.setdefault(request, self.now_s)
        name = self.policy.choose(request, self._trace[request])
        self._places[request] = name
        self.replicas[name].waiting.append(request)
        self._start(name)

    def add(self, name: str) -> None:
        """A replica is there, with an empty cache."""
        self.replicas[name] = _Replica()

    def kill(self, name: str) -> None:
        """A replica is gone, with its cache and all that it held."""
        del self.replicas[name]

    def _start(self, name: str) -> None:
        replica, costs = self.replicas[name], self._costs
        while replica.waiting and len(replica.running) < costs.slots:
            request = replica.waiting.popleft()
            replica.running.add(request)
            read = costs.prompt_tokens - self._cached(replica, self._trace[request])
            self._hits += costs.prompt_tokens - read
            self._read += read
            replica.reader_free_s = max(self.now_s, replica.reader_free_s) + read / costs.read_tokens_s
            ends_s = replica.reader_free_s + costs.answer_tokens * costs.token_s
            heappush(self._events, (ends_s, request, name))

    def _cached(self, replica: _Replica, persona: int) -> int:
        """Tokens of a prompt that are in the cache; afterwards its persona is."""
        costs = self._costs
        shared = costs.shared_tokens if replica.reader_free_s else 0
        held = replica.cache.pop(persona, 0)
        replica.cache[persona] = costs.persona_tokens
        replica.cached_tokens += costs.persona_tokens - held
        while replica.cached_tokens > self._cache_tokens and len(replica.cache) > 1:
            replica.cached_tokens -= replica.cache.popitem(last=False)[1]
        return shared + held

    def _end(self, request: int, name: str) -> None:
        del self._places[request]
        self._latencies.append(self.now_s - self._arrived.pop(request))
        self._answered[name] = self._answered.get(name, 0) + 1
        self.replicas[name].running.discard(request)
        self.policy.ended(request)
        self._start(name)
