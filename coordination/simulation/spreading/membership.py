"""SWIM under faults: what members hold of each other is never invented, only rises, and comes true after healing.

Rules:
* Checked at every step: a member's incarnation never falls, across restarts too; nobody holds a greater incarnation of
  a member than it gave itself; what is held of a member only goes up, by incarnation and then by status.
* Faults: loss, repetition, disorder, partitions, crashes and restarts, pauses, slow links, skewed clocks.
* After healing nobody stays declared dead: each sees each alive. Then some crash for good, and all others must see them
  dead and nobody else.
"""

import math
from collections.abc import Sequence
from random import Random
from typing import Any

from coordination.checker import violated
from coordination.protocol import Effects, Event, Protocol, ProtocolKind, Restore
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
from coordination.swim import SWIM, Status, Swim, SwimOptions

_OPTIONS = SwimOptions()


def reunion_periods(n: int) -> float:
    """Within so many periods after healing every member sees every other alive.

    Who holds others dead pings one of them every `reconnect_periods`: three such pings find somebody. Then each pair
    meets within a round of pings, accuses and is answered in the next. After a split into halves or into single members
    60 seeds of each needed less than half of it (n = 10, 2% loss: 34 of 78).
    """
    return 3 * _OPTIONS.reconnect_periods + 2 * (2 * n - 1) + suspicion_periods(n)


def detection_periods(n: int) -> float:
    """Within so many periods after a crash every member sees it: a ping, the suspicion, and as long for the news."""
    return 2 * (2 * n - 1) + 2 * suspicion_periods(n)


def suspicion_periods(n: int) -> int:
    """How long a suspect has to refute, as `SwimOptions` says."""
    return math.ceil(3 * max(1.0, math.log2(n)))


class MembershipCourse(Course):
    """Watches all that members hold of each other."""

    def __init__(self, simulation: Simulation, rng: Random) -> None:
        super().__init__(simulation, rng)
        self._given = {node.id: 0 for node in simulation.nodes}
        self._held: dict[tuple[int, int], tuple[int, int]] = {}
        self._news = True
        self._agreed = False

    def observe(self, now: float, replica: int, protocol: Protocol, event: Event, effects: Effects) -> None:
        """As `Checker.observe`."""
        assert isinstance(protocol, Swim)
        given = self._given
        if type(event) is Restore:
            for other in given:
                self._held.pop((replica, other), None)
        if type(event) is Restore or effects.records:
            if protocol.incarnation < given[replica]:
                incarnation = protocol.incarnation
                raise violated(
                    "an incarnation never falls",
                    now,
                    replica,
                    incarnation=incarnation,
                    before=given[replica],
                )
            given[replica] = protocol.incarnation
            self._news = True
        for trace in effects.trace:
            self._news = True
            member = trace.details["member"]
            statement = (trace.details["incarnation"], int(Status[trace.details["status"]]))
            if statement[0] > given[member]:
                facts: dict[str, Any] = {"member": member, "held": statement[0], "given": given[member]}
                raise violated("nobody holds an incarnation that was not given", now, replica, **facts)
            before = self._held.get((replica, member), (0, 0))
            if statement <= before:
                facts = {"member": member, "held": statement, "before": before}
                raise violated("what is held of a member goes up", now, replica, **facts)
            self._held[replica, member] = statement

    def stages(self) -> Sequence[Stage]:
        """All see all alive; some die; all others see it."""
        n = len(self.simulation.nodes)
        period_delays = _OPTIONS.period_delays
        return [
            Stage("every member sees every other alive", self._true, reunion_periods(n) * period_delays),
            Stage(
                "the living see the dead, and nobody else, dead",
                self._true,
                detection_periods(n) * period_delays,
                self._kill,
            ),
        ]

    def _kill(self) -> None:
        nodes = self.simulation.nodes
        for node in self.rng.sample(nodes, self.rng.randint(1, max(1, len(nodes) // 2))):
            self.simulation.crash(node)
            self.achieved += 1
        self._news = True

    def _true(self) -> bool:
        """Whether all that the living hold of others is true. Looked at again only when something has changed."""
        if self._news:
            self._news = False
            living = [node.id for node in self.simulation.nodes if node.alive]
            self._agreed = all(
                node.protocol.alive() == living
                for node in self.simulation.nodes
                if isinstance(node.protocol, Swim)
            )
        return self._agreed


def _scene(kind: ProtocolKind, rng: Random) -> Scene:
    network = network_drawn(rng, loss=True, duplicate=True)
    disk_s = rng.choice((0.0, 0.0005, 0.003))
    delay_s = network.latency.typical_s * 2 + disk_s
    world = World(
        kind,
        rng.choice((2, 3, 4, 5, 7, 10)),
        network,
        disk_s=disk_s,
        torn=rng.random() < 0.5,
        delay_s=delay_s,
    )
    horizon_s = rng.choice((300, 1000)) * delay_s
    faults = faults_drawn(rng, world, horizon_s, (*RELIABLE, Crash, Partition), loss=True, duplicate=True)
    return Scene(world, faults, horizon_s, MembershipCourse)


MEMBERSHIP = Spreading(SWIM, _scene, "dead members found by all")
