from collections.abc import Callable
from itertools import combinations
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.errors import ConfigurationError
from coordination.neighbour import Edge, neighbours
from coordination.protocol import Codec, Effects, Event, Protocol, Setting
from coordination.resilient_averaging import W_MSR, WMSR, Opinion, trimmed_mean
from coordination.simulation.network import NetworkSettings
from coordination.simulation.node import Node
from coordination.simulation.simulation import Simulation, World


class Liar(Protocol):
    """Says something else to each neighbour, in the rounds of the honest one inside it."""

    def __init__(self, honest: Protocol, lie: Callable[[int], float]) -> None:
        self.honest, self.lie, self.id = honest, lie, honest.id

    def handle(self, event: Event) -> Effects:
        effects = self.honest.handle(event)
        effects.sends = [(to, Opinion(said.round, self.lie(to)), token) for to, said, token in effects.sends]
        return effects


def disguise(make: Callable[[], Protocol], rng: Random, _liars: frozenset[int]) -> Protocol:
    kind = rng.randrange(3)
    constant = rng.uniform(-1e6, 1e6)
    lies: list[Callable[[int], float]] = [
        lambda to: rng.uniform(-1e3, 1e3),
        lambda to: constant,
        lambda to: 1e9 if to % 2 else -1e9,
    ]
    return Liar(make(), lies[kind])


class Hull:
    """After every round an honest value is within the honest values of the round before."""

    def __init__(self, simulation: Simulation) -> None:
        self.of_round: dict[int, dict[int, float]] = {}
        for node in simulation.honest:
            self.look(node)
        simulation.watchers.append(lambda node, event, effects: self.look(node) if node.honest else None)

    def look(self, node: Node) -> None:
        assert isinstance(node.protocol, WMSR)
        number, estimate = node.protocol.round, node.protocol.estimate
        self.of_round.setdefault(number, {})[node.id] = estimate
        before = self.of_round.get(number - 1)
        if before:
            assert min(before.values()) <= estimate <= max(before.values()), f"round {number}"

    @property
    def width(self) -> float:
        """The range of honest values at the end."""
        last = self.of_round[max(self.of_round)].values()
        return max(last) - min(last)


def run(n: int, f: int, liars: int, seed: int, *, edges: tuple[Edge, ...] = (), loss: float = 0.0) -> Hull:
    rng = Random(seed)
    values = {member: rng.uniform(0, 100) for member in range(1, n + 1)}
    world = World(
        W_MSR,
        n,
        NetworkSettings(loss=loss),
        options={"values": values, "f": f, "edges": edges, "rounds": 60},
        liars=dict.fromkeys(rng.sample(range(1, n + 1), liars), disguise),
    )
    simulation = Simulation(world, seed)
    hull = Hull(simulation)
    simulation.run()
    return hull


@pytest.mark.parametrize(("n", "f"), [(5, 1), (9, 2), (13, 3)])
def test_honest_values_stay_in_the_honest_hull_and_meet(n: int, f: int) -> None:
    for seed in range(12):
        assert run(n, f, f, seed).width < 1e-6, f"seed {seed}"


@pytest.mark.parametrize("loss", [0.1, 0.3])
def test_loss_costs_speed_and_not_safety(loss: float) -> None:
    for seed in range(8):
        assert run(9, 2, 2, seed, loss=loss).width < 1.0, f"seed {seed}"


def test_who_stood_still_for_many_rounds_meets_the_others_all_the_same() -> None:
    values = {member: float(member) for member in range(1, 6)}
    simulation = Simulation(World(W_MSR, 5, options={"values": values, "rounds": 80}), 1)
    last = simulation.nodes[4]
    simulation.pause(last)
    simulation.run(until_s=0.05)
    simulation.resume(last)
    simulation.run()
    estimates = [node.protocol.estimate for node in simulation.nodes if isinstance(node.protocol, WMSR)]
    assert max(estimates) - min(estimates) < 1e-6


