"""CBAA and CBBA: agreement in time over any network, half of the optimum, and what the sequential auction finds."""

from collections.abc import Callable

import numpy as np
import pytest

from coordination.auctions import Instance, Network, Outcome, optimum
from coordination.auctions.cbaa import cbaa
from coordination.auctions.cbba import Lists, Wants, agreed, bound, cbba, merged, released, wants_of
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


def table_one(
    i: int, k: int, own: tuple[int, int], said: tuple[int, int], newer: Callable[[int], int]
) -> str:
    """Table I of Choi, Brunet and How (2009), line by line, for one task.

    `own` and `said` are (z, y); `newer(b)` is the sign of s_kb - s_ib. Of equal bids the lower bidder's is the higher.
    """
    (zi, yi), (zk, yk) = own, said
    higher = (yk, -zk) > (yi, -zi)
    third = zk not in (i, k, -1)
    match zk:
        case _ if zk == k:
            update = zi in (k, -1) or higher or (zi != i and newer(zi) > 0)
            return "update" if update else "leave"
        case _ if zk == i:
            return "reset" if zi == k or (zi not in (i, k, -1) and newer(zi) > 0) else "leave"
        case -1:
            return "update" if zi == k or (zi not in (i, k, -1) and newer(zi) > 0) else "leave"
    assert third
    if zi == i:
        return "update" if newer(zk) > 0 and higher else "leave"
    if zi == k:
        return "update" if newer(zk) > 0 else "reset"
    if zi in (zk, -1):
        return "update" if newer(zk) > 0 else "leave"
    if newer(zk) > 0 and (newer(zi) > 0 or higher):
        return "update"
    return "reset" if newer(zi) > 0 and newer(zk) < 0 else "leave"


@pytest.mark.parametrize("seed", range(20))
def test_conflicts_are_settled_by_the_papers_table(seed: int) -> None:
    rng, bidders, tasks, i, k = rng_of(seed), 5, 200, 1, 3

    def lists() -> Lists:
        winners = rng.integers(-1, bidders, size=(1, tasks))
        bids = np.where(winners < 0, 0, rng.integers(1, 4, size=(1, tasks)))
        return Lists(bids, winners, rng.integers(0, 3, size=(1, bidders)))

    own, said = lists(), lists()
    told = merged(own, np.array([i]), said, np.array([k]))
    for task in range(tasks):
        before, heard = ((int(each.winners[0, task]), int(each.bids[0, task])) for each in (own, said))
        action = table_one(
            i, k, before, heard, lambda bidder: int(said.times[0, bidder] - own.times[0, bidder])
        )
        expected = {"update": heard, "reset": (-1, 0), "leave": before}[action]
        after = int(told.winners[0, task]), int(told.bids[0, task])
        assert after == expected, f"seed {seed}: {before} heard {heard}, which is: {action}"
    assert (told.times == np.maximum(own.times, said.times)).all()


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
