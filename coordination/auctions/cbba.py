"""The consensus-based bundle algorithm (CBBA): several tasks to a bidder, no coordinator, any connected network.

Choi, Brunet and How, "Consensus-based decentralized auctions for robust task allocation", IEEE Trans. Robotics 25
(2009), section IV. Each bidder adds tasks to its bundle, best first, while it beats the bids that it has heard; then
neighbours exchange the winning bids y, the winners z, and the times s at which each bidder was last heard of, and
settle conflicts by the paper's table I. Who lost a task of its bundle also releases those that it added after it, since
their gains were counted on top of it.

Rules:
* `Consensus` holds the rows of one bidder (an agent) or of all of them (a simulation); the rules are written once.
* Of equal bids the lowest bidder's wins, everywhere. Gains of 0 are not bid for.
* Gains diminish as a bundle grows: a task may not fit any more, and with `tires` each gain falls by what is carried.

Guarantee (the paper's theorems 1 and 2, unit loads): agreement after at most `min(tasks, bidders x capacity)` times the
diameter rounds, and at least half of the greatest gain; the awards are those of the sequential single-item auction.
With other loads it ends too, and the half is not promised.

Cost: a round is one message a link, of y and z for each task and s for each bidder. n bidders and m tasks take 16nm +
8nn bytes of memory here, and degree x some forty operations on tables of that size a round.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from actors.errors import SwarmError
from coordination.auctions.instance import Instance, Matrix
from coordination.auctions.network import Network
from coordination.auctions.outcome import Outcome, Traffic, settled

NOBODY = -1


@dataclass
class Lists:
    """What some bidders believe, a row each: the state of CBBA, and what is said."""

    bids: Matrix
    """(rows, tasks): y, the highest bid that is known."""
    winners: Matrix
    """(rows, tasks): z, whose it is."""
    times: Matrix
    """(rows, bidders): s, the round in which what one knows of a bidder was said by it."""

    def rows(self, index: Matrix) -> "Lists":
        """Copies of some rows."""
        return Lists(self.bids[index], self.winners[index], self.times[index])


def merged(own: Lists, who: Matrix, said: Lists, sender: Matrix) -> Lists:
    """Table I of the paper: what each bidder `who` (rows,) believes after `sender` (rows,) said `said`.

    A row whose sender is itself stays as it is.
    """
    i, k = who[:, None], sender[:, None]
    zi, zk, yi, yk = own.winners, said.winners, own.bids, said.bids
    higher = (yk > yi) | ((yk == yi) & (zk < zi) & (zk != NOBODY))
    # Whether the sender's word about a bidder is newer: about whom it thinks the winner is, and about whom we do.
    newer_k = _of(said.times, zk) > _of(own.times, zk)
    older_k = _of(said.times, zk) < _of(own.times, zk)
    newer_i = _of(said.times, zi) > _of(own.times, zi)
    i_me, i_none, i_sender = zi == i, zi == NOBODY, zi == k
    i_third = ~(i_me | i_none | i_sender)
    k_self, k_none, k_me = zk == k, zk == NOBODY, zk == i
    k_third = ~(k_self | k_none | k_me)
    same = zi == zk
    update = k_self & (i_none | i_sender | (i_me & higher) | (i_third & (newer_i | higher)))
    update |= k_third & i_me & newer_k & higher
    update |= k_third & (i_sender | i_none | (i_third & same)) & newer_k
    update |= k_third & i_third & ~same & newer_k & (newer_i | higher)
    update |= k_none & (i_sender | (i_third & newer_i))
    reset = k_me & (i_sender | (i_third & newer_i))
    reset |= k_third & i_sender & ~newer_k
    reset |= k_third & i_third & ~same & older_k & newer_i
    reset &= ~update
    bids = np.where(update, yk, np.where(reset, 0, yi))
    winners = np.where(update, zk, np.where(reset, NOBODY, zi))
    itself = i == k
    return Lists(np.where(itself, yi, bids), np.where(itself, zi, winners), np.maximum(own.times, said.times))


def _of(times: Matrix, winners: Matrix) -> Matrix:
    """(rows, tasks): the time of each winner; of nobody, the time of bidder 0, which no rule looks at."""
    taken: Matrix = np.take_along_axis(times, np.maximum(winners, 0), axis=1)
    return taken


@dataclass
class Wants:
    """What a bidder knows of itself."""

    bidder: int
    gains: Matrix
    """(tasks,)"""
    loads: Matrix
    """(tasks,)"""
    room: float
    """Its whole capacity."""
    tires: bool = False
    """Whether its gain for a task falls by the loads that it carries already."""


def wants_of(instance: Instance, bidder: int) -> Wants:
    """What a bidder of an instance knows of itself."""
    if instance.loads is None or instance.capacities is None:
        return Wants(bidder, instance.gains[bidder], np.ones(instance.tasks, np.int64), 1.0)
    return Wants(bidder, instance.gains[bidder], instance.loads[bidder], float(instance.capacities[bidder]))


def extended(wants: Wants, bundle: list[int], bids: Matrix, winners: Matrix) -> list[int]:
    """The bundle with all that the bidder adds to it, best first; writes its bids to its rows `bids`, `winners`."""
    gains = wants.gains
    bundle = list(bundle)
    carried = sum(wants.loads[task] for task in bundle)
    other = np.ones(len(gains), bool)
    other[bundle] = False
    while True:
        worth = gains - carried if wants.tires else gains
        beats = (worth > bids) | ((worth == bids) & (wants.bidder < winners))
        can = other & beats & (worth > 0) & (wants.loads <= wants.room - carried)
        if not can.any():
            return bundle
        task = int(np.where(can, worth, -1).argmax())
        bundle.append(task)
        carried += wants.loads[task]
        other[task] = False
        bids[task], winners[task] = worth[task], wants.bidder


def released(bidder: int, bundle: list[int], bids: Matrix, winners: Matrix) -> list[int]:
    """What is left of a bundle once others' bids are known; writes to the rows what is given up."""
    for place, task in enumerate(bundle):
        if winners[task] != bidder:
            for later in bundle[place + 1 :]:
                if winners[later] == bidder:
                    bids[later], winners[later] = 0, NOBODY
            return bundle[:place]
    return bundle


