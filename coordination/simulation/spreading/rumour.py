"""Gossip under faults: each rumour at most once in a life, as it was told, and after healing all hear.

Rules:
* Checked at every step: a replica delivers a rumour once in each of its lives, its slots have no gaps, and what it
  delivers is what the origin told under that id. No two rumours share an id, also across the origin's restarts.
* Faults: loss, repetition, disorder, partitions, crashes and restarts, pauses, slow links, skewed clocks.
* After healing `TOLD` rumours are told, one after another, and all members must have heard each. Karp et al. promise
  this with high probability, not for certain: a rumour that somebody missed is told once more under a new id, as their
  users must do, and at most `AGAIN` times in all.
"""

from collections.abc import Sequence
from random import Random
from typing import Any

from coordination.checker import violated
from coordination.gossip import GOSSIP, GossipOptions, RumourId
from coordination.protocol import Effects, Event, Propose, Protocol, ProtocolKind, Restore
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

TOLD = 5
AGAIN = 3
"""How often the rumours after healing may be told again, in all."""
PERIOD_DELAYS = GossipOptions().period_delays


class RumourCourse(Course):
    """Tells rumours now and then, and follows each."""

    def __init__(self, simulation: Simulation, rng: Random) -> None:
        super().__init__(simulation, rng)
        self._told: dict[RumourId, Any] = {}
        self._heard: dict[int, set[RumourId]] = {node.id: set() for node in simulation.nodes}
        """In each replica's present life."""
        self._elsewhere: set[RumourId] = set()
        """Rumours that others than their origins have delivered."""
        self._news: dict[Any, set[int]] = {}
        """Who has heard the rumour of the present stage, under each payload that it was told with."""
        self._count = 0
        self._again = 0

    def begin(self) -> None:
        """A rumour every few rounds, as long as chaos lasts."""
        self._tell_later()

    def _tell_later(self) -> None:
        gap_s = self.rng.expovariate(1.0) * 4 * PERIOD_DELAYS * self.simulation.delay_s
        self.simulation.at(self.simulation.now + gap_s, self._tell)

    def _tell(self) -> None:
        nodes = [node for node in self.simulation.nodes if node.alive]
        if nodes and not self._news:
            self._count += 1
            self.simulation.propose(self.rng.choice(nodes), (f"rumour {self._count}",))
            self._tell_later()

    def observe(self, now: float, replica: int, protocol: Protocol, event: Event, effects: Effects) -> None:
        """As `Checker.observe`."""
        if type(event) is Restore:
            self._heard[replica] = set()
        if not effects.decided:
            return
        heard = self._heard[replica]
        for decided in effects.decided:
            rumour, payload = decided.proof, decided.commands[0]
            if rumour in heard:
                raise violated("a rumour is delivered once", now, replica, rumour=rumour)
            heard.add(rumour)
            if decided.slot != len(heard):
                raise violated("slots have no gaps", now, replica, slot=decided.slot, expected=len(heard))
            if type(event) is Propose:
                if rumour in self._elsewhere:
                    raise violated("no two rumours share an id", now, replica, rumour=rumour)
                self._told[rumour] = payload
            elif rumour not in self._told or self._told[rumour] != payload:
                told = self._told.get(rumour)
                raise violated("a rumour is as it was told", now, replica, heard=payload, told=told)
            else:
                self._elsewhere.add(rumour)
            if payload in self._news:
                self._news[payload].add(replica)

    def stages(self) -> Sequence[Stage]:
        """Rumours that all must hear."""
        # Much longer than any rumour lives: all know it, or nobody spreads it any more.
        wait_delays = (20 + 2 * len(self.simulation.nodes)) * PERIOD_DELAYS

        def news() -> None:
            self._news = {}
            self._tell_news(wait_delays * self.simulation.delay_s)

        goal, bound_delays = "all have heard a rumour told after healing", (AGAIN + 1) * wait_delays
        return [Stage(goal, self._known, bound_delays, news)] * TOLD

    def _tell_news(self, wait_s: float) -> None:
        self._count += 1
        payload = f"news {self._count}"
        self._news[payload] = set()
        self.simulation.propose(self.rng.choice(self.simulation.nodes), (payload,))

        def again() -> None:
            if payload in self._news and not self._known() and self._again < AGAIN:
                self._again += 1
                self._tell_news(wait_s)

        self.simulation.at(self.simulation.now + wait_s, again)

    def _known(self) -> bool:
        return any(len(heard) == len(self.simulation.nodes) for heard in self._news.values())

    def finish(self) -> None:
        """Counts what was reached."""
        self.achieved = TOLD


def _scene(kind: ProtocolKind, rng: Random) -> Scene:
    network = network_drawn(rng, loss=True, duplicate=True)
    delay_s = network.latency.typical_s * 2
    world = World(
        kind,
        rng.choice((2, 3, 5, 8, 13, 21)),
        network,
        disk_s=rng.choice((0.0, 0.0005, 0.003)),
        torn=rng.random() < 0.5,
        delay_s=delay_s,
    )
    horizon_s = rng.choice((100, 300, 1000)) * delay_s
    faults = faults_drawn(rng, world, horizon_s, (*RELIABLE, Crash, Partition), loss=True, duplicate=True)
    return Scene(world, faults, horizon_s, RumourCourse)


RUMOURS = Spreading(GOSSIP, _scene, "rumours told to all after healing")
