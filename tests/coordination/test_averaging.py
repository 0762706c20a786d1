import math
from fractions import Fraction
from random import Random
from typing import Any

import numpy as np
import pytest

from actors.errors import ConfigurationError
from coordination.averaging import METROPOLIS, PUSH_SUM, Half, Metropolis, PushSum, Share, number_from
from coordination.neighbour import Edge, metropolis_weights, neighbours
from coordination.protocol import Codec, Effects, Event, ProtocolKind, Receive, Restore, Setting, Tick
from coordination.simulation.latency import Uniform
from coordination.simulation.network import NetworkSettings
from coordination.simulation.node import Node
from coordination.simulation.simulation import Simulation, World


def ring(n: int) -> tuple[Edge, ...]:
    return tuple((member, member % n + 1) for member in range(1, n + 1))


def line(n: int) -> tuple[Edge, ...]:
    return tuple((member, member + 1) for member in range(1, n))


def at_random(n: int, seed: int) -> tuple[Edge, ...]:
    """A line, so that it hangs together, and as many edges more."""
    rng = Random(seed)
    return tuple({*line(n), *(tuple(sorted(rng.sample(range(1, n + 1), 2))) for _ in range(n))})  # type: ignore[arg-type]  # pairs


def values_at_random(n: int, seed: int) -> dict[int, float]:
    rng = Random(seed)
    return {member: rng.uniform(-100, 100) for member in range(1, n + 1)}


def matrix(edges: tuple[Edge, ...], n: int) -> "np.ndarray[Any, Any]":
    near = neighbours(edges, tuple(range(1, n + 1)))
    weights = np.zeros((n, n))
    for member in near:
        for other, weight in metropolis_weights(near, member).items():
            weights[member - 1, other - 1] = weight
        weights[member - 1, member - 1] = 1 - weights[member - 1].sum()
    return weights


GRAPHS = {
    "a line": line(9),
    "an even ring": ring(10),
    "an odd ring": ring(9),
    "all to all": (),
    "a star": tuple((1, other) for other in range(2, 10)),
    "one at random": at_random(12, 1),
    "another": at_random(15, 2),
}


@pytest.mark.parametrize("edges", GRAPHS.values(), ids=GRAPHS.keys())
def test_metropolis_comes_nearer_by_the_second_eigenvalue_in_every_round(edges: tuple[Edge, ...]) -> None:
    n, rounds = max((max(edge) for edge in edges), default=8), 40
    values = values_at_random(n, 3)
    options = {"values": values, "edges": edges, "rounds": rounds}
    simulation = Simulation(World(METROPOLIS, n, NetworkSettings(Uniform(0.0001, 0.005)), options=options), 1)
    of_round: dict[int, dict[int, float]] = {0: dict(values)}

    def watch(node: Node, event: Event, effects: Effects) -> None:
        assert isinstance(node.protocol, Metropolis)
        for _to, share, _token in effects.sends:
            of_round.setdefault(share.round, {})[node.id] = share.value
        of_round.setdefault(node.protocol.round, {})[node.id] = node.protocol.estimate

    simulation.watchers.append(watch)
    simulation.run()
    lambda2 = sorted(abs(np.linalg.eigvalsh(matrix(edges, n))))[-2]
    mean = sum(values.values()) / n
    before = math.inf
    for number in range(rounds + 1):
        assert len(of_round[number]) == n
        assert abs(sum(of_round[number].values()) / n - mean) < 1e-9
        after = math.sqrt(sum((value - mean) ** 2 for value in of_round[number].values()))
        assert after <= before * (lambda2 + 1e-9) + 1e-9, f"round {number}"
        before = after
    assert simulation.messages == rounds * sum(map(len, neighbours(edges, tuple(range(1, n + 1))).values()))


def test_metropolis_takes_one_value_of_each_neighbour_a_round_and_drops_the_rest() -> None:
    values = {1: 0.0, 2: 6.0, 3: 0.0}
    replica = Metropolis(
        Setting(2, (1, 2, 3), Random(1), options={"values": values, "edges": ((1, 2), (2, 3))})
    )
    replica.handle(Restore(0.0))
    for source, share in ((1, Share(0, 3.0)), (1, Share(0, 99.0)), (9, Share(0, 9.0)), (3, Share(5, 9.0))):
        replica.handle(Receive(0.0, source, share))
    replica.handle(Receive(0.0, 3, Share(0, math.inf)))
    assert replica.round == 0
    replica.handle(Receive(0.0, 3, Share(0, 0.0)))
    assert (replica.round, replica.estimate) == (1, 3.0)


class Mass:
    """At every step: all sums and weights, those under way included, are what they were, to the last digit."""

    def __init__(self, simulation: Simulation, values: dict[int, float]) -> None:
        self.simulation = simulation
        self.total = sum(map(Fraction, values.values()), Fraction(0))
        self.sum, self.weight = Fraction(0), Fraction(0)
        simulation.watchers.append(self.watch)

    def watch(self, node: Node, event: Event, effects: Effects) -> None:
        if isinstance(event, Receive):
            self.move(event.message, -1)
        for _to, message, _token in effects.sends:
            self.move(message, 1)
        replicas = [each.protocol for each in self.simulation.nodes if isinstance(each.protocol, PushSum)]
        assert sum((Fraction(each.weight) for each in replicas), self.weight) == len(replicas)
        assert sum((Fraction(each.sum) for each in replicas), self.sum) == self.total

    def move(self, half: Half, sign: int) -> None:
        added, weight = number_from(half.sum), number_from(half.weight)
        assert isinstance(added, Fraction)
        assert isinstance(weight, Fraction)
        self.sum, self.weight = self.sum + sign * added, self.weight + sign * weight


