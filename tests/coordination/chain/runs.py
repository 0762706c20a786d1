"""Runs of the chained protocols on a network of unit delays, always under the checker."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from random import Random
from typing import Any

from coordination.byzantine_checker import ByzantineChecker
from coordination.protocol import Decided, Effects, Event, Protocol, ProtocolKind, Restore
from coordination.simulation.latency import Constant
from coordination.simulation.network import NetworkSettings
from coordination.simulation.node import Node
from coordination.simulation.simulation import Simulation, World


@dataclass
class Run:
    """A simulation, what its replicas sent and when each decided what. Replicas are 1 to n; a delay is one second."""

    simulation: Simulation
    checker: ByzantineChecker
    sent: list[tuple[float, int, int, Any]] = field(default_factory=list)
    """(time, from, to, message), of messages between different replicas."""
    decided: dict[int, list[Decided]] = field(default_factory=dict)
    """Of each replica, in its present life."""
    known_at: dict[int, dict[Any, float]] = field(default_factory=dict)
    """Of each replica, when it first knew each command to be decided."""
    rejected: list[Any] = field(default_factory=list)
    installed: list[tuple[int, int]] = field(default_factory=list)

    def watch(self, node: Node, event: Event, effects: Effects) -> None:
        now = self.simulation.now
        if isinstance(event, Restore):
            self.decided[node.id] = []
        for to, message, _ in effects.sends:
            if to != node.id:
                self.sent.append((now, node.id, to, message))
        self.decided.setdefault(node.id, []).extend(effects.decided)
        known = self.known_at.setdefault(node.id, {})
        for one in effects.decided:
            for command in one.commands:
                known.setdefault(command, now)
        self.rejected.extend(effects.rejected)
        if effects.installed is not None:
            self.installed.append((node.id, effects.installed.slot))

    def propose(self, replica: int, *commands: Any) -> None:
        self.simulation.propose(self.node(replica), commands)

    def node(self, replica: int) -> Node:
        return self.simulation.nodes[replica - 1]

    def protocol(self, replica: int) -> Any:
        protocol: Protocol | None = self.node(replica).protocol
        assert protocol is not None
        return protocol

    def commands(self, replica: int) -> list[Any]:
        return [command for one in self.decided.get(replica, []) for command in one.commands]

    def pass_by(self, seconds: float) -> None:
        self.simulation.run(until_s=self.simulation.now + seconds, events=self.simulation.events + 300_000)

    def finish(self) -> None:
        """Goes on until nothing is left to happen: a chain without work goes quiet."""
        limit = self.simulation.events + 50_000
        self.simulation.run(events=limit)
        assert self.simulation.events < limit, self.simulation.whereabouts()

    def until(self, done: Callable[[], bool], seconds: float = 10_000.0) -> float:
        """Goes on until a condition holds; how long that took. Fails if it does not hold in time."""
        began = self.simulation.now
        self.simulation.run(until_s=began + seconds, events=self.simulation.events + 300_000, stop=done)
        assert done(), self.simulation.whereabouts()
        return self.simulation.now - began

    def know(self, command: Any, *replicas: int) -> bool:
        """Whether these replicas (all live honest ones by default) know the command to be decided."""
        asked = replicas or tuple(node.id for node in self.simulation.honest if node.alive)
        return all(command in self.commands(replica) for replica in asked)

    def isolate(self, *replicas: int) -> None:
        others = [node.place for node in self.simulation.nodes if node.id not in replicas]
        self.simulation.network.partition([[replica - 1 for replica in replicas], others])
        self.simulation.network_changed()

    def heal(self) -> None:
        self.simulation.network.heal()
        self.simulation.network_changed()

    def count(self, kind: type[Any], since: float = 0.0) -> int:
        return sum(1 for at, _, _, message in self.sent if type(message) is kind and at >= since)


def begin(
    kind: ProtocolKind,
    n: int = 4,
    *,
    seed: int = 0,
    options: Mapping[str, Any] | None = None,
    latency_s: float = 1.0,
    **world: Any,
) -> Run:
    """Replicas of a protocol, started. Without `heartbeat`, unless the options have one, a quiet chain ends the run."""
    settings = {"heartbeat": 0.0, **(options or {})}
    network = NetworkSettings(Constant(latency_s), loss=world.pop("loss", 0.0))
    described = World(kind, n, network, options=settings, **{"delay_s": 1.0, "batch": 10, **world})
    checker = ByzantineChecker.of(described)
    simulation = Simulation(described, seed, [checker])
    run = Run(simulation, checker)
    for node in simulation.nodes:
        run.decided[node.id] = []
    simulation.watchers.append(run.watch)
    return run


def storm(kind: ProtocolKind, seed: int, rounds: int = 80) -> Run:
    """Half a hundred crashes and cuts, of the leader more often than not, on a lossy network with slow disks."""
    rng = Random(seed)
    options = {"heartbeat": 20.0} if rng.random() < 0.5 else {"heartbeat": 20.0, **_hurried(kind)}
    run = begin(
        kind, 4, seed=seed, loss=0.05, disk_s=rng.choice((0.0, 0.4)), torn=True, delay_s=1.5, options=options
    )
    ids = [1, 2, 3, 4]
    for index in range(rounds):
        run.propose(rng.choice(ids), f"{index}")
        run.pass_by(rng.random() * 5)
        leader = run.simulation.leader()
        victim = leader.id if leader is not None and rng.random() < 0.6 else rng.choice(ids)
        match rng.choice(("crash", "cut", "half", "nothing")):
            case "crash":
                run.simulation.crash(run.node(victim))
                run.pass_by(rng.random() * 3)
                run.simulation.restart(run.node(victim))
            case "cut":
                run.isolate(victim)
                run.pass_by(rng.random() * 12)
                run.heal()
            case "half":
                heard = rng.choice([replica for replica in ids if replica != victim])
                run.simulation.network.blocked = {
                    (victim - 1, other - 1) for other in ids if other not in (victim, heard)
                }
                run.simulation.network_changed()
                run.pass_by(rng.random() * 12)
                run.heal()
            case _:
                pass
    run.propose(1, "last")
    run.until(lambda: run.know("last"), 2000.0)
    run.checker.finish()
    return run


def _hurried(kind: ProtocolKind) -> dict[str, Any]:
    """Options with which views change often, where there are views."""
    return {} if kind.name == "streamlet" else {"patience": 2.5, "span": 2}
