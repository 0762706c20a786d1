"""Replicated types under faults: states only go up, name nobody's updates but those it made, and come to be equal.

Rules:
* Checked at every step: within a life a replica's state goes up, which is to say that what was is merged into what is
  without a change (of a set and of a map too: removals are upwards); no two updates share a name; and a replica that
  starts again has all the updates of its own that were acknowledged.
* Faults: loss, repetition, disorder, partitions, crashes and restarts, torn disks, pauses, slow links, skewed clocks.
* An update does what it says: a counter counts it, an element or a key is there, or gone.
* After healing updates end, all states must be equal within O(log n) rounds, and hold every acknowledged update.
"""

import math
from collections.abc import Sequence
from random import Random
from typing import Any

from coordination.checker import violated
from coordination.crdt import GCounter, LWWMap, ORSet, PNCounter
from coordination.protocol import Command, Decided, Effects, Event, Propose, Protocol, ProtocolKind, Restore
from coordination.simulation.fault import Crash, Partition
from coordination.simulation.simulation import Simulation, World
from coordination.simulation.spreading.case import (
    RELIABLE,
    Course,
    Scene,
    Spreading,
    Stage,
    faults_drawn,
    network_drawn,
)
from coordination.state_gossip import STATE_GOSSIP, State, StateGossip, StateGossipOptions

_PERIOD_DELAYS = StateGossipOptions().period_delays


class ConvergenceCourse(Course):
    """Updates at random, and follows every state."""

    def __init__(self, simulation: Simulation, rng: Random) -> None:
        super().__init__(simulation, rng)
        self._type = simulation.world.options["type"]
        empty = {
            node.id: node.protocol.state
            for node in simulation.nodes
            if isinstance(node.protocol, StateGossip)
        }
        self._states: dict[int, State] = dict(empty)
        self._pending: dict[int, list[tuple[Command, State]]] = {replica: [] for replica in empty}
        """Of the present life: updates to be acknowledged, each with the state that it made."""
        self._acknowledged: dict[int, Any] = dict(empty)
        """Of each replica: the last state of its own that an acknowledged update made."""
        self._updating = True

    def begin(self) -> None:
        """An update every round or so, as long as chaos lasts."""
        self._update_later()

    def _update_later(self) -> None:
        gap_s = self.rng.expovariate(1.0) * _PERIOD_DELAYS * self.simulation.delay_s
        self.simulation.at(self.simulation.now + gap_s, self._update)

    def _update(self) -> None:
        nodes = [node for node in self.simulation.nodes if node.alive]
        if nodes and self._updating:
            self.simulation.propose(self.rng.choice(nodes), (update_drawn(self.rng, self._type),))
        if self._updating:
            self._update_later()

    def observe(self, now: float, replica: int, protocol: Protocol, event: Event, effects: Effects) -> None:
        """As `Checker.observe`."""
        assert isinstance(protocol, StateGossip)
        before, after = self._states[replica], protocol.state
        if type(event) is Restore:
            self._pending[replica] = []
            acknowledged = self._acknowledged[replica]
            if own_updates(acknowledged, replica) > own_updates(after, replica):
                facts = {"acknowledged": acknowledged, "restored": after}
                raise violated("an acknowledged update outlives a crash", now, replica, **facts)
        elif after is not before:
            joined: Any = before
            if joined.merge(after) != after:
                raise violated("a state goes up", now, replica, before=before, after=after)
        self._states[replica] = after
        if type(event) is Propose and not effects.rejected:
            self._judge(now, replica, event.commands[0], before, after)
            self._pending[replica].append((event.commands[0], after))
        for decided in effects.decided:
            self._take(now, replica, decided)

    def _judge(self, now: float, replica: int, command: Command, before: State, after: State) -> None:
        if not acted(command, before, after):
            raise violated(
                "an update does what it says", now, replica, update=command, before=before, after=after
            )
        number = own_updates(after, replica)
        if number == own_updates(before, replica):
            return  # a removal has no name of its own
        for other, state in self._states.items():
            if other != replica and own_updates(state, replica) >= number:
                facts = {"update": command, "number": number, "known already to": other}
                raise violated("no two updates share a name", now, replica, **facts)

    def _take(self, now: float, replica: int, decided: Decided) -> None:
        command, state = self._pending[replica].pop(0)
        if (command,) != decided.commands:
            facts = {"acknowledged": decided.commands, "proposed": command}
            raise violated("updates are acknowledged in order", now, replica, **facts)
        self._acknowledged[replica] = self._acknowledged[replica].merge(state)
        self.achieved += 1

    def stages(self) -> Sequence[Stage]:
        """All are equal."""
        self._updating = False
        rounds = 20 + 4 * math.log2(len(self.simulation.nodes))
        return [
            Stage(
                "all states are equal, with every acknowledged update", self._equal, rounds * _PERIOD_DELAYS
            )
        ]

    def _equal(self) -> bool:
        first, *others = self._states.values()
        return all(state == first for state in others)

    def finish(self) -> None:
        """Nothing that was acknowledged is lost."""
        final: Any = self._states[1]
        for replica, state in self._acknowledged.items():
            if final.merge(state) != final:
                facts = {"acknowledged": state, "in the end": final}
                raise violated("an acknowledged update stays", self.simulation.now, replica, **facts)


