"""The combinatorial auction: bids for bundles of tasks, and who wins which.

Cramton, Shoham and Steinberg (eds.), "Combinatorial Auctions" (2006). A bidder says what each of some bundles is worth
to it, and wins one of them at most (XOR). Winner determination is weighted set packing, NP-hard:

* **exact**: CP-SAT, one truth value a bid (an assignment where all bundles are single tasks). If its limit of
  deterministic time ends it, the better of what it found and of greedy is taken, and the outcome says that it is not
  proved.
* **greedy**: bids in the order of price over the square root of the bundle's size, each taken if it fits (Lehmann,
  O'Callaghan and Shoham, "Truth revelation in approximately efficient combinatorial auctions", 2002): at least
  1/sqrt(tasks) of the best, where each bidder bids for one bundle.

Payments are VCG's, so truth is dominant where each determination was exact; for greedy each pays its bid.

Costs: two messages a bidder, one round; a bidder that speaks its mind may have 2^m bids, and here says `MOST_BUNDLES`
at most, the best ones it finds, so the optimum over bids may lie below that of the instance.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt

import numpy as np
from ortools.sat.python import cp_model

from coordination.auctions.instance import Instance
from coordination.auctions.optimum import LIMIT, Unsolved, matching, solve
from coordination.auctions.outcome import Outcome, Traffic, settled

MOST_BUNDLES = 200
"""Bids of one bidder."""
_SCALE = 10**6


@dataclass(frozen=True)
class BundleBid:
    """What a bundle of tasks is worth to a bidder."""

    bidder: int
    bundle: tuple[int, ...]
    price: float


@dataclass(frozen=True)
class Winners:
    """The bids that won."""

    bids: tuple[BundleBid, ...]
    is_exact: bool

    @property
    def value(self) -> float:
        """The sum of their prices."""
        return float(sum(bid.price for bid in self.bids))


def greedy_winners(bids: Sequence[BundleBid]) -> Winners:
    """The bids taken in order of price over the square root of size; ties by bidder, then bundle."""
    order = sorted(bids, key=lambda bid: (-bid.price / sqrt(len(bid.bundle)), bid.bidder, bid.bundle))
    sold: dict[int, None] = {}
    won: dict[int, BundleBid] = {}
    for bid in order:
        if bid.bidder not in won and not any(task in sold for task in bid.bundle):
            won[bid.bidder] = bid
            sold.update(dict.fromkeys(bid.bundle))
    return Winners(tuple(won[bidder] for bidder in sorted(won)), is_exact=False)


def exact_winners(bids: Sequence[BundleBid], limit: float = LIMIT) -> Winners:
    """The bids of greatest total price; greedy's if the limit ends the search with less."""
    if all(len(bid.bundle) == 1 for bid in bids):
        return _matched(bids)
    model = cp_model.CpModel()
    wins = [model.new_bool_var(str(number)) for number in range(len(bids))]
    groups: dict[tuple[str, int], list[cp_model.IntVar]] = {}
    for bid, variable in zip(bids, wins, strict=True):
        groups.setdefault(("bidder", bid.bidder), []).append(variable)
        for task in bid.bundle:
            groups.setdefault(("task", task), []).append(variable)
    for group in groups.values():
        model.add_at_most_one(group)
    scale = 1 if all(float(bid.price).is_integer() for bid in bids) else _SCALE
    model.maximize(cp_model.LinearExpr.weighted_sum(wins, [round(bid.price * scale) for bid in bids]))
    try:
        solver, is_exact = solve(model, limit)
    except Unsolved:
        return greedy_winners(bids)
    found = Winners(
        tuple(bid for bid, variable in zip(bids, wins, strict=True) if solver.value(variable)), is_exact
    )
    return found if is_exact else max(found, greedy_winners(bids), key=lambda winners: winners.value)


def _matched(bids: Sequence[BundleBid]) -> Winners:
    """For bids on single tasks: an assignment, which is easy."""
    lines = {bidder: line for line, bidder in enumerate(sorted({bid.bidder for bid in bids}))}
    columns = {task: column for column, task in enumerate(sorted({bid.bundle[0] for bid in bids}))}
    by_pair: dict[tuple[int, int], BundleBid] = {}
    for bid in bids:
        pair = lines[bid.bidder], columns[bid.bundle[0]]
        if pair not in by_pair or by_pair[pair].price < bid.price:
            by_pair[pair] = bid
    table = np.zeros((len(lines), len(columns)))
    for pair, bid in by_pair.items():
        table[pair] = bid.price
    pairs = sorted((bidder, task) for task, bidder in matching(table).items()) if bids else []
    return Winners(tuple(by_pair[pair] for pair in pairs if pair in by_pair), is_exact=True)


