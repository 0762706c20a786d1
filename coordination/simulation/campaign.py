"""Many seeded runs of one protocol under all faults at once, each checked at every step: the search for a bad seed.

Rules:
* A case is fixed by the protocol, the seed and the number of events: its replicas, network, disks, liars, faults and
  load are drawn from the seed alone. The same again gives the same steps.
* A case has two phases: chaos, under safety checks; then everything heals, and with at most f liars a command must be
  decided within the protocol's stated bound, plus as long as the chaos took (time-outs may have grown with it).
* At the end the decisions of all honest replicas are prefixes of one log.
* In a share of the cases an operator compacts, reads, and gives orders (`operator`); and in a share what the clients
  saw is judged as a history of a key-value store. One that takes too many steps to judge is passed over, and counted.

Method: FoundationDB's simulation and swarm testing (Groce et al. 2012): each case switches kinds of faults on or off.
"""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from random import Random

from actors.errors import SwarmError
from actors.rng import stream_key
from coordination.checker import Checker, SafetyViolation
from coordination.client_history import history_of
from coordination.linearizability import Illegal, Linearizable, check_linearizable
from coordination.machine import KeyValueStore, are_commands
from coordination.protocol import ProtocolKind
from coordination.simulation.clients import Clients, Load
from coordination.simulation.fault import Calendar, Fault, Skew, chaos, heal
from coordination.simulation.latency import Constant, LogNormal, Uniform
from coordination.simulation.ledger import Ledger
from coordination.simulation.liar import LIARS
from coordination.simulation.network import NetworkSettings
from coordination.simulation.operator import Duties, Operator
from coordination.simulation.simulation import Simulation, World

EVENTS = 10_000
CHAOS_SHARE = 0.7
"""Of a case's events: the rest is for healing."""
_HEALING_EVENTS = 200_000
HISTORY_STEPS = 20_000
"""Of the search for a linear order, for each key, at most."""

Checkers = Callable[[World], Sequence[Checker]]


class LivenessFailure(SwarmError):
    """Everything was healed, at most f replicas lied, and yet no decision came, or no goal, within the bound."""

    reason = "no progress"


