"""Which replica of a model a request goes to: where its prefix is cached, unless that one is much busier than others.

A replica caches the prompts that it has read, so a request is cheap where its conversation, or at least its persona
(the system message and the tools), has been. But a persona that many ask for must not be one replica's alone. So a
prefix has *homes*: the first is the least loaded replica when it is first seen; a request goes to the least loaded of
its homes; if even that is busier than the least loaded replica of all by more than the bound, that one becomes a home
too, and the oldest home beyond the limit is given up. Affinity with a loose bound is what SGLang's cache-aware router
does (L. Zheng et al., "SGLang", NeurIPS 2024, and its router's documentation); bounded loads are those of V.
Mirrokni, M. Thorup, M. Zadimoghaddam, "Consistent hashing with bounded loads", SODA 2018, here over a table in place
of a hash, so that few personas are spread evenly too.

Rules:
* Pure and deterministic. Load is what was routed and has not ended, in the units that callers count in (tokens).
* Among replicas of one load the one with fewer prefixes goes first, then the one that was added first.
* The table is bounded: the prefixes that were not asked for longest are forgotten, and find a home anew.
* What runs on a replica that dies is routed again, and never to it.
"""

from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass
from hashlib import blake2b

from inference.errors import ConfigurationError, EngineDead
from inference.request import Request, canonical_json


@dataclass(frozen=True)
class RoutingLimits:
    """How loosely a prefix is tied to its homes."""

    busier_times: float = 2.0
    """A home may have so many times the load of the least loaded replica ..."""
    busier_by: float = 8_192.0
    """... and so much more, in tokens: about what a replica works off while one would wait for a prefix to be read."""
    homes: int = 2
    """Of one prefix at a time."""
    prefixes: int = 100_000
    """Remembered, conversations included."""

    def __post_init__(self) -> None:
        if self.busier_times < 1 or self.busier_by < 0 or self.homes < 1 or self.prefixes < 1:
            raise ConfigurationError(
                f"{self}: give busier_times of 1 or more, busier_by of 0 or more, and at least one home and prefix"
            )


@dataclass(frozen=True)
class Routed:
    """A request under way."""

    replica: str
    prefix: str
    conversation: str
    cost: float


def prefix_of(request: Request) -> str:
    """What a request's prompt begins with: a digest of the leading system messages and of the tools. Empty if none."""
    leading = []
    for message in request.messages:
        if message.role != "system":
            break
        leading.append(message.text)
    if not leading and not request.tools:
        return ""
    tools = [[tool.name, tool.description, tool.parameters] for tool in request.tools]
    return blake2b(canonical_json([leading, tools]), digest_size=12).hexdigest()


class Router:
    """Routes requests over replicas that come and go."""

    def __init__(self, replicas: tuple[str, ...] = (), limits: RoutingLimits | None = None) -> None:
        self._limits = limits or RoutingLimits()
        self._loads: dict[str, float] = {}
        self._tenants: dict[str, int] = {}
        """Of each replica, the prefixes that have a home there."""
        self._draining: set[str] = set()
        self._homes: OrderedDict[str, tuple[str, ...]] = OrderedDict()
        """Of a prefix or a conversation, the latest home last; what was asked for last is last."""
        self._routed: dict[Hashable, Routed] = {}
        for replica in replicas:
            self.add(replica)

    @property
    def loads(self) -> dict[str, float]:
        """What each replica has under way."""
        return dict(self._loads)

    def add(self, replica: str) -> None:
        """A replica is there. New prefixes, and those whose homes are too busy, find their way to it."""
        if replica in self._loads:
            raise ConfigurationError(f"the replica {replica} is there already")
        self._loads[replica] = 0.0
        self._tenants[replica] = 0

    def drain(self, replica: str) -> None:
        """A replica gets no more requests; what runs on it goes on. `remove` it when its load is 0."""
        self._check(replica)
        self._draining.add(replica)
        self._evict(replica)

    def remove(self, replica: str) -> list[Hashable]:
        """A replica is gone or dead. The requests that ran on it, in the order in which they were routed: route again.

        Only what definitely did not happen, or may happen twice, may be sent again; that is for the caller to know.
        """
        self._check(replica)
        self._evict(replica)
        self._draining.discard(replica)
        del self._loads[replica], self._tenants[replica]
        lost = [request for request, routed in self._routed.items() if routed.replica == replica]
        for request in lost:
            del self._routed[request]
        return lost

    def route(self, request: Hashable, prefix: str, conversation: str, cost: float) -> str:
        """The replica for a request. Raises `EngineDead` if there is none. `cost` is what it will take, in tokens."""
        assert request not in self._routed, "a request is under way once"
        replica = self._place(prefix, conversation)
        self._loads[replica] += cost
        self._routed[request] = Routed(replica, prefix, conversation, cost)
        return replica

    def finish(self, request: Hashable) -> None:
        """A request has ended, however. One that was lost with its replica may end too."""
        routed = self._routed.pop(request, None)
        if routed is not None:
            self._loads[routed.replica] -= routed.cost
            if self._loads[routed.replica] < 1e-9:
                self._loads[routed.replica] = 0.0  # sums of fractions leave a crumb

    def _place(self, prefix: str, conversation: str) -> str:
        least = self._least(tuple(name for name in self._loads if name not in self._draining))
        if least is None:
            raise EngineDead("the model has no replica: add one", definite=True)
        # The conversation's replica has all that was said in it, the prefix's its beginning.
        keys = [f"c\x1f{conversation}"] if conversation else []
        keys += [f"p\x1f{prefix}"] if prefix else []
        for key in keys:
            home = self._least(self._homes.get(key, ()))
            if home is not None and not self._is_too_busy(home, least):
                self._settle(keys, home)
                return home
        self._settle(keys, least)
        return least

    def _is_too_busy(self, replica: str, least: str) -> bool:
        bound = self._limits.busier_times * self._loads[least] + self._limits.busier_by
        return self._loads[replica] > bound

    def _least(self, replicas: tuple[str, ...]) -> str | None:
        return min(replicas, key=lambda name: (self._loads[name], self._tenants[name]), default=None)

    def _settle(self, keys: list[str], replica: str) -> None:
        """The replica is now a home of each key."""
        for key in keys:
            homes = self._homes.pop(key, ())
            if replica not in homes:
                homes = (*homes, replica)
                self._tenants[replica] += 1
            limit = 1 if key[0] == "c" else self._limits.homes
            for given_up in homes[:-limit]:
                self._tenants[given_up] -= 1
            self._homes[key] = homes[-limit:]
        while len(self._homes) > self._limits.prefixes:
            _key, homes = self._homes.popitem(last=False)
            for replica_of_old in homes:
                self._tenants[replica_of_old] -= 1

    def _evict(self, replica: str) -> None:
        """Nobody has a home there any more."""
        for key in [key for key, homes in self._homes.items() if replica in homes]:
            homes = tuple(home for home in self._homes[key] if home != replica)
            if homes:
                self._homes[key] = homes
            else:
                del self._homes[key]
        self._tenants[replica] = 0

    def _check(self, replica: str) -> None:
        if replica not in self._loads:
            there = ", ".join(self._loads) or "none"
            raise ConfigurationError(f"there is no replica {replica}: there are {there}")
