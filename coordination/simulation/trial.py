"""One measured run of a protocol in the simulator: the cell of a comparison.

Rules:
* A trial is described by plain values, as people write them, and a seed; the same again gives the same numbers.
* Warm-up is not measured: counting begins with the first answer after `warm_up_delays`.
* A breach of agreement or validity is counted, not raised: a comparison must show where a protocol breaks.
* Latency in message delays is latency over the network's mean one-way delay, so it can be held against the theory.
"""

import math
import statistics
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from actors.errors import ConfigurationError
from coordination.catalogue import protocol_named
from coordination.machine import are_commands
from coordination.signature import Scheme, ed25519_schemes
from coordination.simulation.clients import Clients, Load
from coordination.simulation.fault import Calendar, Crash, Partition, Pause, faults_from
from coordination.simulation.latency import latency_from
from coordination.simulation.ledger import Ledger
from coordination.simulation.liar import liar_named
from coordination.simulation.network import NetworkSettings
from coordination.simulation.simulation import Disguise, Simulation, World

EVENTS = 20_000_000
"""A trial ends here at the latest."""
_TIMELINE = 60


@dataclass(frozen=True)
class Trial:
    """What is measured."""

    protocol: str
    replicas: int = 4
    faults: str = "none"
    """See `faults_from`."""
    liars: str = "none"
    """`equivocating:1` (that many, the first replicas, whose turn to lead comes first), `equivocating:f`, or
    `equivocating:f+1`; or `none`."""
    latency: str = "1ms"
    """See `latency_from`."""
    bandwidth_mbit_s: float | None = None
    loss: float = 0.0
    disk_s: float = 0.0
    batch: int = 1
    """Commands in one proposal of a client."""
    block: int = 1000
    """Most commands in one block of the protocols that have blocks."""
    clients: int = 1
    payload_bytes: int = 64
    seconds: float = 1.0
    """Of virtual time that are measured."""
    warm_up_delays: float = 20.0
    patience_delays: float = 100.0
    delay_s: float | None = None
    """The bound on delays that replicas are told; by default the network's typical delay times 1.2, and the disk's."""
    signatures: str = "token"
    """`token`, `token-vector` (certificates do not combine) or `ed25519`."""
    count_bytes: bool = True
    options: Mapping[str, Any] = field(default_factory=dict)

    def world(self) -> World:
        """The simulation's world. Raises `ConfigurationError` for what does not fit together."""
        kind = protocol_named(self.protocol)
        if not self.seconds > 0 or min(self.clients, self.batch, self.block) < 1:
            raise ConfigurationError(
                "trial: seconds must be above 0; clients, batch and block 1 or more. Give larger numbers."
            )
        if self.signatures not in ("token", "token-vector", "ed25519"):
            raise ConfigurationError(
                f"signatures: there is no {self.signatures!r}. There are: token, token-vector, ed25519."
            )
        name, count = self.lying()
        if not self.liars.endswith(":f+1"):  # that is asked for to be seen to fail
            kind.check(self.replicas, max(1, count))
        latency = latency_from(self.latency)
        bandwidth = None if self.bandwidth_mbit_s is None else self.bandwidth_mbit_s * 1e6
        delay_s = self.delay_s or latency.typical_s * 1.2 + self.disk_s
        liars: dict[int, Disguise] = {
            replica: liar_named(name, delay_s)
            for replica in range(self.replicas - count + 1, self.replicas + 1)
        }
        schemes: dict[int, Scheme] | None = None
        if self.signatures == "ed25519":
            schemes = dict(ed25519_schemes(range(1, self.replicas + 1), b"trial"))
        return World(
            kind,
            self.replicas,
            NetworkSettings(latency, bandwidth, loss=self.loss),
            disk_s=self.disk_s,
            delay_s=delay_s,
            batch=max(self.batch, self.block),
            options=self.options,
            liars=liars,
            valid=are_commands,
            combines=self.signatures == "token",
            schemes=schemes,
            count_bytes=self.count_bytes,
        )

    def lying(self) -> tuple[str, int]:
        """How the liars lie, and how many they are."""
        if self.liars == "none":
            return "silent", 0
        name, colon, number = self.liars.partition(":")
        most = protocol_named(self.protocol).withstands(self.replicas)
        counts = {"f": most, "f+1": most + 1}
        if not colon or not (number in counts or number.isdigit()):
            raise ConfigurationError(
                f"liars: {self.liars!r} is not a kind and a number. Write equivocating:1, silent:f or silent:f+1."
            )
        return name, counts[number] if number in counts else int(number)

    def run(self, seed: int = 0) -> "TrialResult":
        """Carries it out."""
        began = time.perf_counter()
        world = self.world()
        ledger = Ledger(valid=are_commands, only_proposed=not world.liars, strict=False)
        simulation = Simulation(world, seed, [ledger])
        load = Load(
            self.clients,
            self.batch,
            self.payload_bytes,
            patience_delays=self.patience_delays,
            spread=bool(world.liars),
        )
        clients = Clients(simulation, load)
        clients.start()
        warm_s = self.warm_up_delays * simulation.delay_s
        faults = faults_from(self.faults)
        Calendar(simulation, faults)
        simulation.run(until_s=warm_s, events=EVENTS)
        before = _Counts.of(simulation, clients)
        simulation.run(until_s=warm_s + self.seconds, events=EVENTS)
        after = _Counts.of(simulation, clients)
        clients.closed = True
        grace_s = world.kind.recovery_delays * simulation.delay_s
        simulation.run(until_s=simulation.now + grace_s, events=EVENTS, stop=lambda: clients.waiting == 0)
        wall_s = time.perf_counter() - began
        marks = [fault.at_s for fault in faults if isinstance(fault, (Crash, Pause, Partition))]
        return self._result(simulation, clients, ledger, span=(before, after), marks=marks, wall_s=wall_s)

    def _result(
        self,
        simulation: Simulation,
        clients: Clients,
        ledger: Ledger,
        *,
        span: "tuple[_Counts, _Counts]",
        marks: list[float],
        wall_s: float,
    ) -> "TrialResult":
        before, after = span
        seconds = max(after.now - before.now, 1e-12)
        latencies = sorted(clients.latencies_s[before.answered : after.answered])
        slots = max(1, after.slots - before.slots)
        mean_delay_s = _mean_delay_s(simulation)
        return TrialResult(
            trial=self,
            seed=simulation.seed,
            throughput_per_s=(after.commands - before.commands) / seconds,
            decisions=after.slots - before.slots,
            latency_p50_s=_quantile(latencies, 0.5),
            latency_p99_s=_quantile(latencies, 0.99),
            latency_p50_delays=_quantile(latencies, 0.5) / mean_delay_s,
            messages_per_decision=(after.messages - before.messages) / slots,
            bytes_per_decision=(after.bytes - before.bytes) / slots,
            authenticators_per_decision=(after.authenticators - before.authenticators) / slots,
            outage_s=_outage_s(clients.decided_at_s, marks, simulation.now),
            agreement=ledger.agreement,
            validity=ledger.validity,
            termination=clients.waiting == 0,
            breaches=tuple(ledger.breaches[:3]),
            evidence=tuple(sorted({found.culprit for found in simulation.evidence})),
            timeline=_timeline(clients.decided_at_s, self.batch, simulation.now),
            events=simulation.events,
            wall_s=wall_s,
        )