@dataclass
class Case:
    """One run of a campaign, as its seed fixes it."""

    kind: ProtocolKind
    seed: int
    world: World
    load: Load
    faults: list[Fault]
    horizon_s: float
    liars: dict[int, str] = field(default_factory=dict)
    """What each liar does."""
    duties: Duties = field(default_factory=Duties)
    store: Callable[[], KeyValueStore] = KeyValueStore
    """Makes a replica's state machine."""

    @classmethod
    def drawn(cls, kind: ProtocolKind, seed: int) -> "Case":
        """The case of a seed."""
        rng = Random(stream_key(seed, "campaign", kind.name))
        f = rng.choice((1, 1, 2))
        replicas = kind.replicas(f) + rng.choice((0, 0, 1))
        latency = rng.choice((Constant(0.001), Uniform(0.0002, 0.002), LogNormal(0.001, 0.5)))
        network = NetworkSettings(
            latency,
            loss=rng.choice((0.0, 0.0, 0.02)),
            duplicate=rng.choice((0.0, 0.0, 0.05)),
            reorder=rng.choice((0.0, 0.0, 0.05)),
        )
        delay_s = latency.typical_s * 2
        liars: dict[int, str] = {}
        twins: tuple[int, ...] = ()
        if kind.faults == "byzantine":
            chosen = rng.sample(range(1, replicas + 1), rng.randint(0, f))
            if chosen and rng.random() < 0.2:
                twins, chosen = (chosen[0],), chosen[1:]
            liars = {replica: rng.choice(sorted(LIARS)) for replica in sorted(chosen)}
        disk_s = rng.choice((0.0, 0.0005, 0.003))
        world = World(
            kind,
            replicas,
            network,
            disk_s=disk_s,
            torn=rng.random() < 0.5,
            delay_s=delay_s + disk_s,  # a message that waits for the disk takes as much longer
            batch=rng.choice((1, 10, 100)),
            liars={replica: LIARS[name].disguise(delay_s) for replica, name in liars.items()},
            twins=twins,
            valid=are_commands,
        )
        load = Load(
            clients=rng.choice((1, 3, 8)),
            batch=rng.choice((1, 1, 5)),
            think_s=rng.choice((0.0, delay_s, 10 * delay_s)),
            patience_delays=rng.choice((20.0, 60.0)),
            spread=rng.random() < 0.5,
        )
        # What a client proposes at once must fit, or it can ask again faster than a slow protocol decides its pieces.
        world = replace(world, batch=max(world.batch, load.batch))
        horizon_s = rng.choice((100, 300, 1000)) * delay_s
        faults = chaos(rng, replicas=replicas, horizon_s=horizon_s, delay_s=delay_s)
        case = cls(kind, seed, world, load, faults, horizon_s, {**liars, **dict.fromkeys(twins, "twins")})
        return case._burdened(Random(stream_key(seed, "campaign", kind.name, "duties")))

    def _burdened(self, rng: Random) -> "Case":
        duties = Duties.drawn(self.kind, rng)
        world, load = self.world, self.load
        if duties.record:
            load = replace(load, batch=1, reads=rng.choice((0.1, 0.5)), keys=rng.choice((2, 8)))
        if duties.orders or duties.compact_every:
            steady = not any(isinstance(fault, Skew) for fault in self.faults)
            world = replace(world, options=self.kind.upkeep.options(rng, world.members(), steady))
        if duties.orders and not load.think_s:
            # A change may leave one voter, who decides in no time: clients that do not think would stop the clock.
            load = replace(load, think_s=self.world.delay_s or 0.0)
        return replace(self, world=world, load=load, duties=duties)

    def run(self, checkers: Checkers, events: int = EVENTS) -> "CaseResult":
        """Carries it out. Raises `SafetyViolation` or `LivenessFailure`, whose text ends with the command to repeat."""
        began = time.perf_counter()
        try:
            return self._run(checkers, events, began)
        except (SafetyViolation, LivenessFailure) as error:
            raise type(error)(f"{error}\n{self.described()}\nAgain: {self.command(events)}") from None

    def _run(self, checkers: Checkers, events: int, began: float) -> "CaseResult":
        ledger = Ledger(valid=are_commands, only_proposed=not self.liars)
        watching = [ledger, *checkers(self.world)]
        simulation = Simulation(self.world, self.seed, watching)
        duties = self.duties
        clients = Clients(
            simulation,
            self.load,
            duties.record,
            keep=bool(duties.compact_every) or duties.reads,
            store=self.store,
        )
        clients.start()
        operator = Operator(simulation, clients, duties)
        operator.start()
        calendar = Calendar(simulation, self.faults)
        simulation.run(until_s=self.horizon_s, events=int(events * CHAOS_SHARE))
        calendar.clear()
        heal(simulation)
        operator.mend()
        healed_s, before = simulation.now, clients.answered
        bound_s = healed_s + self.kind.recovery_delays * simulation.delay_s + healed_s
        most = simulation.events + _HEALING_EVENTS
        simulation.run(until_s=bound_s, events=most, stop=lambda: clients.answered > before)
        if clients.answered <= before:
            spent = "events" if simulation.events >= most else "time"
            raise LivenessFailure(
                f"Healed at {healed_s:.4f} s, and no command was decided by {simulation.now:.4f} s "
                f"(the bound is {bound_s:.4f} s; out of {spent}).\n{simulation.whereabouts()}"
            )
        recovered_s = simulation.now - healed_s
        simulation.run(until_s=bound_s, events=max(events, simulation.events))
        for checker in watching:
            checker.finish()
        operations, undecided = _judged(simulation, clients, operator) if duties.record else (0, 0)
        return CaseResult(
            self.seed,
            simulation.events,
            simulation.messages,
            simulation.commands,
            len(calendar.begun),
            recovered_s / simulation.delay_s,
            time.perf_counter() - began,
            operations,
            undecided,
        )

    def described(self) -> str:
        """What the seed drew, in words."""
        world = self.world
        liars = ", ".join(f"{replica} {what}" for replica, what in self.liars.items()) or "none"
        return (
            f"{self.kind.title}: {world.replicas} replicas, {world.network}, disk {world.disk_s:g} s, "
            f"liars: {liars}, {self.load}, {len(self.faults)} faults, duties: {self.duties}"
        )

    def command(self, events: int = EVENTS) -> str:
        """The command that runs this case again."""
        more = "" if events == EVENTS else f" --events {events}"
        return f"rayswarm simulate --protocol {self.kind.name} --seed {self.seed}{more}"


@dataclass(frozen=True)
class CaseResult:
    """What a case that held came to."""

    seed: int
    events: int
    messages: int
    commands: int
    """Decided; of a protocol without a log, what its runs achieve."""
    faults: int
    recovery_delays: float
    """From the healing to the next answer, or until all goals are reached, in delays."""
    wall_s: float
    operations: int = 0
    """In the clients' history, if it was judged."""
    undecided: int = 0
    """1 if the history took too many steps to judge."""


def _judged(simulation: Simulation, clients: Clients, operator: Operator) -> tuple[int, int]:
    """How many operations the history has, and 1 if it was not decided. Raises `SafetyViolation`."""
    clients.finish()
    seen = [*clients.operations, *operator.reads]
    verdict = check_linearizable(history_of(seen), limit_steps=HISTORY_STEPS)
    if isinstance(verdict, Illegal):
        raise SafetyViolation(f"the store is not linearizable: {verdict}\n{simulation.whereabouts()}")
    return len(seen), int(not isinstance(verdict, Linearizable))


def campaign(
    kind: ProtocolKind,
    checkers: Checkers,
    seeds: Sequence[int] | None = None,
    *,
    events: int = EVENTS,
    wall_s: float = math.inf,
) -> Iterator[CaseResult]:
    """Runs the cases of many seeds, in order, for as long as asked; without seeds, of 0, 1, 2 ...

    Raises at the first that fails, as `Case.run` does.
    """
    return search(lambda seed: Case.drawn(kind, seed).run(checkers, events), seeds, wall_s=wall_s)


def search(
    run: Callable[[int], CaseResult], seeds: Sequence[int] | None = None, *, wall_s: float = math.inf
) -> Iterator[CaseResult]:
    """Runs seed after seed, for as long as asked; without seeds, 0, 1, 2 ... Raises at the first that fails."""
    ends = time.monotonic() + wall_s
    for seed in seeds if seeds is not None else range(2**31):
        if time.monotonic() >= ends:
            return
        yield run(seed)
