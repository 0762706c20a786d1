"""Bertsekas' auction: bidders without a task raise the price of the one that they like best.

Bertsekas, "The auction algorithm: a distributed relaxation method for the assignment problem", Annals of Operations
Research 14 (1988); scaling: Bertsekas and Castanon, "The auction algorithm for the transportation problem" (1989). A
bidder whose best task is worth v net of its price, and whose second best w, bids the price + v - w + eps: so when
it gets the task it is as well off, within eps, as with any other ("eps-complementary slackness").

Guarantee: the gain is within n x eps of the greatest; so with integer gains and eps < 1/n it is the greatest. Integers
are multiplied by n + 1 here and eps is an integer of at least 1, so nothing is ever rounded.

Payments are the prices less the lowest of them: all keep their differences, and nobody pays more than its gain and eps,
since the cheapest task would be no worse. They are not truthful: that is VCG's.

Rules:
* Rounds are Jacobi's (all without a task bid against the same prices; the highest bid for a task has it) or Gauss
  and Seidel's (one bids, at once). The first are vectors, the second fewer bids.
* Scaling: eps begins at an eighth of the highest gain and falls to its end by a factor; prices are kept, awards not.
* Unequal numbers are made equal with bidders or tasks that are worth nothing: without them prices kept from an earlier
  eps could leave a task that nobody wants at a price above 0, and the guarantee would not hold.
* Prices only rise. So a bidder looks at its `width` best tasks alone until their nets fall below the best of the rest,
  as it was when they were chosen; then it looks at all again. It never misses a better one, and memory is n x width
  beside the rows, which may be made when they are asked for (`rows.py`): ten thousand by ten thousand take some 100 MB.

Costs: O(n^3 log(n C)) at worst (C the highest gain), far less in practice: see `rayswarm bench auctions --scale`.
"""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from actors.errors import ConfigurationError, SwarmError
from coordination.auctions.instance import Instance
from coordination.auctions.outcome import Outcome, Traffic, settled
from coordination.auctions.rows import Rows, padded

WIDTH = 128
"""Tasks that a bidder keeps in view."""
FACTOR = 6
"""By which eps falls from phase to phase."""
MOST_BIDS = 200_000_000
_BLOCK = 1 << 18
"""Numbers of rows that are looked at together: 2 MiB, which a cache holds; eight times that took 100 MiB more."""
_NEVER = np.iinfo(np.int64).min // 2

Order = Literal["jacobi", "gauss-seidel"]
Whole = NDArray[np.int64]


