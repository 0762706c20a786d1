"""Averaging under faults: sums are kept to the last digit, errors shrink as the theory says, liars move nobody out.

Rules:
* Metropolis, at every round that all have finished: the values sum to what they summed to at first, and their distance
  from the mean is at most lambda2 + 1e-9 of that of the round before. Faults: delays, disorder, repetition, pauses.
* Push-sum, at every step, in fractions: what a replica holds after an event is what it held before, plus what came,
  less what it sent; all that is held and under way sums to the first sum, and the weights to n. Faults: delays,
  disorder, pauses, skewed clocks; no repetition, by its own rules. After healing every estimate comes near the mean.
* W-MSR, at every step: an honest estimate lies within its last value and the honest values that came since, whatever up
  to f liars say. Faults: those, and loss, repetition, disorder, partitions, pauses, slow
  links, skewed clocks. After healing the honest values meet.
* Metropolis and push-sum have a last round: then they are quiet.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from random import Random
from typing import Any

import numpy as np

from coordination.averaging import METROPOLIS, PUSH_SUM, Half, Metropolis, PushSum, Share, number_from
from coordination.checker import violated
from coordination.neighbour import Edge, metropolis_weights, neighbours
from coordination.protocol import Effects, Event, Protocol, ProtocolKind, Receive, Tick
from coordination.resilient_averaging import W_MSR, WMSR, Opinion
from coordination.simulation.campaign import EVENTS
from coordination.simulation.fault import Partition
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

NEARER = 1e-3
"""After the bound the error is at most this share of what it was at first."""
_ROUND_DELAYS = 10.0
"""A round of Metropolis after healing takes no longer: a held-back message is five times the bound late."""
_PERIOD_DELAYS = 2.0


class MetropolisCourse(Course):
    """Follows the values of every round."""

    def __init__(self, simulation: Simulation, rng: Random) -> None:
        super().__init__(simulation, rng)
        options = simulation.world.options
        members = simulation.world.members()
        self._shrinks = second_eigenvalue(options["edges"], members)
        self._rounds = {0: dict(options["values"])}
        """Of rounds that some have and some have not: the values."""
        self._mean = math.fsum(options["values"].values()) / len(members)
        self._scale: float = max(map(abs, options["values"].values()))
        self._first = self._last = self._error(self._rounds[0])
        self._most = options["rounds"]

    def _error(self, values: Mapping[int, float]) -> float:
        return math.sqrt(math.fsum((value - self._mean) ** 2 for value in values.values()))

    def observe(self, now: float, replica: int, protocol: Protocol, event: Event, effects: Effects) -> None:
        """As `Checker.observe`."""
        for _to, share, _token in effects.sends:
            assert isinstance(share, Share)
            if share.round:
                self._take(now, replica, share.round, share.value)
        if isinstance(protocol, Metropolis) and protocol.round == self._most:
            self._take(now, replica, self._most, protocol.estimate)

    def _take(self, now: float, replica: int, number: int, value: float) -> None:
        if number <= self.achieved:
            return
        values = self._rounds.setdefault(number, {})
        if values.setdefault(replica, value) != value:
            facts = {"round": number, "one": value, "other": values[replica]}
            raise violated("all neighbours get the same value", now, replica, **facts)
        if len(values) < len(self.simulation.nodes):
            return
        mean = math.fsum(values.values()) / len(values)
        if abs(mean - self._mean) > 1e-9 * self._scale:
            raise violated("the mean is kept", now, replica, round=number, mean=mean, first=self._mean)
        error = self._error(values)
        if error > (self._shrinks + 1e-9) * self._last + 1e-12 * self._scale:
            facts = {"round": number, "error": error, "before": self._last, "lambda2": self._shrinks}
            raise violated("a round brings all nearer the mean by lambda2", now, replica, **facts)
        self._last = error
        self.achieved = number
        del self._rounds[number]

    def stages(self) -> Sequence[Stage]:
        """The error is a thousandth."""
        rounds = rounds_needed(self._shrinks)
        return [Stage(f"{NEARER:g} of the first error", self._near, rounds * _ROUND_DELAYS)]

    def _near(self) -> bool:
        return self._last <= NEARER * self._first + 1e-12 * self._scale


def second_eigenvalue(edges: Sequence[Edge], members: tuple[int, ...]) -> float:
    """The second greatest absolute eigenvalue of the Metropolis weights of a graph."""
    near = neighbours(edges, members)
    matrix = np.zeros((len(members), len(members)))
    for row, member in enumerate(members):
        for other, weight in metropolis_weights(near, member).items():
            matrix[row, members.index(other)] = weight
        matrix[row, row] = 1.0 - matrix[row].sum()
    return float(np.sort(np.abs(np.linalg.eigvalsh(matrix)))[-2])


def rounds_needed(shrinks: float) -> int:
    """Rounds until the error is `NEARER` of the first, if each leaves a share of it; and two to spare."""
    return 3 + math.ceil(math.log(NEARER) / math.log(shrinks)) if shrinks > 1e-6 else 3


class PushSumCourse(Course):
    """Weighs every sum and weight, also those under way."""

    def __init__(self, simulation: Simulation, rng: Random) -> None:
        super().__init__(simulation, rng)
        values = simulation.world.options["values"]
        self._held = {member: (Fraction(values[member]), Fraction(1)) for member in values}
        self._under_way = [Fraction(0), Fraction(0)]
        self._total = [sum(map(Fraction, values.values())), Fraction(len(values))]
        self._mean = float(self._total[0] / self._total[1])
        self._near_by = NEARER * (max(values.values()) - min(values.values()))

    def observe(self, now: float, replica: int, protocol: Protocol, event: Event, effects: Effects) -> None:
        """As `Checker.observe`."""
        assert isinstance(protocol, PushSum)
        moved = [Fraction(0), Fraction(0)]
        if type(event) is Receive:
            moved = list(_exactly(event.message))
        for _to, half, _token in effects.sends:
            assert isinstance(half, Half)
            sent = _exactly(half)
            moved = [moved[0] - sent[0], moved[1] - sent[1]]
            self.achieved += 1
        before, after = self._held[replica], (Fraction(protocol.sum), Fraction(protocol.weight))
        if (before[0] + moved[0], before[1] + moved[1]) != after:
            facts = {"held": before, "moved": moved, "holds": after}
            raise violated("what is held and under way sums to the first sum", now, replica, **facts)
        self._held[replica] = after
        self._under_way = [self._under_way[0] - moved[0], self._under_way[1] - moved[1]]

    def stages(self) -> Sequence[Stage]:
        """Every estimate is near the mean."""
        options = self.simulation.world.options
        bound_delays = 2 * options["rounds"] * options["period_delays"]
        return [Stage("every estimate is near the mean", self._near, bound_delays)]

    def _near(self) -> bool:
        return all(
            isinstance(node.protocol, PushSum) and abs(node.protocol.estimate - self._mean) <= self._near_by
            for node in self.simulation.nodes
        )

    def finish(self) -> None:
        """All that is held and under way, together, is what there was."""
        for what in (0, 1):
            total = sum(held[what] for held in self._held.values()) + self._under_way[what]
            if total != self._total[what]:
                facts = {"total": total, "first": self._total[what]}
                raise violated("the total is kept to the last digit", self.simulation.now, 0, **facts)


def _exactly(half: Half) -> tuple[Fraction, Fraction]:
    """The sum and the weight in a message."""
    found = number_from(half.sum), number_from(half.weight)
    assert isinstance(found[0], Fraction)
    assert isinstance(found[1], Fraction)
    return found[0], found[1]


class ResilientCourse(Course):
    """Follows what the honest hear of the honest."""

    def __init__(self, simulation: Simulation, rng: Random) -> None:
        super().__init__(simulation, rng)
        self._honest = {node.id for node in simulation.honest}
        values = simulation.world.options["values"]
        self._own = {member: float(values[member]) for member in sorted(self._honest)}
        self._hull = {member: (value, value) for member, value in self._own.items()}
        """The least and the greatest of its own value and the honest ones that came since."""
        self._width = self._range()

    def _range(self) -> float:
        return max(self._own.values()) - min(self._own.values())

    def observe(self, now: float, replica: int, protocol: Protocol, event: Event, effects: Effects) -> None:
        """As `Checker.observe`."""
        assert isinstance(protocol, WMSR)
        low, high = self._hull[replica]
        estimate = protocol.estimate
        if type(event) is Receive and event.source in self._honest:
            value = event.message.value
            self._hull[replica] = min(low, value), max(high, value)
        elif type(event) is Tick and effects.sends:  # a round is over
            if not low <= estimate <= high:
                facts = {"estimate": estimate, "honest values": (low, high)}
                raise violated("an honest value stays among the honest ones", now, replica, **facts)
            self._own[replica] = estimate
            self._hull[replica] = estimate, estimate
            self.achieved += 1
        elif estimate != self._own[replica]:
            facts = {"estimate": estimate, "before": self._own[replica]}
            raise violated("a value moves at the end of a round", now, replica, **facts)

    def stages(self) -> Sequence[Stage]:
        """The honest values meet."""
        return [Stage("the honest values meet", self._meet, 100 * _PERIOD_DELAYS)]

    def _meet(self) -> bool:
        return self._range() <= NEARER * self._width


class _Lying(Protocol):
    """Says another number to each neighbour, in an honest member's rounds or in others."""

    def __init__(self, honest: Protocol, lie: Callable[[int, int], tuple[int, float]]) -> None:
        self.honest, self.lie, self.id = honest, lie, honest.id

    def handle(self, event: Event) -> Effects:
        """As `Protocol.handle`."""
        effects = self.honest.handle(event)
        effects.sends = [(to, Opinion(*self.lie(to, said.round)), token) for to, said, token in effects.sends]
        return effects


