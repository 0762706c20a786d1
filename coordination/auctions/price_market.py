"""The epsilon auction by agents: buyers bid, sellers keep prices, and nobody sees the whole market.

Bertsekas and Castanon, "Parallel synchronous and asynchronous implementations of the auction algorithm", Parallel
Computing 17 (1991): a buyer may bid on prices that are out of date. They only rise, so its second best is worth no more
than it believes, and a bid that is still the highest when it arrives keeps eps-complementary slackness.

Rules:
* Task j is sold by `seller/(j mod sellers)`. A bid at least eps above the price is taken and its predecessor told;
  another is refused with the price. Amounts are integers: gains times `scale`, with eps = 1, which is 1/scale of gain.
* A buyer knows the prices that it was told, believes all others to be 0, keeps `width` tasks in view as in
  `epsilon.py`, and leaves the market when nothing is worth its price. Its gains are made when they are asked for
  (`rows.py`), so a market of n buyers and n tasks is held in memory that grows with n.
* The swarm is quiet when every buyer holds a task or has left. Gains are within n/scale of the greatest; sellers'
  prices prove a bound (`proved`).
* Each message must arrive once: this market is for transports that see to it, as the swarm's does. Where an experiment
  loses messages use the task market, whose awards are leases.

Costs: two or three messages a bid.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from actors.agent import Agent
from actors.context import Context
from actors.errors import ConfigurationError
from actors.message import Message, Part
from coordination.auctions.rows import Hashed, Rows

NOBODY = -1
_ACCEPTED, _REFUSED, _OUTBID = 0, 1, 2
_NEVER = np.iinfo(np.int64).min // 2
_BLOCK = 1 << 21


class Seller(Agent):
    """Keeps price and holder of each of its tasks."""

    def __init__(self, *, sellers: int, tasks: int) -> None:
        if not 1 <= sellers <= tasks:
            raise ConfigurationError(
                f"seller: {sellers} sellers of {tasks} tasks. Give 1 seller to a task at most."
            )
        self.sellers = sellers
        count = -(-tasks // sellers)
        self.prices = np.zeros(count, np.int64)
        self.holders = np.full(count, NOBODY)

    async def on_message(self, message: Message, context: Context) -> None:
        """A bid [task, amount], or the question for prices and holders."""
        bid = message.data
        if bid is None:
            parts = (Part("raw", self.prices.tobytes()), Part("raw", self.holders.tobytes()))
            context.reply(parts)
            return
        task, amount = bid
        place = task // self.sellers
        price = int(self.prices[place])
        if amount <= price:
            context.reply([_REFUSED, task, price])
            return
        role, _, number = message.sender.partition("/")
        before = int(self.holders[place])
        self.prices[place], self.holders[place] = amount, int(number)
        context.reply([_ACCEPTED, task, amount])
        if before != NOBODY:
            context.send(f"{role}/{before}", [_OUTBID, task, amount])


class Buyer(Agent):
    """Wants one task."""

    def __init__(
        self, *, tasks: int, sellers: int, scale: int, highest: int = 100, seed: int = 0, width: int = 32
    ) -> None:
        if min(tasks, sellers, scale, highest) < 1 or width < 2:
            raise ConfigurationError(
                f"buyer: tasks {tasks}, sellers {sellers}, scale {scale} and highest {highest} must be 1 or more, "
                f"width {width} 2 or more."
            )
        self.rows = Hashed(tasks, highest, seed)
        self.sellers = sellers
        self.scale = scale
        self.width = min(width, tasks)
        self.known: dict[int, int] = {}
        """Prices that it was told."""
        self.view: NDArray[np.int64] = np.zeros(0, np.int64)
        self.net: NDArray[np.int64] = np.zeros(0, np.int64)
        """Of the tasks in view: gain less known price."""
        self.beyond = 0
        """The best net out of view."""
        self.holds = NOBODY
        self.bids = 0

    async def on_message(self, message: Message, context: Context) -> None:
        """The beginning, or a seller's word."""
        if message.data is not None:
            how, task, price = message.data
            if how == _ACCEPTED:
                self.holds = task
                return
            if how == _OUTBID and self.holds != task:
                return
            self.holds = NOBODY
            self._learn(task, price)
        self._bid(context)

    def _learn(self, task: int, price: int) -> None:
        place = np.flatnonzero(self.view == task)
        if len(place):
            self.net[place[0]] -= price - self.known.get(task, 0)
        self.known[task] = price

    def _bid(self, context: Context) -> None:
        place, best, second = self._best_two(int(context.address.partition("/")[2]))
        if best <= 0:
            return  # it leaves: nothing is worth its price
        task = int(self.view[place])
        price = self.known.get(task, 0)
        # Not above what the task is worth: the way out is worth 0.
        amount = price + best - max(second, 0) + 1
        self.bids += 1
        context.send(f"seller/{task % self.sellers}", [task, amount])

    def _best_two(self, own: int) -> tuple[int, int, int]:
        if len(self.view) == 0 or _second(self.net)[2] < self.beyond:
            self._look(own)
        return _second(self.net)

    def _look(self, own: int) -> None:
        """Chooses anew what it keeps in view."""
        net = self.rows.of(np.array([own]))[0] * self.scale
        if self.known:
            told = np.fromiter(self.known, np.int64, len(self.known))
            net[told] -= np.fromiter(self.known.values(), np.int64, len(self.known))
        if self.width >= len(net):
            self.view, self.net, self.beyond = np.arange(len(net)), net, _NEVER
            return
        first = len(net) - self.width - 1
        order = np.argpartition(net, first)[first:]
        self.view, self.net, self.beyond = order[1:], net[order[1:]], int(net[order[0]])


def _second(net: NDArray[np.int64]) -> tuple[int, int, int]:
    """The place of the greatest, it, and the second."""
    place = int(net.argmax())
    best = int(net[place])
    if len(net) == 1:
        return place, best, _NEVER
    net[place] = _NEVER
    second = int(net.max())
    net[place] = best
    return place, best, second


def state_of(parts: tuple[Part, ...]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Prices and holders in a seller's answer."""
    return np.frombuffer(parts[0].value, np.int64), np.frombuffer(parts[1].value, np.int64)


def joined(answers: list[tuple[NDArray[Any], NDArray[Any]]], tasks: int) -> tuple[NDArray[Any], NDArray[Any]]:
    """(tasks,) prices and holders, from all sellers in order."""
    prices = np.stack([prices for prices, _ in answers]).T.ravel()
    holders = np.stack([holders for _, holders in answers]).T.ravel()
    return prices[:tasks], holders[:tasks]


def proved(rows: Rows, prices: NDArray[Any], holders: NDArray[Any], scale: int) -> tuple[int, float]:
    """What the holders gain, and what nobody could gain more than: the dual's value at these prices."""
    tasks = np.flatnonzero(holders >= 0)
    owners = holders[tasks]
    assert len(np.unique(owners)) == len(owners), "a buyer holds two tasks"
    step = max(1, _BLOCK // rows.size)
    gain, nets = 0, 0
    for start in range(0, rows.size, step):
        block = rows.of(np.arange(start, min(start + step, rows.size)))
        own = (owners >= start) & (owners < start + step)
        gain += int(block[owners[own] - start, tasks[own]].sum())
        nets += int(np.maximum((block * scale - prices).max(axis=1), 0).sum())
    return gain, (nets + int(prices.sum())) / scale