@dataclass
class Market:
    """Prices, and who holds what; all amounts are multiplied by `scale`."""

    rows: Rows
    scale: int
    width: int

    def __post_init__(self) -> None:
        size = self.rows.size
        self.prices: Whole = np.zeros(size, np.int64)
        self.holders: Whole = np.full(size, -1)
        self.tasks: Whole = np.full(size, -1)
        self.view: NDArray[np.int32] = np.zeros((size, self.width), np.int32)
        self.worth: Whole = np.zeros((size, self.width), np.int64)
        self.beyond: Whole = np.full(size, np.iinfo(np.int64).max)
        """The best net of a bidder's tasks out of view, when the view was made; at first, nothing is in view."""
        self.bids = 0

    def release(self) -> None:
        """Nobody has a task; prices stay."""
        self.holders[:] = self.tasks[:] = -1

    def wishes(self, bidders: Whole) -> tuple[Whole, Whole]:
        """Of each bidder the best task, and by how much its net beats the second's."""
        view = self.view[bidders]
        net = self.worth[bidders] - self.prices[view]
        place, lead, second = _best_two(net)
        stale = second < self.beyond[bidders]
        if stale.any():
            self._look(bidders[stale])
            again = bidders[stale]
            view[stale] = self.view[again]
            place[stale], lead[stale], _ = _best_two(self.worth[again] - self.prices[self.view[again]])
        return view[np.arange(len(bidders)), place].astype(np.int64), lead

    def _look(self, bidders: Whole) -> None:
        """Chooses anew what bidders keep in view."""
        size, width = self.rows.size, self.width
        step = max(1, _BLOCK // size)
        for start in range(0, len(bidders), step):
            some = bidders[start : start + step]
            gains = self.rows.of(some) * self.scale
            if width == size:
                self.view[some], self.worth[some] = np.arange(size), gains
                self.beyond[some] = _NEVER
                continue
            net = gains - self.prices
            order = np.argpartition(net, size - width - 1, axis=1)[:, size - width - 1 :]
            self.beyond[some] = np.take_along_axis(net, order[:, :1], axis=1)[:, 0]
            self.view[some] = order[:, 1:]
            self.worth[some] = np.take_along_axis(gains, order[:, 1:], axis=1)

    def gain(self) -> int:
        """The sum of gains of what is held, unscaled."""
        held = np.flatnonzero(self.tasks >= 0)
        step = max(1, _BLOCK // self.rows.size)
        blocks = (held[start : start + step] for start in range(0, len(held), step))
        return sum(int(self.rows.of(b)[np.arange(len(b)), self.tasks[b]].sum()) for b in blocks)

    def bound(self) -> float:
        """No assignment gains more: the dual's value at these prices, by weak duality, from all rows anew."""
        size = self.rows.size
        step = max(1, _BLOCK // size)
        nets = 0
        for start in range(0, size, step):
            gains = self.rows.of(np.arange(start, min(start + step, size))) * self.scale
            nets += int((gains - self.prices).max(axis=1).sum())
        return (nets + int(self.prices.sum())) / self.scale

    def award(self, bidders: Whole, wanted: Whole, offers: Whole) -> Whole:
        """Each task goes to its highest offer, of equal ones to the lowest bidder. Returns who is without one."""
        self.bids += len(bidders)
        order = np.lexsort((bidders, -offers, wanted))
        first = np.ones(len(order), bool)
        first[1:] = wanted[order[1:]] != wanted[order[:-1]]
        won = order[first]
        losers = [bidders[order[~first]]]
        tasks, winners = wanted[won], bidders[won]
        before = self.holders[tasks]
        evicted = before[before >= 0]
        self.tasks[evicted] = -1
        losers.append(evicted)
        self.holders[tasks], self.tasks[winners], self.prices[tasks] = winners, tasks, offers[won]
        return np.concatenate(losers)


def _best_two(net: Whole) -> tuple[Whole, Whole, Whole]:
    """Of each row the place of the greatest, its lead over the second, and the second."""
    lines = np.arange(len(net))
    place = net.argmax(axis=1)
    best = net[lines, place]
    if net.shape[1] == 1:
        return place, np.zeros_like(best), np.full_like(best, _NEVER)
    net[lines, place] = _NEVER
    second = net.max(axis=1)
    return place, best - second, second


def phases(highest: int, last: int, *, scaling: bool) -> Iterator[int]:
    """The values of eps, scaled, in turn."""
    eps = max(last, highest // 8) if scaling else last
    while eps > last:
        yield eps
        eps = max(last, eps // FACTOR)
    yield last


def assign(
    rows: Rows,
    *,
    epsilon: float | None = None,
    scaling: bool = True,
    order: Order = "jacobi",
    traffic: Traffic | None = None,
) -> Market:
    """Runs the auction over equal numbers of bidders and tasks with integer gains.

    `epsilon` is in units of gain; None for the largest that is exact, 1/(n+1). Raises `ConfigurationError` for one
    that is not above 0 or is finer than 1/(n+1), which buys nothing.
    """
    size = rows.size
    last = 1 if epsilon is None else int(epsilon * (size + 1))
    if last < 1:
        raise ConfigurationError(f"epsilon: {epsilon} is below 1/{size + 1}, which is exact. Leave it out.")
    market = Market(rows, size + 1, min(WIDTH, size) if size > 2 * WIDTH else size)
    traffic = Traffic() if traffic is None else traffic
    run = _jacobi if order == "jacobi" else _gauss_seidel
    for eps in phases(rows.highest * market.scale, last, scaling=scaling):
        market.release()
        run(market, eps, traffic)
    return market


def _jacobi(market: Market, eps: int, traffic: Traffic) -> None:
    waiting = np.arange(market.rows.size)
    while len(waiting):
        wanted, lead = market.wishes(waiting)
        offers = market.prices[wanted] + lead + eps
        bidding = len(waiting)
        waiting = market.award(waiting, wanted, offers)
        _count(traffic, bidding, len(waiting))
        _check_end(market)


def _gauss_seidel(market: Market, eps: int, traffic: Traffic) -> None:
    waiting = deque(range(market.rows.size))
    while waiting:
        bidder = np.array([waiting.popleft()])
        wanted, lead = market.wishes(bidder)
        task = int(wanted[0])
        evicted = int(market.holders[task])
        if evicted >= 0:
            market.tasks[evicted] = -1
            waiting.append(evicted)
        market.holders[task], market.tasks[bidder[0]] = bidder[0], task
        market.prices[task] += int(lead[0]) + eps
        market.bids += 1
        _count(traffic, 1, int(evicted >= 0))
        _check_end(market)


def _count(traffic: Traffic, bidding: int, refused: int) -> None:
    """A round: who bids is told the prices that changed (about as many as there were bids), and bids."""
    traffic.rounds += 1
    traffic.say(bidding, 1 + 2)
    traffic.say(bidding + refused, 2)


def _check_end(market: Market) -> None:
    if market.bids > MOST_BIDS:
        raise SwarmError(f"epsilon auction: over {MOST_BIDS:,} bids. Give a larger epsilon.")


def epsilon_auction(
    instance: Instance, *, epsilon: float | None = None, scaling: bool = True, order: Order = "jacobi"
) -> Outcome:
    """The assignment within n x epsilon of the best; by default the best. The gains are integers."""
    if not instance.is_matching or instance.gains.dtype.kind not in "iu":
        raise ConfigurationError(
            f"{instance.name}: the epsilon auction gives one task to a bidder, by integer gains. Multiply and round "
            f"gains that are not; use cbba, vcg, sequential or another for capacities."
        )
    traffic = Traffic()
    market = assign(padded(instance.gains), epsilon=epsilon, scaling=scaling, order=order, traffic=traffic)
    pairs = enumerate(market.tasks[: instance.bidders].tolist())
    awards = {task: bidder for bidder, task in pairs if task < instance.tasks}
    awards = {task: bidder for task, bidder in awards.items() if instance.gains[bidder, task] > 0}
    prices = market.prices - market.prices.min()
    payments = {bidder: float(prices[task]) / market.scale for task, bidder in awards.items()}
    return settled(instance, awards, traffic, payments)
