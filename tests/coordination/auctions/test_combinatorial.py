"""Bids for bundles: the best set of bids by trying all, greedy's bound, truth, and what a limit does."""

from itertools import combinations
from math import sqrt

import pytest

from coordination.auctions import optimum
from coordination.auctions.combinatorial import (
    BundleBid,
    combinatorial,
    exact_winners,
    generated_bids,
    greedy_winners,
    vcg_payments,
)
from tests.coordination.auctions.markets import orlib, packed, rng_of, small

KINDS = ("regions", "paths", "arbitrary")


def is_feasible(bids: tuple[BundleBid, ...]) -> bool:
    tasks = [task for bid in bids for task in bid.bundle]
    return len(set(tasks)) == len(tasks) and len({bid.bidder for bid in bids}) == len(bids)


def best_of_all(bids: list[BundleBid]) -> float:
    sets = (some for size in range(5) for some in combinations(bids, size))
    return max(sum(bid.price for bid in some) for some in sets if is_feasible(some))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", range(5))
def test_winners_are_the_best_of_all(kind: str, seed: int) -> None:
    bids = generated_bids(kind, 4, 9, rng_of(seed), each=4)
    winners = exact_winners(bids)
    assert winners.is_exact
    assert is_feasible(winners.bids)
    assert winners.value == best_of_all(bids)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", range(10))
def test_greedy_keeps_its_bound_for_bidders_of_one_bundle(kind: str, seed: int) -> None:
    bids = generated_bids(kind, 20, 16, rng_of(seed), each=1)
    greedy = greedy_winners(bids)
    assert is_feasible(greedy.bids)
    assert greedy.value >= exact_winners(bids).value / sqrt(16)


def test_greedy_weighs_a_bundle_by_the_root_of_its_size() -> None:
    large, small_one = BundleBid(0, (0, 1, 2, 3), 30.0), BundleBid(1, (0,), 14.0)
    assert greedy_winners([small_one, large]).bids == (large,)  # 15 to 14; by size it would be 7.5 to 14
    assert greedy_winners([BundleBid(1, (0,), 16.0), large]).value == 16.0


@pytest.mark.parametrize("seed", range(8))
def test_no_lie_about_a_bundle_pays(seed: int) -> None:
    rng = rng_of(seed)
    bids = generated_bids("arbitrary", 4, 6, rng, each=2)

    def gain(told: list[BundleBid], bidder: int) -> float:
        winners = exact_winners(told)
        payments, is_exact = vcg_payments(told, winners)
        assert is_exact
        true = {bid.bundle: bid.price for bid in bids if bid.bidder == bidder}
        won = [bid for bid in winners.bids if bid.bidder == bidder]
        return sum(true[bid.bundle] for bid in won) - payments.get(bidder, 0.0)

    for _ in range(6):
        place = int(rng.integers(len(bids)))
        lie = BundleBid(bids[place].bidder, bids[place].bundle, float(rng.integers(0, 600)))
        told = [*bids[:place], lie, *bids[place + 1 :]]
        honest = gain(bids, lie.bidder)
        assert honest >= 0
        assert gain(told, lie.bidder) <= honest + 1e-6


def test_single_tasks_are_an_assignment() -> None:
    instance = small(4)
    assert combinatorial(instance).value == optimum(instance).value


@pytest.mark.parametrize("seed", range(3))
def test_a_market_of_bundles_is_near_its_optimum(seed: int) -> None:
    instance = packed(seed, 3, 7)
    best = optimum(instance).value
    assert combinatorial(instance).value == best  # few enough bundles that all are bid for
    assert combinatorial(instance, exact=False).value <= best


def test_the_library_is_met() -> None:
    instance = orlib("gap1.txt")[0]
    assert combinatorial(instance).value >= 0.97 * 336


def test_a_limit_is_stated_and_greedy_stands_where_it_is_better() -> None:
    bids = generated_bids("arbitrary", 60, 40, rng_of(1), each=10)
    greedy = greedy_winners(bids)
    for limit in (1e-9, 1e-3):
        found = exact_winners(bids, limit)
        assert not found.is_exact
        assert is_feasible(found.bids)
        assert found.value >= greedy.value
    told = combinatorial(packed(1, 5, 20), limit=1e-9)
    assert "reached its limit" in told.notes[0]
