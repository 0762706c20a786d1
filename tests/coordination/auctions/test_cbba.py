"""CBAA and CBBA: agreement in time over any network, half of the optimum, and what the sequential auction finds."""

from collections.abc import Callable

import numpy as np
import pytest

from coordination.auctions import Instance, Network, Outcome, optimum
from coordination.auctions.cbaa import cbaa
from coordination.auctions.cbba import Wants, agreed, bound, cbba, released, wants_of
from coordination.auctions.instance import generated
from coordination.auctions.single_items import sequential
from tests.coordination.auctions.markets import network, orlib, packed, rng_of, small


@pytest.mark.parametrize("seed", range(60))
def test_cbba_agrees_in_time_on_half_of_the_optimum_or_more(seed: int) -> None:
    rng = rng_of(seed)
    bidders, tasks = int(rng.integers(1, 12)), int(rng.integers(1, 16))
    highest = int(rng.choice([3, 100, 10**6]))
    instance = generated(bidders, tasks, rng, highest=highest, capacity=int(rng.integers(1, 5)))
    links = network(seed, bidders)
    found = cbba(instance, links)
    assert found.value >= optimum(instance).value / 2, f"seed {seed}"
    assert found.rounds <= bound(instance, links), f"seed {seed}"
    assert found.value == sequential(instance).value, f"seed {seed}"
    assert found.messages == found.rounds * links.links


@pytest.mark.parametrize("mechanism", [cbaa, cbba])
@pytest.mark.parametrize("seed", range(30))
def test_a_matching_is_agreed_on(mechanism: Callable[[Instance, Network], Outcome], seed: int) -> None:
    instance = small(seed, highest=20)
    links = network(seed, instance.bidders)
    found = mechanism(instance, links)
    assert found.value >= optimum(instance).value / 2
    assert found.rounds <= min(instance.tasks, instance.bidders) * links.diameter
    assert found.value == sequential(instance).value


@pytest.mark.parametrize("seed", range(20))
def test_cbba_agrees_where_tasks_take_room(seed: int) -> None:
    instance = packed(seed)
    assert cbba(instance, network(seed, 4)).value > 0


def test_the_library_on_a_line_and_on_a_complete_network() -> None:
    (instance,) = orlib("assign100.txt")
    best = instance.gain(optimum(instance).awards)
    for links, rounds in ((Network.complete(100), 10), (Network.line(100), 320)):
        for mechanism in (cbaa, cbba):
            found = mechanism(instance, links)
            assert found.value <= 586
            assert instance.gain(found.awards) / best >= 0.97
            assert found.rounds <= rounds


def test_all_believe_what_each_holds_at_the_end() -> None:
    instance = generated(6, 10, rng_of(5), capacity=2)
    run = agreed([wants_of(instance, bidder) for bidder in range(6)], Network.line(6), limit=100)
    for bidder, bundle in enumerate(run.bundles):
        assert set(np.flatnonzero(run.lists.winners[0] == bidder)) == set(bundle)


def test_who_loses_a_task_releases_those_added_after_it() -> None:
    bids, winners = np.array([5, 6, 7, 8]), np.array([0, 1, 0, 0])
    assert released(0, [0, 1, 2, 3], bids, winners) == [0]
    assert bids.tolist() == [5, 6, 0, 0]
    assert winners.tolist() == [0, 1, -1, -1]
    assert released(0, [0], bids, winners) == [0]


@pytest.mark.parametrize("seed", range(10))
def test_bidders_that_tire_share_work_out_evenly(seed: int) -> None:
    rng = rng_of(seed)
    sizes = np.sort(rng.integers(1, 50, size=24))[::-1].copy()
    wants = [Wants(bidder, 10_000 - sizes, sizes, 1e9, tires=True) for bidder in range(4)]
    run = agreed(wants, network(seed, 4), limit=500)
    loads = [int(sizes[bundle].sum()) for bundle in run.bundles]
    assert sorted(task for bundle in run.bundles for task in bundle) == list(range(24))
    assert max(loads) - min(loads) <= sizes.max()