def _disguise(make: Callable[[], Protocol], rng: Random, _liars: frozenset[int]) -> Protocol:
    constant = rng.uniform(-1e3, 1e3)
    lies: list[Callable[[int, int], tuple[int, float]]] = [
        lambda to, number: (number, rng.uniform(-1e3, 1e3)),
        lambda to, number: (number, constant),
        lambda to, number: (number, 1e9 if to % 2 else -1e9),
        lambda to, number: (number + rng.choice((-1, 0, 1, 2, 2**62)), rng.choice((-1e300, 1e300, 50.0))),
        lambda to, number: (number, rng.choice((math.nan, math.inf, -math.inf, 0.0))),
    ]
    return _Lying(make(), rng.choice(lies))


def _values(rng: Random, n: int) -> dict[int, float]:
    return {member: rng.uniform(-100.0, 100.0) for member in range(1, n + 1)}


def graph_drawn(rng: Random, n: int) -> tuple[str, tuple[Edge, ...]]:
    """A connected graph, and its name."""
    line = [(one, one + 1) for one in range(1, n)]
    chords = [(one, other) for one in range(1, n) for other in range(one + 2, n + 1) if rng.random() < 0.3]
    graphs: dict[str, Sequence[Edge]] = {
        "complete": (),
        "line": line,
        "ring": [*line, (1, n)] if n > 2 else line,
        "star": [(1, other) for other in range(2, n + 1)],
        "random": line + chords,
    }
    name = rng.choice(sorted(graphs))
    return name, tuple(graphs[name])