def vcg_payments(
    bids: Sequence[BundleBid], winners: Winners, limit: float = LIMIT
) -> tuple[dict[int, float], bool]:
    """What each winner takes from the others, and whether every determination was exact."""
    payments: dict[int, float] = {}
    is_exact = winners.is_exact
    for won in winners.bids:
        without = exact_winners([bid for bid in bids if bid.bidder != won.bidder], limit)
        is_exact = is_exact and without.is_exact
        payments[won.bidder] = max(0.0, without.value - (winners.value - won.price))
    return payments, is_exact


def combinatorial(instance: Instance, *, exact: bool = True, limit: float = LIMIT) -> Outcome:
    """The awards of a combinatorial auction in which each bidder bids for bundles that it can carry."""
    bids = [bid for bidder in range(instance.bidders) for bid in bundle_bids(instance, bidder)]
    notes: tuple[str, ...] = ()
    if exact:
        winners = exact_winners(bids, limit)
        payments, is_exact = vcg_payments(bids, winners, limit)
        if not is_exact:
            notes = ("Winner determination reached its limit; where greedy was better, greedy stands.",)
    else:
        winners = greedy_winners(bids)
        payments = {bid.bidder: bid.price for bid in winners.bids}
    traffic = Traffic()
    traffic.rounds = 1
    traffic.messages = 2 * instance.bidders
    traffic.numbers = sum(2 + len(bid.bundle) for bid in bids) + 2 * instance.bidders
    awards = {task: bid.bidder for bid in winners.bids for task in bid.bundle}
    return settled(instance, awards, traffic, payments, notes)


def bundle_bids(instance: Instance, bidder: int) -> list[BundleBid]:
    """A bidder's bids: for a matching each task alone, else the best bundles of its beam search, at their gains.

    The beam keeps the `MOST_BUNDLES` bundles of each size with most gain; the bids are the best of all sizes.
    """
    gains = instance.gains[bidder]
    wanted = [int(task) for task in np.argsort(-gains, kind="stable") if gains[task] > 0]
    if instance.loads is None or instance.capacities is None:
        return [BundleBid(bidder, (task,), float(gains[task])) for task in wanted[:MOST_BUNDLES]]
    loads, room = instance.loads[bidder], instance.capacities[bidder]
    beam: list[tuple[int, ...]] = [()]
    found: dict[tuple[int, ...], float] = {}
    while beam:
        larger: dict[tuple[int, ...], float] = {}
        for bundle in beam:
            left = room - sum(loads[task] for task in bundle)
            worth = sum(float(gains[task]) for task in bundle)
            for task in wanted:
                if task not in bundle and loads[task] <= left:
                    larger[tuple(sorted((*bundle, task)))] = worth + float(gains[task])
        found |= larger
        beam = sorted(larger, key=lambda bundle: (-larger[bundle], bundle))[:MOST_BUNDLES]
    best = sorted(found, key=lambda bundle: (-found[bundle], bundle))[:MOST_BUNDLES]
    return [BundleBid(bidder, bundle, found[bundle]) for bundle in best]


def generated_bids(
    kind: str, bidders: int, tasks: int, rng: np.random.Generator, each: int = 5
) -> list[BundleBid]:
    """Random bids in the manner of CATS (Leyton-Brown, Pearson and Shoham, 2000), `each` for a bidder.

    `regions`: near tasks of a square grid; `paths`: tasks in a row along a line; `arbitrary`: any tasks. Prices are
    superadditive: size to the power of 1.2, times a factor from 50 to 100.
    """
    side = max(1, round(sqrt(tasks)))
    bids: dict[tuple[int, tuple[int, ...]], BundleBid] = {}
    for bidder in range(bidders):
        for _ in range(each):
            size = int(rng.integers(1, min(tasks, 5), endpoint=True))
            start = int(rng.integers(tasks))
            if kind == "paths":
                bundle = tuple(range(start, min(tasks, start + size)))
            elif kind == "regions":
                order = sorted(range(tasks), key=lambda task: (_steps(task, start, side), task))
                bundle = tuple(sorted(order[:size]))
            else:
                bundle = tuple(sorted(rng.choice(tasks, size, replace=False).tolist()))
            price = float(round(len(bundle) ** 1.2 * float(rng.uniform(50, 100))))
            bids[bidder, bundle] = BundleBid(bidder, bundle, price)
    return list(bids.values())


def _steps(one: int, other: int, side: int) -> int:
    return abs(one // side - other // side) + abs(one % side - other % side)