class Consensus:
    """All bidders of a market, in rounds."""

    def __init__(self, wants: Sequence[Wants], network: Network) -> None:
        assert network.size == len(wants)
        size, shape = len(wants), (len(wants), len(wants[0].gains))
        self.wants = wants
        self.network = network
        self.lists = Lists(
            np.zeros(shape, wants[0].gains.dtype), np.full(shape, NOBODY), np.zeros((size, size), np.int64)
        )
        self.bundles: list[list[int]] = [[] for _ in range(size)]
        self.round = 0

    def build(self) -> bool:
        """Everybody extends its bundle. True if any did."""
        before = [len(bundle) for bundle in self.bundles]
        lists = self.lists
        for bidder, bundle in enumerate(self.bundles):
            self.bundles[bidder] = extended(
                self.wants[bidder], bundle, lists.bids[bidder], lists.winners[bidder]
            )
        return before != [len(bundle) for bundle in self.bundles]

    def exchange(self) -> None:
        """Everybody says its lists to its neighbours, and settles what it hears, neighbour by neighbour."""
        self.round += 1
        everybody = np.arange(len(self.wants))
        self.lists.times[everybody, everybody] = self.round
        said = self.lists
        lists = said.rows(everybody)
        for sender in self.network.table.T:
            lists = merged(lists, everybody, said.rows(sender), sender)
        self.lists = lists
        for bidder, bundle in enumerate(self.bundles):
            self.bundles[bidder] = released(bidder, bundle, lists.bids[bidder], lists.winners[bidder])

    def agree(self) -> bool:
        """True if all believe the same."""
        lists = self.lists
        return bool((lists.winners == lists.winners[0]).all() and (lists.bids == lists.bids[0]).all())


def agreed(wants: Sequence[Wants], network: Network, limit: int) -> Consensus:
    """The run at its end, when all agree. Raises `SwarmError` after `limit` rounds."""
    run = Consensus(wants, network)
    while run.build() or not run.agree():
        if run.round == limit:
            raise SwarmError(f"CBBA: no agreement after {limit} rounds, well beyond what theory allows.")
        run.exchange()
    return run


def bound(instance: Instance, network: Network) -> int:
    """The paper's bound on rounds: the awards that there can be, times the diameter."""
    places: float = instance.bidders
    if instance.loads is not None and instance.capacities is not None:
        least = np.maximum(instance.loads.min(axis=1), 1e-9)
        places = float(np.minimum(instance.capacities // least, instance.tasks).sum())
    return int(min(instance.tasks, places)) * network.diameter


def cbba(instance: Instance, network: Network) -> Outcome:
    """The awards that all agree on; the last round, in which nothing changes, is not counted."""
    wants = [wants_of(instance, bidder) for bidder in range(instance.bidders)]
    run, traffic = agreed(wants, network, 4 * bound(instance, network) + 4), Traffic()
    traffic.say(network.links * run.round, 2 * instance.tasks + instance.bidders)
    traffic.rounds = run.round
    awards = {task: bidder for bidder, bundle in enumerate(run.bundles) for task in bundle}
    return settled(instance, awards, traffic)
