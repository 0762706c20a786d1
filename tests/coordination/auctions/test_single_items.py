"""Tasks in sequence, all at once, and in parallel: what they find, and what they cost."""

import numpy as np
import pytest

from coordination.auctions import Instance, Setting, allocate, optimum
from coordination.auctions.instance import generated
from coordination.auctions.sequence import contract_nets
from coordination.auctions.single_items import parallel, sequential
from tests.coordination.auctions.markets import orlib, packed, rng_of, small

IN_SEQUENCE = ("contract-net", "first-price", "vickrey", "english", "dutch")


def test_what_others_measured_of_assign100() -> None:
    (instance,) = orlib("assign100.txt")
    assert sequential(instance).value == 522
    assert contract_nets(instance).value == 553
    assert sequential(instance).rounds == 100


@pytest.mark.parametrize("seed", range(10))
def test_all_sales_in_sequence_find_the_same_winners(seed: int) -> None:
    for instance in (small(seed, highest=50), packed(seed)):
        sealed = {name: allocate(name, Setting(instance)) for name in IN_SEQUENCE}
        best = sealed["vickrey"].awards
        assert sealed["contract-net"].awards == sealed["first-price"].awards == best
        # An open outcry cannot tell gains within a step apart.
        assert sealed["dutch"].value >= 0.9 * sealed["vickrey"].value
        assert sealed["vickrey"].payments.keys() == set(best.values())


@pytest.mark.parametrize("seed", range(30))
def test_sequential_is_at_least_half_of_the_optimum(seed: int) -> None:
    seated = generated(5, 9, rng_of(seed), capacity=2)
    for instance in (small(seed), seated):
        assert sequential(instance).value >= optimum(instance).value / 2


def test_sequential_is_greedy_by_pairs() -> None:
    instance = Instance(np.array([[9, 8, 1], [8, 1, 1], [7, 6, 5]]))
    assert sequential(instance).awards == {0: 0, 1: 2, 2: 1}


def test_in_parallel_what_a_winner_cannot_carry_is_auctioned_again() -> None:
    instance = Instance(np.array([[9, 8, 7], [1, 2, 3], [1, 1, 1]]))
    found = parallel(instance)
    assert found.awards == {0: 0, 2: 1, 1: 2}
    assert found.rounds == 3


@pytest.mark.parametrize("seed", range(10))
def test_nothing_that_fits_is_left_over(seed: int) -> None:
    instance = packed(seed)
    assert instance.loads is not None
    assert instance.capacities is not None
    for found in (sequential(instance), parallel(instance), contract_nets(instance)):
        used = np.zeros(instance.bidders)
        for task, bidder in found.awards.items():
            used[bidder] += instance.loads[bidder, task]
        left = [task for task in range(instance.tasks) if task not in found.awards]
        assert all((instance.loads[:, task] > instance.capacities - used).all() for task in left)


def test_a_contract_net_costs_three_messages_a_bidder_and_one() -> None:
    found = contract_nets(Instance(np.array([[1], [2], [3], [4]])))
    assert found.messages == 3 * 4 + 1
