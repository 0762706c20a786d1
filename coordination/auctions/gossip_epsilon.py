"""The epsilon auction without an auctioneer, over any connected network.

Zavlanos, Spesivtsev and Pappas, "A distributed auction algorithm for the assignment problem", CDC 2008. Everybody keeps
for each task the highest price that it has heard, and whose it is. In each round neighbours exchange these; who finds
its task at another's price, or has none, bids on what it knows: the price + v - w + eps.

Guarantee: within n x eps of the greatest gain, so the greatest with integer gains and eps < 1/n, after at most
diameter x n^2 x ceil(C / eps) rounds (C the highest gain). In practice it is far from that bound; the number of
rounds grows with C / eps all the same, since prices cannot be scaled without somebody who begins a phase.

Rules: of equal prices the lowest bidder's holds, everywhere. Where there are more bidders than tasks, tasks are added
that are worth nothing; and a bidder's second best, where there is one task only, is nothing. A round costs what it does
in `cbaa.py`.
"""

import numpy as np

from actors.errors import ConfigurationError, SwarmError
from coordination.auctions.cbaa import heard
from coordination.auctions.instance import Instance, Matrix
from coordination.auctions.network import Network
from coordination.auctions.outcome import Outcome, Traffic, settled

NOBODY = -1
MOST_ROUNDS = 1_000_000


def gossip_epsilon(instance: Instance, network: Network, *, epsilon: float | None = None) -> Outcome:
    """The awards that all agree on; `epsilon` in units of gain, None for the largest that is exact, 1/(n+1)."""
    if not instance.is_matching or instance.gains.dtype.kind not in "iu":
        raise ConfigurationError(f"{instance.name}: it gives one task to a bidder, by integer gains.")
    assert network.size == instance.bidders
    scale = max(instance.gains.shape) + 1
    eps = 1 if epsilon is None else int(epsilon * scale)
    if eps < 1:
        raise ConfigurationError(f"epsilon: {epsilon} is below 1/{scale}, which is exact. Leave it out.")
    bidders, traffic = np.arange(instance.bidders), Traffic()
    gains = _with_a_way_out(instance.gains) * scale
    prices = np.zeros_like(gains)
    holders = np.full(gains.shape, NOBODY)
    mine = np.full(instance.bidders, NOBODY)
    while True:
        lost = (mine == NOBODY) | (holders[bidders, mine] != bidders)
        if not lost.any() and (prices == prices[0]).all() and (holders == holders[0]).all():
            break
        if lost.any():
            wanted, offers = _offers(gains[lost], prices[lost], eps)
            prices[bidders[lost], wanted], holders[bidders[lost], wanted] = offers, bidders[lost]
            mine[lost] = wanted
        prices, holders = heard(prices, holders, network)
        traffic.rounds += 1
        traffic.say(network.links, 2 * instance.tasks)
        if traffic.rounds > MOST_ROUNDS:
            raise SwarmError(f"no agreement after {MOST_ROUNDS:,} rounds. Give a larger epsilon.")
    awards = {
        int(task): bidder
        for bidder, task in enumerate(mine.tolist())
        if task < instance.tasks and instance.gains[bidder, task] > 0
    }
    least = prices[0].min()
    payments = {bidder: float(prices[bidder, task] - least) / scale for task, bidder in awards.items()}
    return settled(instance, awards, traffic, payments)


def _with_a_way_out(gains: Matrix) -> Matrix:
    """With one more task for each bidder beyond the tasks, worth nothing to all."""
    bidders, tasks = gains.shape
    return np.hstack([gains, np.zeros((bidders, max(0, bidders - tasks)), gains.dtype)])


def _offers(gains: Matrix, prices: Matrix, eps: int) -> tuple[Matrix, Matrix]:
    """Of each row the best task, and what is bid for it."""
    net = gains - prices
    lines = np.arange(len(net))
    place = net.argmax(axis=1)
    best = net[lines, place]
    net[lines, place] = np.iinfo(np.int64).min // 2
    lead = best - net.max(axis=1) if net.shape[1] > 1 else np.zeros_like(best)
    return place, prices[lines, place] + lead + eps
