"""Mechanisms by name: each is feasible, repeatable and below the optimum; wrong names and misfits are told."""

from random import Random

import pytest

from actors import ConfigurationError
from coordination.auctions import MECHANISMS, Network, Setting, allocate, gap, optimum
from coordination.auctions.mechanism import ONE_TASK_EACH, named
from tests.coordination.auctions.markets import packed, small

EXACT = ("vcg", "combinatorial", "epsilon", "epsilon-sequential", "epsilon-gossip")


@pytest.mark.parametrize("name", MECHANISMS)
@pytest.mark.parametrize("seed", range(4))
def test_an_outcome_is_feasible_repeatable_and_no_better_than_the_optimum(name: str, seed: int) -> None:
    for instance in (small(seed), packed(seed, 3, 7)):
        if name in ONE_TASK_EACH and not instance.is_matching:
            continue
        found = allocate(name, Setting(instance, rng=Random(seed)))
        best = optimum(instance).value
        assert found == allocate(name, Setting(instance, rng=Random(seed)))
        assert found.value == instance.told(found.awards)
        assert gap(instance, found, best) >= 0
        assert gap(instance, found, best) == 0 or name not in EXACT
        assert found.rounds > 0
        assert found.bytes >= found.messages >= found.rounds or name == "foraging"


def test_names_may_be_written_in_several_ways() -> None:
    assert named("Contract_Net") == "contract-net"
    with pytest.raises(ConfigurationError, match=r"there is no 'vikrey'.*vickrey"):
        named("vikrey")


@pytest.mark.parametrize("name", ONE_TASK_EACH)
def test_what_does_not_fit_is_told_with_what_does(name: str) -> None:
    with pytest.raises(ConfigurationError, match=r"one task to a bidder.*cbba"):
        allocate(name, Setting(packed(1)))


def test_a_network_of_another_size_is_told() -> None:
    with pytest.raises(ConfigurationError, match="is over 5 bidders"):
        allocate("cbba", Setting(packed(1), Network.line(5)))
