"""The simulator: replicas of one protocol on simulated machines, in virtual time, from one seed.

Rules:
* Time jumps from event to event. What is due at the same time happens in the order in which it was scheduled, so a
  run is a function of its arguments: the same again gives the same events.
* Each use of randomness (each replica, the network, the disks, faults, the workload) has its own stream of the seed:
  a draw more in one moves nothing in another.
* Checkers see every event of every honest replica with all its effects, before these are carried out. The first
  violation ends the run with the seed, the step and the last events.
* A run ends at its limit of time or of events, whatever the protocol does.

Theory: deterministic simulation as in FoundationDB (Zhou et al. 2021, section 4) and TigerBeetle; the event queue is a
heap of times with a list of events each, since on a network of constant delay many events share their time.
"""

import heapq
import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any

from actors.errors import ConfigurationError
from actors.rng import stream_key
from coordination.checker import Checker, SafetyViolation
from coordination.protocol import (
    NEVER,
    Codec,
    Command,
    Effects,
    Event,
    Persisted,
    Propose,
    Protocol,
    ProtocolKind,
    Receive,
    Restore,
    Setting,
    Tick,
    everything,
)
from coordination.signature import Scheme, TokenScheme
from coordination.simulation.network import HEADER_BYTES, Network, NetworkSettings
from coordination.simulation.node import Node

_WAKE, _DISK, _PROPOSE, _EVENT = -1, -2, -3, -4
_LAST_EVENTS = 30
VECTOR_PROOF_BYTES = 64
"""Of a signature that does not combine with others, as of secp256k1 or Ed25519."""

Disguise = Callable[[Callable[[], Protocol], Random, frozenset[int]], Protocol]
"""Makes a liar: given how to make the honest replica (again and again, if it likes), a stream of its own, and all that
lie in this run, itself among them: they may conspire.
"""

Watcher = Callable[[Node, Event, Effects], None]


@dataclass(frozen=True)
class World:
    """All that fixes a simulation but its seed and its workload."""

    kind: ProtocolKind
    replicas: int
    network: NetworkSettings = field(default_factory=NetworkSettings)
    disk_s: float = 0.0
    """How long records take to become durable."""
    torn: bool = False
    """Whether a crash may leave some of the records that were not yet confirmed, in order."""
    delay_s: float | None = None
    """The bound on delays that the replicas are told. None: the network's typical delay, and the disk's."""
    batch: int = 1000
    options: Mapping[str, Any] = field(default_factory=dict)
    liars: Mapping[int, Disguise] = field(default_factory=dict)
    twins: tuple[int, ...] = ()
    """Replicas of which a second copy runs, honest code with the same id and key (Bano et al. 2020)."""
    valid: Callable[[tuple[Command, ...]], bool] = everything
    combines: bool = True
    """Whether signatures combine into certificates of one authenticator."""
    schemes: Mapping[int, Scheme] | None = None
    """Real signatures, if they are wanted; else tokens."""
    count_bytes: bool = False
    """Whether to encode every message for its size; a bound on bandwidth needs it and turns it on."""

    def members(self) -> tuple[int, ...]:
        """The replicas' ids: 1 to n."""
        return tuple(range(1, self.replicas + 1))

    def check(self) -> None:
        """Raises `ConfigurationError` for what cannot be simulated."""
        if self.replicas < 1:
            raise ConfigurationError(f"simulation: {self.replicas} replicas are too few. Give 1 or more.")
        strangers = sorted({*self.liars, *self.twins} - set(self.members()))
        if strangers:
            raise ConfigurationError(
                f"simulation: there is no replica {strangers[0]} to lie. The replicas are 1 to {self.replicas}."
            )
        if self.disk_s < 0:
            raise ConfigurationError(f"simulation: disk_s is {self.disk_s:g}. Give 0 or more seconds.")


