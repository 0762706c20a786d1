"""Faults of a simulation: what happens to machines and links, when, and for how long.

Rules:
* A fault is a frozen value that says when it begins; a `Calendar` carries it out. `chaos` draws a list of them from a
  stream of its own, so that a failing seed names its faults.
* A target is a replica, the leader at that moment, or one drawn at random among the live: aimed faults find more than
  random ones.
* When chaos is over everything is healed: what then must hold is that decisions come again.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from random import Random

from actors.errors import ConfigurationError
from coordination.simulation.latency import seconds_from
from coordination.simulation.node import Node
from coordination.simulation.simulation import Simulation

Target = int | str
"""A replica's id, `leader` or `random`."""


@dataclass(frozen=True)
class Crash:
    """A machine dies, and restarts from its disk if `for_s` is given."""

    at_s: float
    target: Target = "leader"
    for_s: float | None = None


@dataclass(frozen=True)
class Pause:
    """A machine stands still for a while (a virtual machine moved, a long collection of garbage)."""

    at_s: float
    target: Target = "leader"
    for_s: float = 1.0


@dataclass(frozen=True)
class Partition:
    """The network falls apart into groups of replicas; `isolate` names one instead, alone against the rest."""

    at_s: float
    groups: tuple[tuple[int, ...], ...] = ()
    isolate: Target | None = None
    for_s: float | None = None
    one_way: bool = False
    """Only what the first group (or the isolated one) says is lost; it still hears."""


@dataclass(frozen=True)
class Weather:
    """The network is bad for a while: shares of messages lost, doubled, overtaken, and all delays longer."""

    at_s: float
    for_s: float | None = None
    loss: float = 0.0
    duplicate: float = 0.0
    reorder: float = 0.0
    slowdown: float = 1.0


@dataclass(frozen=True)
class Skew:
    """A machine's clock jumps by `offset_s` and runs at `rate` from then on."""

    at_s: float
    target: Target = "random"
    rate: float = 1.0
    offset_s: float = 0.0


@dataclass(frozen=True)
class Heal:
    """Everything works again: links, machines, clocks' rates."""

    at_s: float


Fault = Crash | Pause | Partition | Weather | Skew | Heal


class Calendar:
    """Faults that are still to come; `clear` cancels them."""

    def __init__(self, simulation: Simulation, faults: Sequence[Fault]) -> None:
        self._open = True
        self.begun: list[Fault] = []
        """The faults that have happened, in order."""
        rng = simulation.stream("targets")
        for fault in faults:
            simulation.at(fault.at_s, partial(self._carry_out, fault, _begin(simulation, fault, rng)))

    def _carry_out(self, fault: Fault, begin: Callable[[], None]) -> None:
        if self._open:
            self.begun.append(fault)
            begin()

    def clear(self) -> None:
        """Nothing more happens."""
        self._open = False


def _begin(simulation: Simulation, fault: Fault, rng: Random) -> Callable[[], None]:
    def begin() -> None:
        match fault:
            case Crash():
                _down(simulation, fault, rng)
            case Pause():
                node = _target(simulation, fault.target, rng)
                if node is not None:
                    simulation.pause(node)
                    simulation.at(simulation.now + fault.for_s, partial(simulation.resume, node))
            case Skew():
                node = _target(simulation, fault.target, rng)
                if node is not None:
                    simulation.set_clock(node, rate=fault.rate, offset_s=fault.offset_s)
            case Partition():
                _divide(simulation, fault, rng)
            case Weather():
                network = simulation.network
                network.loss, network.duplicate = fault.loss, fault.duplicate
                network.reorder, network.slowdown = fault.reorder, fault.slowdown
                simulation.network_changed()
                if fault.for_s is not None:
                    simulation.at(simulation.now + fault.for_s, partial(clear, simulation))
            case Heal():
                heal(simulation)

    return begin


def clear(simulation: Simulation) -> None:
    """The links are as their settings say."""
    blocked = simulation.network.blocked
    simulation.network.heal()
    simulation.network.blocked = blocked
    simulation.network_changed()


def heal(simulation: Simulation) -> None:
    """All links, machines and rates of clocks are well again."""
    simulation.network.heal()
    simulation.network_changed()
    for node in simulation.nodes:
        simulation.resume(node)
        simulation.restart(node)
        simulation.set_clock(node)


def _target(simulation: Simulation, target: Target, rng: Random) -> Node | None:
    alive = [node for node in simulation.nodes if node.alive and not node.paused]
    if isinstance(target, int):
        return next((node for node in simulation.nodes if node.id == target), None)
    leader = simulation.leader() if target == "leader" else None
    return leader or (rng.choice(alive) if alive else None)


def _down(simulation: Simulation, fault: Crash, rng: Random) -> None:
    node = _target(simulation, fault.target, rng)
    if node is not None:
        simulation.crash(node)
        if fault.for_s is not None:
            simulation.at(simulation.now + fault.for_s, partial(simulation.restart, node))


