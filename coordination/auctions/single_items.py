"""All tasks on offer at once: sequential and parallel single-item auctions.

* **Sequential** (Lagoudakis et al., "Auction-based multi-robot routing", RSS 2005): in each round every bidder that can
  bids for the task that it likes best; the best bid of all is awarded; the others bid again. It is the greedy choice
  of pairs: at least half of the optimum where each bidder takes one task or tasks of unit load (Korte and Hausmann,
  1978: greedy over an intersection of two matroids). As many rounds as awards; n bids a round.
* **Parallel** (Koenig et al., "The power of sequential single-item auctions", AAAI 2006): every bidder bids for all
  tasks at once, blind to what else it may win. A winner takes of its tasks what it can carry, most gain first, and
  gives the others back: those are auctioned again, until a round awards nothing. Few rounds, no guarantee.

Rules: of equal gains the lowest task wins, then the lowest bidder. Nobody pays.
"""

import numpy as np

from coordination.auctions.instance import Instance, Matrix, Room
from coordination.auctions.outcome import Outcome, Traffic, settled


def sequential(instance: Instance) -> Outcome:
    """The best bid of each round is awarded."""
    room, traffic = Room(instance), Traffic()
    awards: dict[int, int] = {}
    is_open = np.ones(instance.tasks, bool)
    # What each bidder bids for. Only who wanted the task that went, or just won, has to look again.
    wish = np.full(instance.bidders, -1)
    bids = np.full(instance.bidders, -1.0)
    stale = np.arange(instance.bidders)
    while True:
        for bidder in stale.tolist():
            wish[bidder], bids[bidder] = _best(instance, room, bidder, is_open)
        bidding = wish >= 0
        if not bidding.any():
            break
        highest = bids.max()
        winner = int(min(np.flatnonzero(bids == highest), key=lambda bidder: (wish[bidder], bidder)))
        task = int(wish[winner])
        traffic.rounds += 1
        traffic.say(int(bidding.sum()), 2)
        traffic.say(instance.bidders, 2)  # the award, told to all
        awards[task] = winner
        is_open[task] = False
        room.take(winner, task)
        stale = np.flatnonzero((wish == task) | (np.arange(instance.bidders) == winner))
    return settled(instance, awards, traffic)


def _best(instance: Instance, room: Room, bidder: int, is_open: Matrix) -> tuple[int, float]:
    can = is_open & room.tasks_of(bidder, instance.tasks)
    if not can.any():
        return -1, -1.0
    gains = np.where(can, instance.gains[bidder], -1)
    task = int(gains.argmax())
    return task, float(gains[task])


def parallel(instance: Instance) -> Outcome:
    """All tasks are awarded at once, and what their winners cannot carry again."""
    room, traffic = Room(instance), Traffic()
    awards: dict[int, int] = {}
    is_open = np.ones(instance.tasks, bool)
    while is_open.any():
        fits = np.stack([room.tasks_of(bidder, instance.tasks) for bidder in range(instance.bidders)])
        gains = np.where(fits & is_open, instance.gains, -1)
        traffic.rounds += 1
        traffic.say(instance.bidders, 2 * int(is_open.sum()))  # a message of bids from each
        winners, prices = gains.argmax(axis=0), gains.max(axis=0)
        offered = np.flatnonzero(is_open & (prices >= 0))
        if not len(offered):
            break
        traffic.say(len(offered), 1)
        for task in sorted(offered.tolist(), key=lambda task: (-prices[task], task)):
            bidder = int(winners[task])
            traffic.say(1, 1)
            if room.fits(bidder, task):
                awards[task] = bidder
                is_open[task] = False
                room.take(bidder, task)
    return settled(instance, awards, traffic)