def own_updates(state: State, replica: int) -> int:
    """How many updates of a replica a state knows: a number that each of its updates raises (a removal need not)."""
    name = str(replica)
    match state:
        case GCounter():
            return state.counts.get(name, 0)
        case PNCounter():
            return state.added.counts.get(name, 0) + state.taken.counts.get(name, 0)
        case ORSet():
            return state.versions.get(name, 0)
        case LWWMap():
            return max((entry.time for entry in state.entries.values() if entry.replica == name), default=0)


def acted(command: Command, before: State, after: State) -> bool:
    """Whether a state is what an update makes of another, as users see it."""
    what, first, *rest = command
    match before, after:
        case GCounter() | PNCounter(), GCounter() | PNCounter():
            return bool(after.value == before.value + first)
        case ORSet(), ORSet():
            return after.value == (before.value | {first} if what == "add" else before.value - {first})
        case LWWMap(), LWWMap():
            others = {key: value for key, value in before.value.items() if key != first}
            return after.value == (others | {first: rest[0]} if what == "put" else others)
    return False


def update_drawn(rng: Random, kind: str) -> Command:
    """An update of a type."""
    match kind:
        case "g-counter":
            return ("add", rng.randint(1, 5))
        case "pn-counter":
            return ("add", rng.choice((-3, -1, 1, 2)))
        case "or-set":
            return (rng.choice(("add", "add", "remove")), rng.choice((1, 2, 3, "x", "y")))
    key = rng.choice("pqr")
    return ("put", key, rng.randrange(100)) if rng.random() < 0.7 else ("remove", key)


def _scene(kind: ProtocolKind, rng: Random) -> Scene:
    network = network_drawn(rng, loss=True, duplicate=True)
    delay_s = network.latency.typical_s * 2
    replicated = rng.choice(("g-counter", "pn-counter", "or-set", "lww-map"))
    world = World(
        kind,
        rng.choice((2, 3, 5, 9)),
        network,
        disk_s=rng.choice((0.0, 0.0005, 0.003)),
        torn=rng.random() < 0.5,
        delay_s=delay_s,
        options={"type": replicated},
    )
    horizon_s = rng.choice((100, 300, 1000)) * delay_s
    faults = faults_drawn(rng, world, horizon_s, (*RELIABLE, Crash, Partition), loss=True, duplicate=True)
    return Scene(world, faults, horizon_s, ConvergenceCourse, replicated)


CONVERGENCE = Spreading(STATE_GOSSIP, _scene, "updates acknowledged")