class Simulation:
    """One run."""

    def __init__(
        self, world: World, seed: int = 0, checkers: Sequence[Checker] = (), *, keep_last: bool = False
    ) -> None:
        world.check()
        self.world = world
        self.seed = seed
        self.now = 0.0
        self.events = 0
        """Events that replicas have handled."""
        self.messages = 0
        """Messages sent to other replicas."""
        self.bytes = 0
        self.authenticators = 0
        self.slots = 0
        """Slots that some honest replica has decided."""
        self.commands = 0
        """Commands in them."""
        self.checkers = list(checkers)
        self.watchers: list[Watcher] = []
        """Called after every event of any live node, before its effects are carried out."""
        self.last: deque[tuple[float, int, Event]] = deque(maxlen=_LAST_EVENTS)
        """The last events, if `keep_last` or a checker looks on."""
        self._keeps_last = keep_last or bool(checkers)
        self.evidence: list[Any] = []
        members = world.members()
        self.nodes = [
            Node(place, replica, honest=self._is_honest(replica)) for place, replica in enumerate(members)
        ]
        self.nodes += [
            Node(len(members) + index, replica, honest=False)
            for index, replica in enumerate(sorted(world.twins))
        ]
        self._nodes_of: dict[int, tuple[Node, ...]] = {
            replica: tuple(node for node in self.nodes if node.id == replica) for replica in members
        }
        self.network = Network(world.network, self.stream("network"), len(self.nodes))
        self._disk_rng = self.stream("disk")
        self._counts_bytes = world.count_bytes or world.network.bandwidth_bits_per_s is not None
        self._signs = world.kind.faults == "byzantine"
        self._sized: tuple[Any, int] = (None, 0)
        self._codec: Codec | None = None
        self._times: list[float] = []
        self._due: dict[float, list[Any]] = {}
        self._current: Iterator[Any] | None = None
        self.delay_s = world.delay_s or (world.network.latency.typical_s + world.disk_s) or 0.001
        self._plain_delay: float | None = None
        self.network_changed()
        for node in self.nodes:
            self.start(node)

    def _is_honest(self, replica: int) -> bool:
        return replica not in self.world.liars and replica not in self.world.twins

    def stream(self, *names: str) -> Random:
        """The stream of randomness with a name, fixed by the seed."""
        return Random(stream_key(self.seed, "simulation", *names))

    # --- Machines ---------------------------------------------------------------------------------------------

    def start(self, node: Node) -> None:
        """A machine starts, with what is on its disk."""
        world = self.world
        node.life += 1
        life = node.life

        copies = iter(range(1_000_000))

        def make() -> Protocol:
            rng = self.stream("replica", str(node.place), str(life), str(next(copies)))
            return world.kind.make(self._setting(node.id, rng))

        disguise = world.liars.get(node.id)
        node.protocol = make()
        if disguise is not None:
            rng = self.stream("liar", str(node.id), str(life))
            node.protocol = disguise(make, rng, frozenset(world.liars))
        if self._codec is None and self._counts_bytes:
            self._codec = Codec(type(make()))
        node.alive = True
        self._handle(node, Restore(node.clock(self.now), tuple(node.durable)))

    def _setting(self, replica: int, rng: Random) -> Setting:
        world = self.world
        scheme: Scheme = TokenScheme(
            replica, combines=world.combines, proof_bytes=4 if world.combines else VECTOR_PROOF_BYTES
        )
        if world.schemes is not None:
            scheme = world.schemes[replica]
        return Setting(
            replica,
            world.members(),
            rng,
            delay_s=self.delay_s,
            scheme=scheme,
            valid=world.valid,
            batch=world.batch,
            options=world.options,
        )

    def crash(self, node: Node) -> None:
        """A machine stops at once, with what is on its disk."""
        if node.alive:
            waiting = sum(len(records) for _, _, records in node.writing)
            node.crash(self._disk_rng.randint(0, waiting) if self.world.torn and waiting else 0)

    def restart(self, node: Node) -> None:
        """A machine that crashed starts again; one that runs goes on."""
        if not node.alive:
            self.start(node)

    def pause(self, node: Node) -> None:
        """A machine stands still; what comes waits for it."""
        node.paused = node.alive

    def resume(self, node: Node) -> None:
        """A machine that stood still goes on, with all that came meanwhile."""
        if node.paused:
            node.paused = False
            backlog, node.backlog = node.backlog, []
            for source, content in backlog:
                self._dispatch(node, source, content)
            self._wake(node, again=True)  # the wake-up that was due meanwhile is lost

    def set_clock(self, node: Node, *, rate: float = 1.0, offset_s: float = 0.0) -> None:
        """A machine's clock runs at another rate, or jumps."""
        node.rate, node.offset_s = rate, node.clock(self.now) + offset_s - self.now * rate
        if node.alive:
            self._wake(node, again=True)

    def network_changed(self) -> None:
        """To be called when the state of the network was changed: there is a fast way while it is plain."""
        plain = len(self.nodes) == len(self._nodes_of) and not self._counts_bytes
        self._plain_delay = self.network.constant_delay_s if plain else None

    @property
    def honest(self) -> list[Node]:
        """The machines whose replicas do not lie, dead ones too."""
        return [node for node in self.nodes if node.honest]

    def leader(self) -> Node | None:
        """The live honest machine that most of the honest take for the leader; None if nobody leads."""
        votes: dict[int, int] = {}
        for node in self.nodes:
            if node.honest and node.alive and node.protocol is not None and node.protocol.leader is not None:
                votes[node.protocol.leader] = votes.get(node.protocol.leader, 0) + 1
        for replica in sorted(votes, key=lambda replica: (-votes[replica], replica)):
            nodes = self._nodes_of.get(replica, ())
            if nodes and nodes[0].alive:
                return nodes[0]
        return None

    # --- Scheduling -------------------------------------------------------------------------------------------

    def _put(self, at: float, item: Any) -> None:
        due = self._due.get(at)
        if due is None:
            self._due[at] = [item]
            heapq.heappush(self._times, at)
        else:
            due.append(item)

    def at(self, time_s: float, action: Callable[[], None]) -> None:
        """Does something at a time, by the true clock; now, if that has passed."""
        self._put(max(time_s, self.now), (None, 0, action))

    def propose(self, node: Node, commands: tuple[Command, ...], at: float | None = None) -> None:
        """Clients of a machine propose commands, now or at a time."""
        self._put(self.now if at is None else max(at, self.now), (node, _PROPOSE, commands))

    def tell(self, node: Node, make: Callable[[float], Event]) -> None:
        """Gives a replica an event now; `make` gets the time on its clock."""
        self._put(self.now, (node, _EVENT, make))

    def run(
        self, *, until_s: float = math.inf, events: int | None = None, stop: Callable[[], bool] | None = None
    ) -> None:
        """Goes on until a time, a number of events in all, a condition, or until nothing is left to happen.

        May be called again. `stop` is asked whenever time moves. Raises `SafetyViolation` with the seed and the step.
        """
        limit = math.inf if events is None else events
        while self._times:
            if self._current is None:
                if self._times[0] > until_s or (stop is not None and stop()):
                    break
                self.now = self._times[0]
                self._current = iter(
                    self._due[self.now]
                )  # what is put at this very time is seen by the iterator
            for node, source, content in self._current:
                if node is None:
                    content()
                elif not node.alive:
                    continue
                elif node.paused:
                    if source >= 0 or source <= _PROPOSE:
                        node.backlog.append((source, content))
                    elif source == _DISK:
                        self._put(self.now + self.delay_s, (node, source, content))
                elif source >= 0:
                    self._handle(node, Receive(node.offset_s + self.now * node.rate, source, content))
                else:
                    self._dispatch(node, source, content)
                if self.events >= limit:
                    return
            self._current = None
            heapq.heappop(self._times)
            del self._due[self.now]
        if until_s != math.inf and (not self._times or self._times[0] > until_s):
            self.now = max(self.now, until_s)

    def _dispatch(self, node: Node, source: int, content: Any) -> None:
        local = node.clock(self.now)
        if source >= 0:
            self._handle(node, Receive(local, source, content))
        elif source == _WAKE:
            # An earlier wake-up may have taken this one's place; if it went on, it would schedule one more each time.
            if content == node.life and self.now >= node.scheduled_at:
                node.scheduled_at = NEVER
                if node.wake_at <= local + 1e-12 * abs(local):
                    local = max(
                        local, node.wake_at
                    )  # what was lost in rounding must not come too early for ever
                    node.wake_at = NEVER
                    self._handle(node, Tick(local))
                else:
                    self._wake(node)
        elif source == _DISK:
            token, life = content
            if life == node.life:
                node.settle(token)
                self._release(node)
                self._handle(node, Persisted(local, token))
        elif source == _PROPOSE:
            self._handle(node, Propose(local, content))
        else:
            self._handle(node, content(local))

    # --- One step ---------------------------------------------------------------------------------------------

    def _handle(self, node: Node, event: Event) -> None:
        self.events += 1
        protocol = node.protocol
        assert protocol is not None, "a live node has a replica"
        effects = protocol.handle(event)
        if self._keeps_last:
            self.last.append((self.now, node.id, event))
        if self.checkers and node.honest:
            self._check(node, protocol, event, effects)
        for watch in self.watchers:
            watch(node, event, effects)
        token = 0
        if effects.records:
            token = effects.token
            node.write(effects)
            if self.world.disk_s:
                self._put(self.now + self.world.disk_s, (node, _DISK, (token, node.life)))
                token = 0
            else:
                node.settle(token)
        if effects.sends:
            if self._plain_delay is None:
                self._send(node, effects)
            else:
                self._send_plainly(node, effects)
        if effects.decided:
            self._count_decided(node, effects)
        if effects.evidence:
            self.evidence.extend(effects.evidence)
        wake_at = node.wake_at = effects.wake_at
        if wake_at != NEVER and (wake_at - node.offset_s) / node.rate < node.scheduled_at:
            self._wake(node)
        if token:
            self._handle(node, Persisted(event.now, token))

    def _check(self, node: Node, protocol: Protocol, event: Event, effects: Effects) -> None:
        try:
            for checker in self.checkers:
                checker.observe(self.now, node.id, protocol, event, effects)
        except SafetyViolation as violation:
            raise SafetyViolation(f"{violation}\n{self.whereabouts()}") from None

    def whereabouts(self) -> str:
        """Seed, time and step, and the last events, as text."""
        lines = [
            f"  {at:12.6f} s  replica {replica}  {_shortened(event)}" for at, replica, event in self.last
        ]
        return "\n".join(
            [f"seed {self.seed}, event {self.events}, at {self.now:.6f} s. The last events:", *lines]
        )

    def _send_plainly(self, node: Node, effects: Effects) -> None:
        """The fast way: one delay for all, nothing lost, nothing measured but counts."""
        assert self._plain_delay is not None
        at = self.now + self._plain_delay
        due = self._due.get(at)
        if due is None:
            due = self._due[at] = []
            heapq.heappush(self._times, at)
        source, durable, nodes_of = node.id, node.durable_token, self._nodes_of
        count = 0
        for send in effects.sends:
            to, message, after = send
            if after > durable:
                node.held.append(send)
            elif to == source:
                self._put(self.now, (node, source, message))
            else:
                count += 1
                due.append((nodes_of[to][0], source, message))
                if self._signs:
                    self.authenticators += message.authenticators
        self.messages += count

    def _send(self, node: Node, effects: Effects) -> None:
        for send in effects.sends:
            if send[2] > node.durable_token:
                node.held.append(send)
            else:
                self._transmit(node, send[0], send[1])

    def _release(self, node: Node) -> None:
        held, node.held = node.held, []
        for send in held:
            if send[2] > node.durable_token:
                node.held.append(send)
            else:
                self._transmit(node, send[0], send[1])

    def _transmit(self, node: Node, to: int, message: Any) -> None:
        targets = self._nodes_of.get(to, ())
        if to == node.id:
            self._put(self.now, (node, node.id, message))
            targets = tuple(target for target in targets if target is not node)
        if not targets:
            return
        size = self._size_of(message) if self._counts_bytes else 0
        if to != node.id:
            self.messages += 1
            self.bytes += size + HEADER_BYTES if self._counts_bytes else 0
            if self._signs:
                self.authenticators += message.authenticators
        for target in targets:
            for arrival in self.network.arrivals(self.now, node.place, target.place, size):
                self._put(arrival, (target, node.id, message))

    def _size_of(self, message: Any) -> int:
        known, size = self._sized
        if known is not message:
            assert self._codec is not None
            size = len(self._codec.encode(message))
            self._sized = (message, size)
        return size

    def _count_decided(self, node: Node, effects: Effects) -> None:
        decided = effects.decided
        last = decided[-1].slot
        node.decided = max(node.decided, last)
        if node.honest and last > self.slots:
            for one in decided:
                if one.slot > self.slots:
                    self.commands += len(one.commands)
            self.slots = last

    def _wake(self, node: Node, *, again: bool = False) -> None:
        """Schedules the node's next tick."""
        at = max(node.true_time(node.wake_at), self.now)
        if at == NEVER or (at >= node.scheduled_at and not again):
            return
        node.scheduled_at = at
        self._put(at, (node, _WAKE, node.life))


def _shortened(event: Event, characters: int = 160) -> str:
    text = repr(event)
    return text if len(text) <= characters else text[: characters - 1] + "\u2026"


def places(nodes: Iterable[Node]) -> list[int]:
    """The places of nodes."""
    return [node.place for node in nodes]
