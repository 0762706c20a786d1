import math
from random import Random
from typing import Any

import pytest

from actors.errors import ConfigurationError
from coordination.protocol import Codec, Effects, ProtocolKind, Setting
from coordination.ring import HIRSCHBERG_SINCLAIR, LCR, LCR_RING, Candidate, HirschbergSinclair
from coordination.simulation.latency import Uniform
from coordination.simulation.network import NetworkSettings
from coordination.simulation.simulation import Simulation, World

DELAY_S = 0.001
BOTH = pytest.mark.parametrize("kind", [LCR_RING, HIRSCHBERG_SINCLAIR], ids=lambda kind: kind.name)


class Election:
    """One election on a ring: what it cost, the announcement apart."""

    def __init__(
        self, kind: ProtocolKind, order: tuple[int, ...], network: NetworkSettings | None = None
    ) -> None:
        world = World(kind, len(order), network or NetworkSettings(), options={"order": order})
        self.simulation = simulation = Simulation(world, 0)
        self.leaders: set[int] = set()
        simulation.watchers.append(lambda node, event, effects: self.look())
        simulation.run(stop=lambda: bool(self.leaders))
        self.messages = simulation.messages - 1  # the first of the announcement is under way
        self.delays = round(simulation.now / DELAY_S)
        simulation.run()
        self.announced = simulation.messages - self.messages
        self.all_delays = round(simulation.now / DELAY_S)

    def look(self) -> None:
        """At every step: whoever leads is the greatest, and nobody takes another for the leader."""
        for node in self.simulation.nodes:
            assert node.protocol is not None
            if node.protocol.leader is not None:
                self.leaders.add(node.protocol.leader)
        assert self.leaders <= {len(self.simulation.nodes)}

    @property
    def known(self) -> bool:
        """Whether all know the leader."""
        size = len(self.simulation.nodes)
        return all(
            node.protocol is not None and node.protocol.leader == size for node in self.simulation.nodes
        )


def up(n: int) -> tuple[int, ...]:
    return tuple(range(1, n + 1))


def shuffled(n: int, seed: int) -> tuple[int, ...]:
    order = list(up(n))
    Random(seed).shuffle(order)
    return tuple(order)


@pytest.mark.parametrize("n", range(2, 32))
def test_lcr_costs_what_its_table_says(n: int) -> None:
    best, worst = Election(LCR_RING, up(n)), Election(LCR_RING, up(n)[::-1])
    assert best.messages == 2 * n - 1
    assert worst.messages == n * (n + 1) // 2
    for election in (best, worst):
        assert (election.announced, election.delays, election.all_delays) == (n, n, 2 * n)
        assert election.known


def test_lcr_costs_n_harmonic_numbers_on_average() -> None:
    n, runs = 10, 400
    counts = [Election(LCR_RING, shuffled(n, seed)).messages for seed in range(runs)]
    expected = n * sum(1 / k for k in range(1, n + 1))
    assert min(counts) >= 2 * n - 1
    assert max(counts) <= n * (n + 1) // 2
    assert abs(sum(counts) / runs - expected) < 0.05 * expected


@pytest.mark.parametrize("n", range(2, 32))
def test_hirschberg_sinclair_stays_under_its_bounds_on_every_kind_of_ring(n: int) -> None:
    doublings = math.ceil(math.log2(n))
    for order in (up(n), up(n)[::-1], shuffled(n, 1), shuffled(n, 2)):
        election = Election(HIRSCHBERG_SINCLAIR, order)
        assert election.known
        assert election.messages <= 8 * n * (1 + doublings)
        assert election.delays <= 2 * (2**doublings - 1) + n
        assert election.announced == n


@BOTH
def test_any_order_of_delays_elects_the_greatest(kind: ProtocolKind) -> None:
    for seed in range(20):
        election = Election(kind, shuffled(9, seed), NetworkSettings(Uniform(0.0001, 0.01)))
        assert election.known, f"seed {seed}"


@BOTH
def test_one_alone_leads(kind: ProtocolKind) -> None:
    assert Election(kind, (1,)).known


class Polite(LCR):
    """A mutant: lets smaller ids pass."""

    def _receive(self, source: int, message: Any, effects: Effects) -> None:
        if isinstance(message, Candidate) and message.id != self.id:
            effects.sends.append((self.next, message, 0))
        else:
            super()._receive(source, message, effects)


def test_a_ring_that_swallows_nothing_is_found() -> None:
    polite = ProtocolKind("polite", "Polite", Polite, "none", lambda f: f + 1, "none")
    with pytest.raises(AssertionError):
        Election(polite, up(5))


def test_an_order_that_is_no_ring_is_an_error() -> None:
    with pytest.raises(ConfigurationError, match="order must hold each member once"):
        LCR(Setting(1, (1, 2, 3), Random(1), options={"order": (1, 2, 2)}))


def test_messages_survive_the_wire() -> None:
    codec = Codec(HirschbergSinclair)
    assert codec.decode(codec.encode(Candidate(3, 1, 2))) == Candidate(3, 1, 2)
