"""The consensus-based auction algorithm (CBAA): one task to a bidder, no coordinator, any connected network.

Choi, Brunet and How, "Consensus-based decentralized auctions for robust task allocation", IEEE Trans. Robotics 25
(2009), section III. Everybody keeps the highest bid that it has heard for each task, and by whom. A bidder without a
task bids for the best one on which it beats what it has heard; then neighbours exchange what they keep, and each takes
the higher bid. Who finds itself outbid has no task again.

Rules:
* Of equal bids the lowest bidder's wins, everywhere: else neighbours with ties would never agree.
* A round is one exchange: each bidder says its whole list to each neighbour. The run ends when all keep the same and
  nobody bids: that is seen from outside, and costs nothing here. `cbba.py` has agents that end by themselves.

Guarantee: with consistent lists it ends, at most `tasks x diameter` rounds after; at least half of the greatest gain.
Cost: a round is one message a link, of a bid and a bidder for each task.
"""

import numpy as np

from actors.errors import SwarmError
from coordination.auctions.instance import Instance, Matrix
from coordination.auctions.network import Network
from coordination.auctions.outcome import Outcome, Traffic, settled

NOBODY = -1


def cbaa(instance: Instance, network: Network) -> Outcome:
    """The awards that all agree on. The instance is a matching, the network is over its bidders."""
    assert instance.is_matching, "CBAA gives one task to a bidder: see CBBA"
    assert network.size == instance.bidders
    gains, traffic = instance.gains, Traffic()
    bids: Matrix = np.zeros_like(gains)
    holders = np.full(gains.shape, NOBODY)
    mine = np.full(instance.bidders, NOBODY)
    while True:
        has_bid = _bid(gains, bids, holders, mine)
        if not has_bid and (bids == bids[0]).all() and (holders == holders[0]).all():
            break
        bids, holders = heard(bids, holders, network)
        traffic.rounds += 1
        traffic.say(network.links, 2 * instance.tasks)
        lost = (mine != NOBODY) & (holders[np.arange(len(mine)), mine] != np.arange(len(mine)))
        mine[lost] = NOBODY
        if traffic.rounds > (instance.tasks + 1) * (network.diameter + 1):
            raise SwarmError(f"CBAA: no agreement after {traffic.rounds} rounds, which theory excludes.")
    awards = {int(task): bidder for bidder, task in enumerate(mine.tolist()) if task != NOBODY}
    return settled(instance, awards, traffic)


def _bid(gains: Matrix, bids: Matrix, holders: Matrix, mine: Matrix) -> bool:
    """Everybody without a task bids for its best. Writes to the lists; True if anybody bid."""
    has_bid = False
    for bidder in np.flatnonzero(mine == NOBODY).tolist():
        own = gains[bidder]
        beats = (own > bids[bidder]) | ((own == bids[bidder]) & (own > 0) & (bidder < holders[bidder]))
        if beats.any():
            task = int(np.where(beats, own, -1).argmax())
            bids[bidder, task], holders[bidder, task], mine[bidder] = own[task], bidder, task
            has_bid = True
    return has_bid


def heard(bids: Matrix, holders: Matrix, network: Network) -> tuple[Matrix, Matrix]:
    """Everybody's lists after one exchange: of each task the highest bid among neighbours and oneself."""
    best, who = bids.copy(), holders.copy()
    for column in network.table.T:
        other, by = bids[column], holders[column]
        higher = (other > best) | ((other == best) & (by < who) & (by != NOBODY))
        np.copyto(best, other, where=higher)
        np.copyto(who, by, where=higher)
    return best, who
