"""One run of Raft under all faults, with what campaigns leave out: compaction, reads, transfers, changes of members."""

from random import Random
from typing import Any

from coordination.checker import SafetyViolation
from coordination.machine import are_commands
from coordination.protocol import ChangeMembers, Compact, Event, Instruct, ProtocolKind, Read
from coordination.raft.checker import RaftChecker
from coordination.raft.membership import MembershipChange
from coordination.raft.messages import Campaign, TransferLeadership
from coordination.raft.raft import RAFT, Raft
from coordination.simulation.campaign import Case
from coordination.simulation.clients import Clients
from coordination.simulation.fault import Calendar, Skew, heal
from coordination.simulation.ledger import Ledger
from coordination.simulation.node import Node
from coordination.simulation.simulation import Simulation


class Meddler:
    """Does, at random times, what clients do not."""

    def __init__(self, simulation: Simulation, seed: int) -> None:
        self.simulation = simulation
        self.rng = Random(seed)
        self.reads = 0
        self.answers = 0
        self.spare = simulation.world.replicas
        simulation.watchers.append(self._watch)
        simulation.at(0.0, self._act)

    def _watch(self, node: Node, event: Event, effects: Any) -> None:
        self.answers += len(effects.reads)

    def _act(self) -> None:
        rng, simulation = self.rng, self.simulation
        node = rng.choice(simulation.nodes)
        leader = simulation.leader() or node
        if node.alive and isinstance(node.protocol, Raft):
            kind = rng.choice(("compact", "read", "read", "transfer", "change", "campaign"))
            applied = node.protocol.node.log.applied
            if kind == "compact":
                slot = rng.randint(0, applied)
                simulation.tell(node, lambda now: Compact(now, slot, ("all up to", slot)))
            elif kind == "read":
                self.reads += 1
                context = (node.id, self.reads)
                simulation.tell(rng.choice((node, leader)), lambda now: Read(now, context))
            elif kind == "transfer":
                to = rng.choice(simulation.nodes).id
                simulation.tell(leader, lambda now: Instruct(now, TransferLeadership(to)))
            elif kind == "change":
                change = self._change()
                simulation.tell(leader, lambda now: ChangeMembers(now, change))
            elif rng.random() < 0.2:
                simulation.tell(node, lambda now: Instruct(now, Campaign()))
        simulation.at(simulation.now + simulation.delay_s * rng.expovariate(0.3), self._act)

    def _change(self) -> MembershipChange:
        ids = [node.id for node in self.simulation.nodes]
        words = tuple((self.rng.choice("vvvlr"), one) for one in self.rng.sample(ids, self.rng.randint(0, 2)))
        transition = self.rng.choice(("auto", "implicit", "explicit")) if words else "auto"
        return MembershipChange(words, transition)


def storm(
    seed: int, events: int = 4000, kind: ProtocolKind = RAFT, *, skew: bool = True, **options: Any
) -> Simulation:
    """Runs one, with clocks that jump and run at other rates, or not. Raises `SafetyViolation`."""
    case = Case.drawn(kind, seed)
    world = case.world
    object.__setattr__(world, "options", {"trailing": seed % 3 * 10, **options})
    checkers = [RaftChecker(), Ledger(valid=are_commands)]
    simulation = Simulation(world, seed, checkers)
    Clients(simulation, case.load).start()
    meddler = Meddler(simulation, seed)
    faults = [fault for fault in case.faults if skew or not isinstance(fault, Skew)]
    calendar = Calendar(simulation, faults)
    simulation.run(until_s=case.horizon_s, events=events)
    calendar.clear()
    heal(simulation)
    simulation.run(until_s=simulation.now + 100 * simulation.delay_s, events=simulation.events + events)
    for checker in checkers:
        checker.finish()
    simulation.answered_reads = (meddler.reads, meddler.answers)  # type: ignore[attr-defined]  # for the tests alone
    return simulation


def first_violation(kind: ProtocolKind, seeds: range, events: int = 4000, **options: Any) -> tuple[int, str]:
    """The first seed that shows a breach, and its rule; (-1, "") if none does."""
    for seed in seeds:
        try:
            storm(seed, events, kind, **options)
        except SafetyViolation as violation:
            return seed, str(violation).partition(", broken by")[0]
    return -1, ""