@dataclass(frozen=True)
class TrialResult:
    """What one trial came to."""

    trial: Trial
    seed: int
    throughput_per_s: float
    """Commands decided in a second of virtual time."""
    decisions: int
    """Slots decided while it was measured: entries, batches or blocks."""
    latency_p50_s: float
    """NaN if nothing was answered."""
    latency_p99_s: float
    latency_p50_delays: float
    messages_per_decision: float
    bytes_per_decision: float
    authenticators_per_decision: float
    outage_s: float
    """From the first crash, pause or partition to the next answer, at most over all of them; 0 without one."""
    agreement: bool
    validity: bool
    termination: bool
    """Whether every proposal had its answer by the end."""
    breaches: tuple[str, ...]
    evidence: tuple[int, ...]
    """The replicas that were shown to lie."""
    timeline: tuple[tuple[float, float], ...]
    """Commands answered a second, by time."""
    events: int
    wall_s: float


@dataclass(frozen=True)
class _Counts:
    """The simulation's counters at a moment."""

    now: float
    slots: int
    commands: int
    messages: int
    bytes: int
    authenticators: int
    answered: int

    @classmethod
    def of(cls, simulation: Simulation, clients: Clients) -> "_Counts":
        return cls(
            simulation.now,
            simulation.slots,
            simulation.commands,
            simulation.messages,
            simulation.bytes,
            simulation.authenticators,
            clients.answered,
        )


def _quantile(ordered: list[float], share: float) -> float:
    """The nearest-rank quantile; NaN of nothing."""
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else math.nan


def _mean_delay_s(simulation: Simulation) -> float:
    rng = simulation.stream("mean delay")
    latency = simulation.world.network.latency
    pairs = [(a, b) for a in range(len(simulation.nodes)) for b in range(len(simulation.nodes)) if a != b]
    drawn = [latency.sample(*rng.choice(pairs), rng) for _ in range(1000)] if pairs else []
    return statistics.fmean(drawn) if drawn and max(drawn) > 0 else math.inf


def _outage_s(answered_at_s: list[float], marks: list[float], end_s: float) -> float:
    longest = 0.0
    for mark in marks:
        following = next((at for at in answered_at_s if at > mark), end_s)
        longest = max(longest, following - mark)
    return longest


def _timeline(answered_at_s: list[float], batch: int, end_s: float) -> tuple[tuple[float, float], ...]:
    if end_s <= 0:
        return ()
    width = end_s / _TIMELINE
    counts = [0] * _TIMELINE
    for at in answered_at_s:
        counts[min(_TIMELINE - 1, int(at / width))] += batch
    return tuple(((index + 0.5) * width, count / width) for index, count in enumerate(counts))