def run_exactly(kind: ProtocolKind, n: int, seed: int) -> Simulation:
    values = values_at_random(n, seed)
    options = {"values": values, "rounds": 40, "exact": True}
    simulation = Simulation(World(kind, n, NetworkSettings(Uniform(0.0001, 0.004)), options=options), seed)
    Mass(simulation, values)
    simulation.run()
    mean = sum(values.values()) / n
    assert all(
        abs(node.protocol.estimate - mean) < 1e-3
        for node in simulation.nodes
        if isinstance(node.protocol, PushSum)
    )
    return simulation


@pytest.mark.parametrize("n", [1, 2, 7, 12])
def test_push_sum_loses_nothing_at_any_step(n: int) -> None:
    for seed in range(3):
        simulation = run_exactly(PUSH_SUM, n, seed)
        assert simulation.messages == (40 * n if n > 1 else 0)


class Generous(PushSum):
    """A mutant: sends half and keeps all."""

    def _halve(self, now: float, effects: Effects) -> None:
        before = self.weight
        super()._halve(now, effects)
        self.weight = before


def test_push_sum_that_makes_weight_is_found() -> None:
    generous = ProtocolKind("generous", "Generous", Generous, "none", lambda f: f + 1, "none")
    with pytest.raises(AssertionError):
        run_exactly(generous, 5, 1)


@pytest.mark.parametrize("n", [16, 64, 256])
def test_push_sum_takes_logarithmic_time(n: int) -> None:
    values = {member: float(member) for member in range(1, n + 1)}
    mean = (n + 1) / 2
    bound = 2.5 * (math.log2(n) + math.log2(1e6))
    for seed in range(3):
        simulation = Simulation(
            World(PUSH_SUM, n, options={"values": values, "rounds": math.ceil(bound)}), seed
        )
        simulation.run()
        for node in simulation.nodes:
            assert isinstance(node.protocol, PushSum)
            assert abs(node.protocol.estimate - mean) < 1e-6 * mean, f"seed {seed}"


def test_what_is_no_number_is_dropped() -> None:
    replica = PushSum(Setting(1, (1, 2), Random(1), options={"values": {1: 1.0, 2: 2.0}}))
    replica.handle(Restore(0.0))
    for half in (Half("1/0", "1"), Half("x", "1"), Half(math.nan, 1.0), Half(1.0, -1.0), Half(1.0, 0.0)):
        replica.handle(Receive(0.0, 2, half))
    replica.handle(Receive(0.0, 3, Half(1.0, 1.0)))
    assert (replica.sum, replica.weight) == (1.0, 1.0)


def test_fractions_may_be_longer_than_python_writes_in_decimal_and_are_not_mixed_with_floats() -> None:
    values = {1: 1.0, 2: 2.0}
    exact = PushSum(Setting(1, (1, 2), Random(1), options={"values": values, "exact": True}))
    exact.handle(Restore(0.0))
    tiny = f"1/{1 << 20_000:x}"
    exact.handle(Receive(0.0, 2, Half(tiny, tiny)))
    exact.handle(Receive(0.0, 2, Half(0.5, 0.5)))
    half = exact.handle(Tick(1.0)).sends[0][1]
    assert number_from(half.sum) == exact.sum == (1 + Fraction(1, 1 << 20_000)) / 2
    rough = PushSum(Setting(1, (1, 2), Random(1), options={"values": values}))
    rough.handle(Restore(0.0))
    rough.handle(Receive(0.0, 2, Half(f"{1 << 20_000:x}/1", "1/1")))
    assert (rough.sum, rough.weight) == (1.0, 1.0)


@pytest.mark.parametrize(("kind", "message"), [(Metropolis, Share(3, 0.1)), (PushSum, Half("1/3", 0.5))])
def test_messages_survive_the_wire(kind: Any, message: Any) -> None:
    codec = Codec(kind)
    assert codec.decode(codec.encode(message)) == message


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"values": {1: 1.0}}, "replica 2 has none. Give a number for each"),
        ({"values": {1: 1.0, 2: 2.0}, "edges": ((1, 1),)}, r"\(1, 1\) joins no two members"),
        ({"values": {1: 1.0, 2: 2.0}, "edges": ((1, 3),)}, r"\(1, 3\) joins no two members"),
        ({"values": {1: 1.0, 2: 2.0}, "rounds": 0}, "rounds is 0. Give 1 or more"),
    ],
)
def test_what_cannot_be_averaged_is_an_error(options: dict[str, Any], error: str) -> None:
    with pytest.raises(ConfigurationError, match=error):
        Metropolis(Setting(1, (1, 2), Random(1), options=options))