def test_one_liar_too_many_breaks_the_hull() -> None:
    def broken(seed: int) -> bool:
        try:
            run(5, 1, 2, seed)
        except AssertionError:
            return True
        return False

    assert any(broken(seed) for seed in range(12))


def is_robust(edges: tuple[Edge, ...], n: int, r: int) -> bool:
    """Whether of any two disjoint groups one has a member with r neighbours outside it (LeBlanc et al. 2013)."""
    near = {member: set(others) for member, others in neighbours(edges, tuple(range(1, n + 1))).items()}
    groups = [set(group) for size in range(1, n) for group in combinations(range(1, n + 1), size)]
    reaches = [any(len(near[member] - group) >= r for member in group) for group in groups]
    stuck = [group for group, does in zip(groups, reaches, strict=True) if not does]
    return not any(one.isdisjoint(other) for one, other in combinations(stuck, 2))


def grown(n: int, r: int, seed: int) -> tuple[Edge, ...]:
    """An r-robust graph: all to all among 2r - 1, then each newcomer with r edges (preferential attachment)."""
    rng = Random(seed)
    edges = list(combinations(range(1, 2 * r), 2))
    for newcomer in range(2 * r, n + 1):
        edges += [(other, newcomer) for other in sorted(rng.sample(range(1, newcomer), r))]
    return tuple(edges)


def test_on_a_robust_graph_far_from_complete_honest_values_meet_despite_a_liar() -> None:
    for seed in range(8):
        edges = grown(9, 3, seed)
        assert is_robust(edges, 9, 3)
        assert run(9, 1, 1, seed, edges=edges).width < 1e-3, f"seed {seed}"


def test_two_groups_of_a_graph_that_is_not_robust_never_meet() -> None:
    edges = (
        *combinations(range(1, 5), 2),
        *combinations(range(5, 9), 2),
        *((one, one + 4) for one in range(1, 5)),
    )
    assert not is_robust(edges, 8, 3)
    values = {member: 0.0 if member < 5 else 1.0 for member in range(1, 9)}
    options = {"values": values, "f": 1, "edges": edges, "rounds": 60}
    simulation = Simulation(World(W_MSR, 8, options=options), 1)
    hull = Hull(simulation)
    simulation.run()
    assert hull.width == 1.0


NUMBERS = st.floats(-1e12, 1e12)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(
    own=NUMBERS, honest=st.lists(NUMBERS, max_size=9), lies=st.lists(st.floats(allow_nan=False), max_size=3)
)
def test_a_trimmed_mean_is_within_the_honest_values_whatever_the_lies(
    own: float, honest: list[float], lies: list[float]
) -> None:
    assert min([own, *honest]) <= trimmed_mean(own, [*honest, *lies], len(lies)) <= max([own, *honest])


def test_a_trimmed_mean_leaves_out_f_above_and_f_below() -> None:
    assert trimmed_mean(5.0, [1.0, 2.0, 8.0, 9.0], 1) == pytest.approx((2 + 5 + 8) / 3)
    assert trimmed_mean(5.0, [6.0], 1) == 5.0
    assert trimmed_mean(5.0, [5.0, 5.0, 8.0, 11.0], 0) == pytest.approx(34 / 5)


def test_settings_that_cannot_work_are_errors_and_too_few_replicas_too() -> None:
    with pytest.raises(ConfigurationError, match="f must be 0 or more"):
        WMSR(Setting(1, (1, 2), Random(1), options={"values": {1: 0.0, 2: 0.0}, "f": -1}))
    with pytest.raises(ConfigurationError, match="4 replicas cannot withstand 1 faulty"):
        W_MSR.check(4, 1)


def test_messages_survive_the_wire() -> None:
    codec = Codec(WMSR)
    message: Any = Opinion(3, -0.5)
    assert codec.decode(codec.encode(message)) == message
