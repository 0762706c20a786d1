"""One run of a protocol without a log, as its seed fixes it: chaos under checks, healing, then goals within bounds.

Rules:
* A `Scene` is what a seed draws: the group, its topology, network, disks and faults, of the kinds that the protocol's
  own assumptions allow and no others.
* A `Course` gives the group its work and watches every event of every honest member; it raises at the first breach.
* When chaos is over everything heals, and the course's stages follow one after another: each must be reached within its
  bound. Then the run goes on to its number of events, or until nothing is left to happen.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from random import Random

from actors.rng import stream_key
from coordination.checker import SafetyViolation
from coordination.protocol import Effects, Event, Protocol, ProtocolKind
from coordination.simulation.campaign import CHAOS_SHARE, EVENTS, CaseResult, LivenessFailure
from coordination.simulation.fault import Calendar, Crash, Fault, Pause, Skew, Weather, chaos, heal
from coordination.simulation.latency import Constant, Latency, LogNormal, Uniform
from coordination.simulation.network import NetworkSettings
from coordination.simulation.simulation import Simulation, World

STAGE_EVENTS = 200_000
"""A stage ends here at the latest."""


@dataclass(frozen=True)
class Stage:
    """What must be reached after healing."""

    goal: str
    """In words: "all members are seen alive"."""
    reached: Callable[[], bool]
    bound_delays: float
    """From its beginning, in the bound on delays that the members are told."""
    begin: Callable[[], None] | None = None
    """What happens first: a crash, a rumour."""


class Course:
    """The work, the checks and the goals of one run. Extend it for a protocol."""

    def __init__(self, simulation: Simulation, rng: Random) -> None:
        self.simulation = simulation
        self.rng = rng
        self.achieved = 0
        """What the run has come to, in the kind's own unit."""

    def begin(self) -> None:
        """Called once, when the members have started: plans the load."""

    def observe(self, now: float, replica: int, protocol: Protocol, event: Event, effects: Effects) -> None:
        """As `Checker.observe`. The members' first `Restore` came before."""

    def stages(self) -> Sequence[Stage]:
        """Called once, when everything is healed: the goals, in order."""
        return ()

    def finish(self) -> None:
        """As `Checker.finish`."""


@dataclass(frozen=True)
class Scene:
    """What a seed draws."""

    world: World
    faults: Sequence[Fault]
    horizon_s: float
    course: Callable[[Simulation, Random], Course]
    about: str = ""
    """What else was drawn, in words."""


@dataclass(frozen=True)
class Spreading:
    """A protocol without a log, and how it is searched."""

    kind: ProtocolKind
    scene: Callable[[ProtocolKind, Random], Scene]
    unit: str
    """What its runs achieve: "rumours told to all"."""

    def drawn(self, seed: int) -> "SpreadingCase":
        """The case of a seed."""
        rng = Random(stream_key(seed, "spreading", self.kind.name))
        return SpreadingCase(self.kind, seed, self.scene(self.kind, rng))

    def run(self, seed: int, events: int = EVENTS) -> CaseResult:
        """Carries the case of a seed out; see `SpreadingCase.run`."""
        return self.drawn(seed).run(events)


@dataclass(frozen=True)
class SpreadingCase:
    """One run."""

    kind: ProtocolKind
    seed: int
    scene: Scene

    def run(self, events: int = EVENTS) -> CaseResult:
        """Carries it out. Raises `SafetyViolation` or `LivenessFailure`, whose text ends with the command to repeat."""
        try:
            return self._run(events)
        except (SafetyViolation, LivenessFailure) as error:
            raise type(error)(f"{error}\n{self.described()}\nAgain: {self.command(events)}") from None

    def _run(self, events: int) -> CaseResult:
        began = time.perf_counter()
        scene = self.scene
        simulation = Simulation(scene.world, self.seed, keep_last=True)
        course = scene.course(simulation, simulation.stream("course"))
        simulation.checkers.append(course)
        course.begin()
        calendar = Calendar(simulation, scene.faults)
        simulation.run(until_s=scene.horizon_s, events=int(events * CHAOS_SHARE))
        calendar.clear()
        heal(simulation)
        recovered_s = sum(self._reach(stage, simulation) for stage in course.stages())
        simulation.run(events=max(events, simulation.events))
        course.finish()
        return CaseResult(
            self.seed,
            simulation.events,
            simulation.messages,
            course.achieved,
            len(calendar.begun),
            recovered_s / simulation.delay_s,
            time.perf_counter() - began,
        )

    def _reach(self, stage: Stage, simulation: Simulation) -> float:
        """Goes on until a stage is reached; gives how long it took, in seconds."""
        began_s = simulation.now
        if stage.begin is not None:
            stage.begin()
        bound_s = began_s + stage.bound_delays * simulation.delay_s
        most = simulation.events + STAGE_EVENTS
        simulation.run(until_s=bound_s, events=most, stop=stage.reached)
        if stage.reached():
            return max(
                0.0, simulation.last[-1][0] - began_s
            )  # a run with nothing left to happen ends at the bound
        spent = "events" if simulation.events >= most else "time"
        raise LivenessFailure(
            f"Healed, and from {began_s:.4f} s to {simulation.now:.4f} s not reached: {stage.goal} "
            f"(the bound is {bound_s:.4f} s; out of {spent}).\n{simulation.whereabouts()}"
        )

    def described(self) -> str:
        """What the seed drew, in words."""
        world = self.scene.world
        about = f", {self.scene.about}" if self.scene.about else ""
        return (
            f"{self.kind.title}: {world.replicas} members{about}, {world.network}, disk {world.disk_s:g} s, "
            f"{len(self.scene.faults)} faults until {self.scene.horizon_s:.4f} s"
        )

    def command(self, events: int = EVENTS) -> str:
        """The command that runs this case again."""
        more = "" if events == EVENTS else f" --events {events}"
        return f"rayswarm simulate --protocol {self.kind.name} --seed {self.seed}{more}"


def network_drawn(rng: Random, *, loss: bool, duplicate: bool, reorder: bool = True) -> NetworkSettings:
    """A network that may lose, repeat and reorder a few messages, as far as that is allowed."""
    latency: Latency = rng.choice((Constant(0.001), Uniform(0.0002, 0.002), LogNormal(0.001, 0.5)))
    return NetworkSettings(
        latency,
        loss=rng.choice((0.0, 0.0, 0.02)) * loss,
        duplicate=rng.choice((0.0, 0.0, 0.05)) * duplicate,
        reorder=rng.choice((0.0, 0.0, 0.05)) * reorder,
    )


def faults_drawn(
    rng: Random,
    world: World,
    horizon_s: float,
    kinds: tuple[type[Fault], ...],
    *,
    loss: bool = False,
    duplicate: bool = False,
) -> list[Fault]:
    """The faults of these kinds that chaos has until the horizon; weather without what is not allowed."""
    assert world.delay_s is not None
    drawn = chaos(rng, replicas=world.replicas, horizon_s=horizon_s, delay_s=world.delay_s)
    kept = [fault for fault in drawn if isinstance(fault, kinds)]
    return [
        replace(fault, loss=fault.loss * loss, duplicate=fault.duplicate * duplicate)
        if isinstance(fault, Weather)
        else fault
        for fault in kept
    ]


RELIABLE: tuple[type[Fault], ...] = (Pause, Skew, Weather)
"""Faults that lose no message and no state."""
CRASHES: tuple[type[Fault], ...] = (Crash,)
