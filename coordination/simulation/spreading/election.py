"""Elections under faults: the greatest leads, two leaders never last, and on a ring there is one for ever.

Rules:
* Bully, at every step: a smaller leader steps down within one delay of a greater one's taking over; and when nobody
  has crashed or started for `CALM_DELAYS`, whoever acts knows the greatest live id as its leader. Its model is a
  synchronous network, so its faults are crashes and restarts alone, with delays of any length up to the bound.
* Rings, at every step: nobody ever takes another than the greatest id for the leader, and messages stay within the
  formula. Their model is reliable links and no crashes: the faults are delays, disorder, repetition, pauses and skewed
  clocks. After healing all know the leader. A ring is quiet then.
"""

import math
from collections.abc import Sequence
from random import Random

from coordination.bully import BULLY, BullyOptions
from coordination.checker import violated
from coordination.protocol import Effects, Event, Protocol, ProtocolKind, Restore
from coordination.ring import HIRSCHBERG_SINCLAIR, LCR_RING
from coordination.simulation.fault import Crash, Fault, Heal
from coordination.simulation.latency import Constant, Latency, Uniform
from coordination.simulation.network import NetworkSettings
from coordination.simulation.node import Node
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

CALM_DELAYS = 2 * BullyOptions().heartbeat_delays + 2 + 7
"""A dead leader is missed after two heartbeats, the last of them and the first election a delay each; then come at most
five delays of waiting for a leader to speak up, and two of an election that succeeds."""
_AWAY_DELAYS = 60
"""A replica that crashed in the chaos may start again so much later, as was planned, and calm begin anew."""
_SLACK = 1.01
"""Time-outs are a little more than the bound."""


class BullyCourse(Course):
    """Watches who leads."""

    def __init__(self, simulation: Simulation, rng: Random) -> None:
        super().__init__(simulation, rng)
        self._leading: dict[int, float] = {}
        """Since when each live replica takes itself for the leader."""
        self._lives = 0
        self._greatest = 0
        self._calm_at = 0.0

    def observe(self, now: float, replica: int, protocol: Protocol, event: Event, effects: Effects) -> None:
        """As `Checker.observe`."""
        nodes, delay_s = self.simulation.nodes, self.simulation.delay_s * _SLACK
        lives = sum(node.life for node in nodes)  # a crash counts one, and a start
        if lives != self._lives:
            self._lives = lives
            self._greatest = max(node.id for node in nodes if node.alive)
            self._calm_at = now + CALM_DELAYS * delay_s
            self._leading = {one: since for one, since in self._leading.items() if nodes[one - 1].alive}
        leader = protocol.leader
        if leader != replica or type(event) is Restore:
            self._leading.pop(replica, None)
        if leader == replica and replica not in self._leading:
            self._leading[replica] = now
            self.achieved += 1
        if len(self._leading) > 1:
            last, since = max(self._leading.items())
            for smaller in self._leading:
                if smaller != last and now > since + delay_s:
                    facts = {"leads too": last, "since": since}
                    raise violated("of two leaders the smaller steps down", now, smaller, **facts)
        if now > self._calm_at and leader != self._greatest:
            raise violated("the greatest live id leads", now, replica, leader=leader, greatest=self._greatest)

    def stages(self) -> Sequence[Stage]:
        """The greatest leads; it dies, and the next does; and so again."""
        goal = "every live replica knows the greatest live id as its leader"
        bound_delays = (CALM_DELAYS + _AWAY_DELAYS) * _SLACK
        deaths = min(2, len(self.simulation.nodes) - 1)
        return [
            Stage(goal, self._one_leads, bound_delays),
            *[Stage(goal, self._one_leads, bound_delays, self._kill)] * deaths,
        ]

    def _kill(self) -> None:
        self.simulation.crash(max(self._living(), key=lambda node: node.id))

    def _living(self) -> list[Node]:
        return [node for node in self.simulation.nodes if node.alive]

    def _one_leads(self) -> bool:
        living = self._living()
        return all(node.protocol is not None and node.protocol.leader == living[-1].id for node in living)


class RingCourse(Course):
    """Watches who is taken for the leader, and what it costs."""

    def __init__(self, simulation: Simulation, rng: Random) -> None:
        super().__init__(simulation, rng)
        n = len(simulation.nodes)
        self._greatest = n
        self._known = 0
        doubled = simulation.network.duplicate > 0  # a repeated message is answered again
        if simulation.world.kind.name == LCR_RING.name:
            bound = n * (n + 1) // 2
        else:
            bound = 8 * n * (1 + math.ceil(math.log2(n)))
        self._most_messages = math.inf if doubled else bound + n

    def observe(self, now: float, replica: int, protocol: Protocol, event: Event, effects: Effects) -> None:
        """As `Checker.observe`."""
        leader = protocol.leader
        if leader is not None and leader != self._greatest:
            raise violated("the greatest id leads, and nobody else ever", now, replica, leader=leader)
        if self.simulation.messages > self._most_messages:
            facts = {"messages": self.simulation.messages, "bound": self._most_messages}
            raise violated("messages stay within the formula", now, replica, **facts)

    def stages(self) -> Sequence[Stage]:
        """All know the leader."""
        n = len(self.simulation.nodes)
        hops = 2 * (2 ** math.ceil(math.log2(n)) - 1) + 2 * n
        return [Stage("all know the leader", self._all_know, 8 * hops)]  # a message may take several delays

    def _all_know(self) -> bool:
        return all(
            node.protocol is not None and node.protocol.leader == self._greatest
            for node in self.simulation.nodes
        )

    def finish(self) -> None:
        """One leader is elected in a run."""
        self.achieved = 1


def _bully_scene(kind: ProtocolKind, rng: Random) -> Scene:
    latency: Latency = rng.choice((Constant(0.001), Uniform(0.0, 0.001), Uniform(0.0009, 0.001)))
    delay_s = latency.typical_s * rng.choice((1.0, 1.0, 2.0))
    world = World(kind, rng.choice((2, 3, 4, 5, 7, 9)), NetworkSettings(latency), delay_s=delay_s)
    horizon_s = rng.choice((1000, 4000)) * delay_s
    gap = rng.choice((3, 15, 60)) * delay_s
    faults: list[Fault] = []
    now = rng.random() * gap
    while now < horizon_s:
        target = rng.choice(("leader", "random", rng.randint(1, world.replicas)))
        faults.append(
            Crash(now, target, rng.choice((0.5, 3, 10, _AWAY_DELAYS / 1.5)) * delay_s * (0.5 + rng.random()))
        )
        now += rng.expovariate(1.0) * gap
    return Scene(world, [*faults, Heal(horizon_s)], horizon_s, BullyCourse)


def _ring_scene(kind: ProtocolKind, rng: Random) -> Scene:
    network = network_drawn(rng, loss=False, duplicate=True)
    delay_s = network.latency.typical_s * 2
    n = rng.choice((2, 3, 5, 8, 17, 33, 64))
    order = list(range(1, n + 1))
    rng.shuffle(order)
    world = World(kind, n, network, delay_s=delay_s, options={"order": tuple(order)})
    horizon_s = rng.choice((10, 40, 100)) * delay_s
    faults = faults_drawn(rng, world, horizon_s, RELIABLE)
    return Scene(world, faults, horizon_s, RingCourse, f"order {order}")


BULLYING = Spreading(BULLY, _bully_scene, "leaders elected")
LCR_ELECTION = Spreading(LCR_RING, _ring_scene, "leaders elected")
HIRSCHBERG_SINCLAIR_ELECTION = Spreading(HIRSCHBERG_SINCLAIR, _ring_scene, "leaders elected")
