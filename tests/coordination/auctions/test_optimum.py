"""The oracles, against all possibilities of small instances."""

from itertools import product

import numpy as np
import pytest

from coordination.auctions import Instance, optimum
from coordination.auctions.instance import generated
from coordination.auctions.optimum import least_makespan
from tests.coordination.auctions.markets import packed, rng_of, small


def best_of_all(instance: Instance) -> float:
    """By trying every award of every task to a bidder or to nobody."""
    best = 0.0
    for owners in product(range(-1, instance.bidders), repeat=instance.tasks):
        awards = {task: owner for task, owner in enumerate(owners) if owner >= 0}
        try:
            instance.check(awards)
        except AssertionError:
            continue
        best = max(best, instance.gain(awards))
    return best


@pytest.mark.parametrize("seed", range(5))
def test_it_is_the_best_of_all(seed: int) -> None:
    seated = generated(3, 4, rng_of(seed), capacity=2)
    for instance in (small(seed, most=4), packed(seed, 3, 5), seated):
        found = optimum(instance)
        assert found.is_exact
        assert found.value == best_of_all(instance)
        instance.check(found.awards)


def test_gains_that_are_not_whole_are_found_to_a_millionth() -> None:
    instance = Instance(np.array([[0.5, 0.25], [0.4, 0.35]]), np.full((2, 2), 0.5), np.array([1.0, 0.5]))
    assert optimum(instance).value == pytest.approx(0.85, abs=1e-5)


@pytest.mark.parametrize("seed", range(5))
def test_the_least_makespan_is_the_least_of_all(seed: int) -> None:
    times = rng_of(seed).integers(1, 20, size=(3, 5))
    every = (
        max(sum(times[m, t] for t in range(5) if owners[t] == m) for m in range(3))
        for owners in product(range(3), repeat=5)
    )
    assert least_makespan(times) == (min(every), True)
