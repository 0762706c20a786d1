"""VCG: truthful and rational by search for a lie that pays; and what it does not prevent."""

from collections.abc import Callable

import numpy as np
import pytest

from coordination.auctions import Instance, Outcome, optimum
from coordination.auctions.combinatorial import BundleBid, exact_winners, vcg_payments
from coordination.auctions.vcg import vcg
from tests.coordination.auctions.markets import orlib, packed, rng_of, small


def worth(instance: Instance, outcome: Outcome, bidder: int) -> float:
    """What a bidder has of an outcome: its true gains less its payment."""
    gains = sum(float(instance.gains[b, task]) for task, b in outcome.awards.items() if b == bidder)
    return gains - outcome.payments.get(bidder, 0.0)


def best_lie(auction: Callable[[Instance], Outcome], instance: Instance, seed: int, lies: int) -> float:
    """The most that a bidder gains by one of many reports in place of its true gains."""
    rng = rng_of(seed)
    honest = auction(instance)
    most = -1e9
    for _ in range(lies):
        bidder = int(rng.integers(instance.bidders))
        gains = instance.gains.copy()
        match int(rng.integers(3)):
            case 0:
                gains[bidder] = rng.integers(0, 120, size=instance.tasks)
            case 1:
                gains[bidder] = (gains[bidder] * rng.uniform(0, 2)).astype(int)
            case _:
                gains[bidder, rng.integers(instance.tasks)] = rng.integers(0, 120)
        told = auction(Instance(gains, instance.loads, instance.capacities))
        most = max(most, worth(instance, told, bidder) - worth(instance, honest, bidder))
    return most


def pay_as_bid(instance: Instance) -> Outcome:
    best = vcg(instance)
    payments: dict[int, float] = {}
    for task, bidder in best.awards.items():
        payments[bidder] = payments.get(bidder, 0.0) + float(instance.gains[bidder, task])
    return Outcome(best.awards, payments, best.value, 1, 0, 0)


@pytest.mark.parametrize("seed", range(25))
def test_no_lie_pays_in_a_matching(seed: int) -> None:
    assert best_lie(vcg, small(seed, most=6), seed, 40) <= 1e-9, f"seed {seed}"


def test_no_lie_pays_where_tasks_take_room() -> None:
    assert best_lie(vcg, packed(1, 3, 5), 1, 15) <= 1e-9


def test_the_search_finds_the_lie_that_pays_where_all_pay_what_they_bid() -> None:
    assert max(best_lie(pay_as_bid, small(seed, most=6), seed, 20) for seed in range(5)) > 5


@pytest.mark.parametrize("seed", range(25))
def test_nobody_pays_more_than_its_gain_and_the_awards_are_the_best(seed: int) -> None:
    instance = small(seed)
    found = vcg(instance)
    assert found.value == optimum(instance).value
    assert all(worth(instance, found, bidder) >= 0 for bidder in range(instance.bidders))
    assert min(found.payments.values()) >= 0


def test_for_one_task_it_is_the_second_price() -> None:
    assert vcg(Instance(np.array([[4], [9], [7]]))).payments == {1: 7}


def test_it_meets_the_optimum_of_the_library() -> None:
    (instance,) = orlib("assign100.txt")
    assert vcg(instance).value == 305


def test_false_names_pay() -> None:
    """Yokoo, Sakurai and Matsubara (2004): who wants two tasks does better as two who want one each."""
    rival = BundleBid(2, (0, 1), 100.0)
    as_one = [BundleBid(0, (0, 1), 202.0), rival]
    as_two = [BundleBid(0, (0,), 101.0), BundleBid(1, (1,), 101.0), rival]
    assert vcg_payments(as_one, exact_winners(as_one))[0] == {0: 100.0}
    assert vcg_payments(as_two, exact_winners(as_two))[0] == {0: 0.0, 1: 0.0}


def test_collusion_pays() -> None:
    honest = Instance(np.array([[10], [9]]))
    agreed = Instance(np.array([[10], [0]]))
    assert vcg(honest).payments == {0: 9}
    assert vcg(agreed).payments == {0: 0}
