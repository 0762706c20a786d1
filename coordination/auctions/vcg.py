"""The Vickrey-Clarke-Groves auction: the best awards, and each bidder pays what it takes from the others.

Clarke, "Multipart pricing of public goods" (1971); Groves, "Incentives in teams" (1973). Bidder i pays
W(-i) - (W - v_i): what the others would gain without it, less what they gain with it.

Guarantee: truth is a dominant strategy and nobody pays more than its gain, if the optimum is exact: with an optimum
that is not proved neither holds, and the outcome says so. False names and collusion are not prevented (Yokoo et al.,
2004; `tests/coordination/auctions/test_vcg.py` shows both).

Costs: one round, 2n messages; one optimum, and one more for each bidder that wins.
"""

from dataclasses import replace

import numpy as np

from coordination.auctions.instance import Instance
from coordination.auctions.optimum import LIMIT, optimum
from coordination.auctions.outcome import Outcome, Traffic, settled


def vcg(instance: Instance, limit: float = LIMIT) -> Outcome:
    """Awards and payments; `limit` is for each optimum, where CP-SAT finds it."""
    best = optimum(instance, limit)
    exact = best.is_exact
    total = instance.gain(best.awards)
    payments: dict[int, float] = {}
    for bidder in sorted(set(best.awards.values())):
        own = sum(float(instance.gains[b, task]) for task, b in best.awards.items() if b == bidder)
        rest = _without(instance, bidder)
        without = optimum(rest, limit)
        exact = exact and without.is_exact
        others = rest.gain(without.awards)
        payments[bidder] = max(0.0, others - (total - own))
    traffic = Traffic()
    traffic.rounds = 1
    traffic.say(instance.bidders, instance.tasks)
    traffic.say(instance.bidders, 2)
    notes = () if exact else ("An optimum was not proved within its limit: this is not truthful.",)
    return settled(instance, best.awards, traffic, payments, notes)


def _without(instance: Instance, bidder: int) -> Instance:
    """The same with a bidder to whom nothing is worth anything."""
    gains = instance.gains.copy()
    gains[bidder] = np.zeros_like(gains[bidder])
    return replace(instance, gains=gains)