def _divide(simulation: Simulation, fault: Partition, rng: Random) -> None:
    groups = [[node.place for node in simulation.nodes if node.id in group] for group in fault.groups]
    if fault.isolate is not None:
        node = _target(simulation, fault.isolate, rng)
        if node is None:
            return
        groups = [[node.place], [other.place for other in simulation.nodes if other is not node]]
    network = simulation.network
    network.partition(groups)
    if fault.one_way:
        network.blocked = {(a, b) for a, b in network.blocked if a in groups[0]}
    mine = network.blocked
    simulation.network_changed()

    def join() -> None:
        if network.blocked is mine:  # a later partition stays
            network.blocked = set()
            simulation.network_changed()

    if fault.for_s is not None:
        simulation.at(simulation.now + fault.for_s, join)


def chaos(
    rng: Random, *, replicas: int, horizon_s: float, delay_s: float, crashes: bool = True
) -> list[Fault]:
    """Faults of all kinds until the horizon, where everything heals. Times are of the order of time-outs."""
    faults: list[Fault] = []
    now = rng.random() * 20 * delay_s
    ids = list(range(1, replicas + 1))
    while now < horizon_s:
        lasts = rng.choice((2, 10, 40)) * delay_s * (0.5 + rng.random())
        target: Target = rng.choice(("leader", "random", rng.choice(ids)))
        kinds = ["pause", "partition", "isolate", "weather", "weather", "skew"] + ["crash"] * 3 * crashes
        match rng.choice(kinds):
            case "crash":
                faults.append(Crash(now, target, lasts))
            case "pause":
                faults.append(Pause(now, target, lasts))
            case "partition":
                rng.shuffle(ids)
                cut = rng.randint(1, max(1, replicas - 1))
                groups = (tuple(ids[:cut]), tuple(ids[cut:]))
                faults.append(Partition(now, groups, None, lasts, one_way=rng.random() < 0.3))
            case "isolate":
                faults.append(Partition(now, (), target, lasts, one_way=rng.random() < 0.3))
            case "weather":
                loss, duplicate, reorder = (rng.choice((0.0, 0.05, 0.3)) for _ in range(3))
                slowdown = rng.choice((1.0, 1.0, 3.0))
                faults.append(Weather(now, lasts, loss, duplicate, reorder, slowdown))
            case _:
                jump = rng.choice((0.0, 0.0, 5.0, 50.0)) * delay_s
                faults.append(Skew(now, target, rate=rng.choice((0.9, 1.0, 1.1)), offset_s=jump))
        now += rng.expovariate(1.0) * 15 * delay_s
    faults.append(Heal(horizon_s))
    return faults


def faults_from(text: str) -> list[Fault]:
    """Faults as people write them, parted by `;`. Raises `ConfigurationError` with the forms.

    `crash:leader@2s`, `crash:3@2s+1s` (for one second), `pause:leader@2s+1s`, `isolate:leader@2s+3s`,
    `partition:1,2|3,4,5@2s+3s`, `loss:0.05@0s+10s` (also `duplicate`, `reorder`), `slow:3@2s`, `heal@9s`; or `none`.
    """
    if text in ("", "none"):
        return []
    return [_fault_from(item.strip()) for item in text.split(";")]


def _fault_from(item: str) -> Fault:
    forms = "crash:leader@2s, pause:2@1s+1s, isolate:leader@2s, partition:1,2|3@2s+3s, loss:0.1@0s, heal@9s"
    what, at_sign, when = item.partition("@")
    kind, _, argument = what.partition(":")
    try:
        if not at_sign:
            raise ValueError("it does not say when")
        begin, plus, length = when.partition("+")
        at_s, for_s = seconds_from(begin), seconds_from(length) if plus else None
        match kind:
            case "crash":
                return Crash(at_s, _target_from(argument), for_s)
            case "pause":
                return Pause(at_s, _target_from(argument), 1.0 if for_s is None else for_s)
            case "isolate":
                return Partition(at_s, (), _target_from(argument), for_s)
            case "partition":
                groups = tuple(tuple(int(one) for one in group.split(",")) for group in argument.split("|"))
                return Partition(at_s, groups, None, for_s)
            case "loss" | "duplicate" | "reorder":
                return Weather(at_s, for_s, **{kind: float(argument)})
            case "slow":
                return Weather(at_s, for_s, slowdown=float(argument))
            case "heal":
                return Heal(at_s)
        raise ValueError(f"there is no fault {kind!r}")
    except (ValueError, ConfigurationError) as error:
        raise ConfigurationError(f"faults: {item!r}: {error}. Write for example {forms}.") from error


def _target_from(text: str) -> Target:
    return text if text in ("leader", "random") else int(text)
