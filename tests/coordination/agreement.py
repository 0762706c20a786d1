"""What the tests of PBFT, Tendermint and the randomised protocols share."""

from collections.abc import Callable, Sequence
from typing import Any

from coordination.byzantine_checker import ByzantineChecker
from coordination.checker import Checker
from coordination.pbft.replica import PBFT
from coordination.protocol import Decided, ProtocolKind
from coordination.randomised.kind import BEN_OR, BEN_OR_BYZANTINE, COIN_AGREEMENT
from coordination.simulation.latency import Constant
from coordination.simulation.ledger import Ledger
from coordination.simulation.network import NetworkSettings
from coordination.simulation.node import Node
from coordination.simulation.simulation import Simulation, World
from coordination.tendermint.replica import TENDERMINT

KINDS = (PBFT, TENDERMINT, BEN_OR, BEN_OR_BYZANTINE, COIN_AGREEMENT)
SIGNED = (PBFT, TENDERMINT)


def name_of(kind: ProtocolKind) -> str:
    return kind.name


def unit(kind: ProtocolKind, n: int, **more: Any) -> World:
    """A network on which each message takes one second, and replicas that are in no hurry."""
    return World(kind, n, NetworkSettings(Constant(1.0)), **{"delay_s": 10.0, **more})


def checkers(world: World) -> Sequence[Checker]:
    """All that watches a run of this kind."""
    ledger: Checker = Ledger(only_proposed=not (world.liars or world.twins))
    signed = world.kind.faults == "byzantine" and world.kind.reader is not None
    liars = {*world.liars, *world.twins}
    return [ledger, ByzantineChecker(world.kind, world.members(), liars)] if signed else [ledger]


class Run:
    """A simulation and what each machine decided in it."""

    def __init__(self, world: World, seed: int = 0, watching: Sequence[Checker] | None = None) -> None:
        self.decided: dict[int, list[Decided]] = {}
        self.decided_at: dict[int, dict[int, float]] = {}
        self.simulation = Simulation(world, seed, checkers(world) if watching is None else watching)
        self.simulation.watchers.append(self._watch)
        self.simulation.run(until_s=0.0)

    def _watch(self, node: Node, _event: Any, effects: Any) -> None:
        for one in effects.decided:
            self.decided.setdefault(node.place, []).append(one)
            self.decided_at.setdefault(node.place, {}).setdefault(one.slot, self.simulation.now)

    @property
    def nodes(self) -> list[Node]:
        return self.simulation.nodes

    def leader(self) -> Node:
        found = self.simulation.leader()
        assert found is not None, "nobody leads"
        return found

    def propose(self, *commands: Any, at: Node | None = None) -> None:
        self.simulation.propose(at or self.leader(), commands)

    def commands(self, place: int) -> list[Any]:
        return [command for one in self.decided.get(place, ()) for command in one.commands]

    def until(self, done: Callable[[], bool], within_s: float) -> bool:
        """Runs until something holds; False if it does not in time."""
        ends = self.simulation.now + within_s
        self.simulation.run(until_s=ends, stop=done)
        return done()

    def until_all_have(self, count: int, within_s: float, among: Sequence[Node] | None = None) -> bool:
        """Runs until all these (by default, the honest) have decided so many commands."""
        nodes = self.simulation.honest if among is None else among
        return self.until(lambda: all(len(self.commands(node.place)) >= count for node in nodes), within_s)
