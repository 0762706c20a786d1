"""Response thresholds: everything gets done without a market, and a market does it better."""

from random import Random

import pytest

from coordination.auctions.foraging import foraging, response, threshold
from coordination.auctions.instance import generated
from coordination.auctions.single_items import sequential
from tests.coordination.auctions.markets import packed, rng_of


def test_the_response_is_one_half_at_the_threshold_and_grows() -> None:
    assert response(0.3, 0.3) == 0.5
    assert response(0.1, 0.3) == pytest.approx(0.1)  # squares: a third of the threshold is a tenth
    assert response(0.1, 0.3) < response(0.2, 0.3)
    assert threshold(9, 10) < threshold(1, 10)


@pytest.mark.parametrize("seed", range(10))
def test_everything_that_fits_gets_done(seed: int) -> None:
    found = foraging(generated(8, 12, rng_of(seed), capacity=2), Random(seed))
    assert len(found.awards) == 12
    assert foraging(packed(seed), Random(seed)).awards


def test_it_is_the_same_again_for_the_same_seed() -> None:
    instance = generated(8, 12, rng_of(1), capacity=2)
    assert foraging(instance, Random(3)) == foraging(instance, Random(3))


def test_it_is_better_than_chance_and_worse_than_a_market() -> None:
    instances = [generated(20, 20, rng_of(seed)) for seed in range(20)]
    found = sum(foraging(instance, Random(7)).value for instance in instances)
    chance = sum(float(instance.gains.mean()) * 20 for instance in instances)
    market = sum(sequential(instance).value for instance in instances)
    assert 1.1 * chance < found < 0.9 * market