def _metropolis_scene(kind: ProtocolKind, rng: Random) -> Scene:
    network = network_drawn(rng, loss=False, duplicate=True)
    delay_s = network.latency.typical_s * 2
    n = rng.choice((2, 3, 5, 8, 12))
    name, edges = graph_drawn(rng, n)
    members = tuple(range(1, n + 1))
    links = sum(map(len, neighbours(edges, members).values()))
    rounds = max(rounds_needed(second_eigenvalue(edges, members)), EVENTS // links)
    options: dict[str, Any] = {"values": _values(rng, n), "edges": edges, "rounds": rounds}
    world = World(kind, n, network, delay_s=delay_s, options=options)
    horizon_s = rng.choice((20, 50, 200)) * delay_s
    faults = faults_drawn(rng, world, horizon_s, RELIABLE, duplicate=True)
    return Scene(world, faults, horizon_s, MetropolisCourse, f"{name}, {rounds} rounds")


def _push_sum_scene(kind: ProtocolKind, rng: Random) -> Scene:
    network = network_drawn(rng, loss=False, duplicate=False)
    delay_s = network.latency.typical_s * 2
    n = rng.choice((2, 3, 5, 8, 16))
    rounds = 8 * math.ceil(math.log2(n) - math.log2(NEARER))
    period_delays = rng.choice((0.5, 1.0, 2.0))
    options: dict[str, Any] = {
        "values": _values(rng, n),
        "rounds": rounds,
        "period_delays": period_delays,
        "exact": True,
    }
    world = World(kind, n, network, delay_s=delay_s, options=options)
    horizon_s = (
        rounds * period_delays * delay_s * rng.choice((0.1, 0.5))
    )  # what is left is enough, whoever stood still
    faults = faults_drawn(rng, world, horizon_s, RELIABLE)
    return Scene(world, faults, horizon_s, PushSumCourse, f"{rounds} rounds of {period_delays} delays")


def _resilient_scene(kind: ProtocolKind, rng: Random) -> Scene:
    network = network_drawn(rng, loss=True, duplicate=True)
    delay_s = network.latency.typical_s * 2
    f = rng.choice((1, 1, 2))
    n = kind.replicas(f) + rng.choice((0, 1))
    liars = rng.sample(range(1, n + 1), rng.randint(0, f))
    options: dict[str, Any] = {
        "values": _values(rng, n),
        "f": f,
        "period_delays": _PERIOD_DELAYS,
        "rounds": 10_000,
    }
    world = World(
        kind, n, network, delay_s=delay_s, options=options, liars=dict.fromkeys(sorted(liars), _disguise)
    )
    horizon_s = rng.choice((10, 50, 200)) * delay_s
    faults = faults_drawn(rng, world, horizon_s, (*RELIABLE, Partition), loss=True, duplicate=True)
    return Scene(world, faults, horizon_s, ResilientCourse, f"f {f}, liars {sorted(liars)}")


METROPOLIS_AVERAGING = Spreading(METROPOLIS, _metropolis_scene, "rounds averaged")
PUSH_SUM_AVERAGING = Spreading(PUSH_SUM, _push_sum_scene, "halves sent")
RESILIENT_AVERAGING = Spreading(W_MSR, _resilient_scene, "steps taken")
