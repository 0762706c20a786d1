"""Bertsekas' auction: exact for integers, within n eps otherwise, whatever the order, width, shape or network."""

from dataclasses import replace

import numpy as np
import pytest

from actors import ConfigurationError
from coordination.auctions import Instance, Network, optimum
from coordination.auctions import epsilon as module
from coordination.auctions.epsilon import Market, Order, Whole, assign, epsilon_auction
from coordination.auctions.gossip_epsilon import gossip_epsilon
from coordination.auctions.instance import generated
from coordination.auctions.rows import Hashed, Kept
from tests.coordination.auctions.markets import network, orlib, rng_of, small


@pytest.mark.parametrize("order", ["jacobi", "gauss-seidel"])
@pytest.mark.parametrize("seed", range(60))
def test_integers_are_solved_exactly(order: Order, seed: int) -> None:
    instance = small(seed, most=20, highest=[2, 30, 10**6][seed % 3])
    best = optimum(instance).value
    for scaling in (True, seed % 3 == 2):
        assert epsilon_auction(instance, order=order, scaling=scaling).value == best, f"seed {seed}"


@pytest.mark.parametrize("seed", range(40))
def test_it_is_within_n_times_epsilon(seed: int) -> None:
    instance = small(seed, most=20)
    n = max(instance.gains.shape)
    for epsilon in (0.5, 2.0, 10.0):
        found = epsilon_auction(instance, epsilon=epsilon)
        assert found.value >= optimum(instance).value - n * epsilon, f"seed {seed}"


@pytest.mark.parametrize("seed", range(30))
def test_nobody_pays_more_than_its_gain_and_epsilon(seed: int) -> None:
    instance = small(seed, most=15)
    links = Network.complete(instance.bidders)
    for found in (
        epsilon_auction(instance),
        epsilon_auction(instance, epsilon=2.0),
        gossip_epsilon(instance, links),
    ):
        for task, bidder in found.awards.items():
            assert 0 <= found.payments[bidder] <= instance.gains[bidder, task] + 2.0


def test_a_coarse_epsilon_does_miss_the_optimum() -> None:
    """So the tests above could fail."""
    missed = [s for s in range(40) if epsilon_auction(small(s), epsilon=10.0).value < optimum(small(s)).value]
    assert len(missed) > 5


def test_the_library_is_solved() -> None:
    (instance,) = orlib("assign100.txt")
    assert epsilon_auction(instance).value == 305
    assert epsilon_auction(instance, order="gauss-seidel", scaling=False).value == 305
    coarse = [
        epsilon_auction(instance, order="gauss-seidel", scaling=False, epsilon=e).value for e in (5, 1, 0.5)
    ]
    assert coarse == sorted(coarse, reverse=True)
    assert coarse[0] < 305 + 100 * 5
    assert gossip_epsilon(instance, Network.complete(100)).value == 305


def test_a_market_of_700_is_solved_exactly() -> None:
    instance = generated(700, 700, rng_of(1), highest=1000)
    assert epsilon_auction(instance).value == optimum(instance).value


@pytest.mark.parametrize("highest", [3, 1000])
def test_a_narrow_view_misses_nothing(highest: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "WIDTH", 4)
    rows = Hashed(120, highest, seed=7)
    market = assign(rows)
    assert market.width == 4
    gains = rows.of(np.arange(120))
    assert market.gain() == optimum(Instance(gains)).value
    assert 0 <= market.bound() - market.gain() < 1


class Careless(Market):
    """Believes that what is out of view is worth less than it is: the mutant that the test above must catch."""

    def _look(self, bidders: Whole) -> None:
        super()._look(bidders)
        self.beyond[bidders] -= 200 * self.scale


def test_a_view_that_is_renewed_too_late_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "WIDTH", 4)
    monkeypatch.setattr(module, "Market", Careless)
    market = assign(Hashed(120, 1000, seed=7))
    assert market.bound() - market.gain() > 1


def test_the_bound_is_one_at_any_prices() -> None:
    instance = generated(15, 15, rng_of(2))
    market = Market(Kept(instance.gains), 16, 15)
    for seed in range(20):
        market.prices[:] = rng_of(seed).integers(0, 1600, size=15)
        assert market.bound() >= optimum(instance).value


def test_rows_are_the_same_each_time_and_uniform() -> None:
    rows = Hashed(400, 10, seed=3)
    whole = rows.of(np.arange(400))
    assert (rows.of(np.array([7, 390])) == whole[[7, 390]]).all()
    assert whole.min() == 1
    assert whole.max() == 10
    shares = np.bincount(whole.ravel(), minlength=11)[1:] / whole.size
    assert abs(shares - 0.1).max() < 0.005
    assert abs(np.corrcoef(whole[:-1].ravel(), whole[1:].ravel())[0, 1]) < 0.01
    assert (replace(rows, seed=4).of(np.array([0])) != whole[:1]).any()


@pytest.mark.parametrize("seed", range(25))
def test_without_an_auctioneer_it_is_exact_too(seed: int) -> None:
    instance = small(seed, most=8, highest=30)
    links = network(seed, instance.bidders)
    assert gossip_epsilon(instance, links).value == optimum(instance).value, f"seed {seed}"


@pytest.mark.parametrize("seed", range(10))
def test_without_an_auctioneer_it_is_within_n_times_epsilon(seed: int) -> None:
    instance = small(seed, most=8)
    found = gossip_epsilon(instance, network(seed, instance.bidders), epsilon=3.0)
    assert found.value >= optimum(instance).value - 3 * max(instance.gains.shape)


@pytest.mark.parametrize("epsilon", [0.0, -1.0, 1e-9])
def test_an_epsilon_that_buys_nothing_is_refused(epsilon: float) -> None:
    with pytest.raises(ConfigurationError, match="Leave it out"):
        epsilon_auction(small(1), epsilon=epsilon)
    with pytest.raises(ConfigurationError, match="Leave it out"):
        gossip_epsilon(small(1), Network.complete(small(1).bidders), epsilon=epsilon)


def test_gains_that_are_not_whole_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="Multiply and round"):
        epsilon_auction(Instance(np.array([[0.5]])))
