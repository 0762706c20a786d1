"""CBBA by agents: bidders that agree with their neighbours on who does what, and nobody else.

The rules of bundles and of table I are `cbba.py`'s; here each bidder has its own row and hears by messages, that may be
lost, late or repeated.

Rules:
* At each tick a bidder settles what it heard, extends its bundle, and says its lists to its neighbours.
* It ends by itself: after `quiet` ticks in which nothing of its own changed and all that it heard was what it believes,
  it says its bundle to the referee, once, and is silent. Whatever differs wakes it, and its neighbours are told.
* `quiet` should be the diameter or more. Where messages are lost it should be larger: a bidder that hears nothing takes
  silence for agreement. Then bundles may overlap, which the referee tells.
* Times count a bidder's own ticks, so no clock is shared.

The referee takes no part: it adds up what was claimed, and compares with the optimum.

Measure: `unsettled` at each tick, 1 if what the bidder believes changed since the one before. Its mean over bidders is
the share that has not agreed yet.
"""

from typing import Any

import numpy as np

from actors.agent import Agent
from actors.context import Context
from actors.errors import ConfigurationError
from actors.message import Message
from coordination.auctions.bidder import gain_of
from coordination.auctions.cbba import NOBODY, Lists, Wants, extended, merged, released
from coordination.auctions.instance import Instance, Matrix
from coordination.auctions.optimum import optimum

MOST_TASKS = 10_000


class ConsensusBidder(Agent):
    """One bidder of CBBA; its role's agents are the bidders 0 to n-1."""

    def __init__(
        self, *, bidders: int, tasks: int, seats: int = 1, seed: int = 0, highest: int = 100, quiet: int = 20
    ) -> None:
        if min(bidders, tasks, seats, highest, quiet) < 1 or max(bidders, tasks) > MOST_TASKS:
            raise ConfigurationError(
                f"consensus bidder: bidders {bidders}, tasks {tasks}, seats {seats}, highest {highest} and quiet "
                f"{quiet} must be 1 or more, bidders and tasks {MOST_TASKS:,} at most."
            )
        self.seats = seats
        self.seed = seed
        self.highest = highest
        self.quiet = quiet
        self.lists = Lists(
            np.zeros((1, tasks), np.int64), np.full((1, tasks), NOBODY), np.zeros((1, bidders), np.int64)
        )
        self.gains: Matrix | None = None
        self.bundle: list[int] = []
        self.still = 0
        """Ticks in which nothing changed."""
        self.awake = False
        self.timer = 0
        self.unsettled = False
        """Whether what it believes changed since the last tick."""
        self.changed_at = 0.0

    async def on_start(self, context: Context) -> None:
        """Learns what tasks are worth to it, and begins."""
        tasks = self.lists.bids.shape[1]
        self.gains = np.array(
            [gain_of(self.seed, context.address, f"t{task}", self.highest) for task in range(tasks)]
        )
        self._wake(context)

    async def on_message(self, message: Message, context: Context) -> None:
        """The tick, or a neighbour's lists."""
        if message.sender == context.address:
            self._tick(context)
        else:
            self._hear(message, context)

    def _wake(self, context: Context) -> None:
        self.still = 0
        if not self.awake:
            self.awake = True
            self.timer = context.every(1)

    def _hear(self, message: Message, context: Context) -> None:
        said = _lists_of(message.data, self.lists)
        if said is None:
            return
        own, who, sender = self.lists, _number(context.address), _number(message.sender)
        self.lists = merged(own, np.array([who]), said, np.array([sender]))
        learned = not _same(self.lists, own)
        self.unsettled |= learned
        if learned or not _same(self.lists, said):
            self._wake(context)

    def _tick(self, context: Context) -> None:
        who, lists = _number(context.address), self.lists
        before = Lists(lists.bids.copy(), lists.winners.copy(), lists.times)
        bundle = released(who, self.bundle, lists.bids[0], lists.winners[0])
        assert self.gains is not None
        wants = Wants(who, self.gains, np.ones(len(self.gains), np.int64), self.seats)
        bundle = extended(wants, bundle, lists.bids[0], lists.winners[0])
        self.unsettled |= bundle != self.bundle or not _same(before, lists)
        if self.unsettled:
            self.bundle, self.still, self.changed_at = bundle, 0, context.now
        else:
            self.still += 1
        context.record("unsettled", self.unsettled)
        self.unsettled = False
        lists.times[0, who] += 1
        if self.still >= self.quiet:
            context.cancel(self.timer)
            self.awake = False
            context.send("referee", {"bundle": self.bundle, "changed_at": self.changed_at})
            return
        body = {
            "bids": lists.bids[0].tolist(),
            "winners": lists.winners[0].tolist(),
            "times": lists.times[0].tolist(),
        }
        context.broadcast_neighbours(body)


def _number(address: str) -> int:
    return int(address.partition("/")[2])


def _same(one: Lists, other: Lists) -> bool:
    return bool((one.bids == other.bids).all() and (one.winners == other.winners).all())


def _lists_of(body: Any, like: Lists) -> Lists | None:
    """The lists in a message; None for what is none, or of another market."""
    if not isinstance(body, dict):
        return None
    parts = [body.get("bids"), body.get("winners"), body.get("times")]
    shapes = [like.bids.shape[1], like.winners.shape[1], like.times.shape[1]]
    for part, size in zip(parts, shapes, strict=True):
        if not isinstance(part, list) or len(part) != size or not all(type(x) is int for x in part):
            return None
    bids, winners, times = (np.array([part], np.int64) for part in parts)
    if winners.min() < NOBODY or winners.max() >= shapes[2]:
        return None
    return Lists(bids, winners, times)


class Referee(Agent):
    """Adds up what bidders claim, and compares with the optimum."""

    def __init__(
        self,
        *,
        bidders: int,
        tasks: int,
        seats: int = 1,
        seed: int = 0,
        highest: int = 100,
        role: str = "bidder",
    ) -> None:
        self.bidders = bidders
        self.tasks = tasks
        self.seats = seats
        self.seed = seed
        self.highest = highest
        self.role = role
        self.claims: dict[str, list[int]] = {}
        self.last_change = 0.0

    async def on_message(self, message: Message, context: Context) -> None:
        """A bidder's bundle; the last one of each stands."""
        bundle, changed_at = message.data["bundle"], message.data["changed_at"]
        if not all(0 <= task < self.tasks for task in bundle):
            return  # a lie
        self.claims[message.sender] = bundle
        self.last_change = max(self.last_change, changed_at)
        if len(self.claims) == self.bidders:
            for name, value in self._found().items():
                context.result(name, value)
                context.record(name, value)

    def _found(self) -> dict[str, float]:
        gains = np.array(
            [
                [
                    gain_of(self.seed, f"{self.role}/{bidder}", f"t{task}", self.highest)
                    for task in range(self.tasks)
                ]
                for bidder in range(self.bidders)
            ]
        )
        instance = Instance(gains, np.ones_like(gains), np.full(self.bidders, self.seats), name="claims")
        holders: dict[int, list[int]] = {}
        for bidder in sorted(self.claims, key=_number):
            for task in self.claims[bidder]:
                holders.setdefault(task, []).append(_number(bidder))
        # Of a task that several claim the worst counts: the bound must hold whoever does it.
        value = sum(min(float(gains[bidder, task]) for bidder in who) for task, who in holders.items())
        best = optimum(instance).bound
        return {
            "gap": 1 - value / best,
            "rounds_to_agree": self.last_change,
            "claimed_twice": float(sum(len(who) > 1 for who in holders.values())),
            "value": value,
            "optimum": best,
        }
