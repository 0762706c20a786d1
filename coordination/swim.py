"""SWIM: who is a member and alive, known to all by gossip, at a constant load for each member.

Source: Das, Gupta, Motivala, "SWIM: scalable weakly-consistent infection-style process group membership protocol",
DSN 2002; sections 3 (detection), 4.1 (piggyback), 4.2 (suspicion) and 4.3 (round robin).

Rules:
* In each period a member pings one other and waits for its ack. If none comes in time it asks `helpers` others to ping
  that one, and if no ack has come by the end of the period it suspects it.
* A suspect that does not refute within `suspicion_periods` is declared dead. It refutes by an incarnation, a number
  that only the member itself raises and that is durable before it is sent. Of two statements on a member the one of the
  greater incarnation wins; at one incarnation dead wins over suspect, and suspect over alive.
* Statements travel on pings and acks, each `spread` log2 n times from each member, the least sent first: no messages of
  their own.
* Who is declared dead and is not learns it from the ack to its own ping, and comes back under a greater incarnation.
  Now and then one of the dead is pinged, so that two halves of a network find each other again.
* Who sends a statement against a member to that member itself gets its word by the next message, news or not: the
  statement may be an old one that the member has long refuted, and whose refutation has spread and is sent no more.
  Without this rule a member may be held dead by one other for ever, though the two exchange pings and acks.

| cost | of a group of n |
|---|---|
| messages of a member a period | 2 when all are well (a ping and an ack), at most 2 + 4 `helpers` when one is dead |
| until somebody pings a dead member | random targets: e/(e - 1) periods on average; round robin: at most 2n - 1 |
| until all know | O(log n) periods more, after `suspicion_periods` |
| faults | loss, repetition, disorder; crashes, partitions |
"""

import math
from dataclasses import dataclass
from enum import IntEnum

from actors.errors import ConfigurationError
from coordination.protocol import (
    Effects,
    Event,
    Protocol,
    ProtocolKind,
    Receive,
    Restore,
    Setting,
    Tick,
    Trace,
    Wire,
    options_from,
)


class Status(IntEnum):
    """What is held of a member; the greater wins at one incarnation."""

    ALIVE = 0
    SUSPECT = 1
    DEAD = 2


class Update(Wire, frozen=True, gc=False):
    """A statement on a member."""

    member: int
    status: int
    incarnation: int


class Ping(Wire, frozen=True, gc=False):
    """Are you alive? For `origin`, who may be another than the sender."""

    origin: int
    number: int
    updates: tuple[Update, ...]


class PingRequest(Wire, frozen=True, gc=False):
    """Ping this one for me."""

    target: int
    number: int
    updates: tuple[Update, ...]


class Ack(Wire, frozen=True, gc=False):
    """I am alive: to `origin`, by way of the one who pinged."""

    member: int
    origin: int
    number: int
    updates: tuple[Update, ...]


class Incarnation(Wire, frozen=True, gc=False):
    """The record of one's own incarnation."""

    number: int


@dataclass(frozen=True)
class SwimOptions:
    """How a member behaves."""

    period_delays: float = 8.0
    """A period, in `Setting.delay_s`: above 6, two for a ping and four by way of a helper."""
    helpers: int = 3
    """How many are asked to ping for one."""
    suspicion_periods: float | None = None
    """None: 3 log2 n, rounded up."""
    round_robin: bool = True
    """Whether each other is pinged once before any twice; else targets are drawn anew each time."""
    spread: float = 3.0
    """A statement is sent so many times log2 n."""
    most_updates: int = 8
    """Statements on one message."""
    reconnect_periods: int = 10
    """Every so many periods one of the dead is pinged too."""


class _Held:
    """What is held of a member."""

    __slots__ = ("incarnation", "status")

    def __init__(self) -> None:
        self.status = Status.ALIVE
        self.incarnation = 0


class Swim(Protocol):
    """A member."""

    wire = (Ping, PingRequest, Ack)
    records = (Incarnation,)

    def __init__(self, setting: Setting) -> None:
        self.id = setting.id
        self.options: SwimOptions = options_from(SwimOptions, setting)
        if self.options.period_delays <= 6 or self.options.helpers < 0 or self.options.reconnect_periods < 1:
            raise ConfigurationError(
                "swim: give period_delays above 6, helpers 0 or more and reconnect_periods 1 or more."
            )
        self._rng = setting.rng
        self._delay_s = setting.delay_s
        self._period_s = self.options.period_delays * setting.delay_s
        logarithm = max(1.0, math.log2(len(setting.members)))
        self._suspicion_s = self._period_s * (self.options.suspicion_periods or math.ceil(3 * logarithm))
        self._most_sent = math.ceil(self.options.spread * logarithm)
        self.held = {member: _Held() for member in setting.members if member != setting.id}
        self.incarnation = 0
        self._queue: dict[int, tuple[Update, int]] = {}
        """The last statement on a member, and how often it was sent."""
        self._expires_at: dict[int, float] = {}
        """When each suspect is declared dead."""
        self._accusers: dict[int, None] = {}
        """Members that said something against this one, and have not had its word since."""
        self._order: list[int] = []
        self._number = 0
        self._target = 0
        """Who is pinged in this period; 0 once it answered."""
        self._indirect_at = math.inf
        self._period_ends = math.inf
        self._periods = 0
        self._token = 0

    def status(self, member: int) -> Status:
        """What is held of a member; one is alive oneself."""
        return Status.ALIVE if member == self.id else self.held[member].status

    def alive(self) -> list[int]:
        """All that are not held dead, oneself among them."""
        return sorted(
            [self.id, *(member for member, held in self.held.items() if held.status != Status.DEAD)]
        )

    def handle(self, event: Event) -> Effects:
        """As `Protocol.handle`."""
        effects = Effects()
        if isinstance(event, Restore):
            known = max(
                (record.number for record in event.records if isinstance(record, Incarnation)), default=-1
            )
            self._rise(known + 1, effects)
            self._period_ends = event.now + self._period_s * self._rng.random()  # not all at one time
        elif isinstance(event, Receive):
            self._receive(event, effects)
        elif isinstance(event, Tick):
            self._tick(event.now, effects)
        effects.wake_at = min(self._period_ends, self._indirect_at, *self._expires_at.values())
        return effects

    # --- Detection ------------------------------------------------------------------------------------------------

    def _tick(self, now: float, effects: Effects) -> None:
        for member in [member for member, expires_at in self._expires_at.items() if now >= expires_at]:
            self._state(Update(member, Status.DEAD, self.held[member].incarnation), now, effects)
        if now >= self._period_ends:
            if self._target:
                held = self.held[self._target]
                if held.status == Status.ALIVE:
                    self._state(Update(self._target, Status.SUSPECT, held.incarnation), now, effects)
            self._period_ends, self._indirect_at = now + self._period_s, math.inf
            self._begin_period(now, effects)
        elif now >= self._indirect_at:
            self._indirect_at = math.inf
            others = [member for member in self.alive() if member not in (self.id, self._target)]
            for helper in self._rng.sample(others, min(self.options.helpers, len(others))):
                message = PingRequest(self._target, self._number, self._updates(helper))
                effects.sends.append((helper, message, self._token))

    def _begin_period(self, now: float, effects: Effects) -> None:
        self._periods += 1
        self._number += 1
        self._target = self._next_target()
        dead = [member for member, held in self.held.items() if held.status == Status.DEAD]
        if dead and self._periods % self.options.reconnect_periods == 0:
            self._ping(self._rng.choice(dead), self.id, 0, effects)
        if self._target:
            self._ping(self._target, self.id, self._number, effects)
            self._indirect_at = now + 2.001 * self._delay_s

    def _next_target(self) -> int:
        """Who is pinged now; 0 if nobody is left."""
        living = [member for member, held in self.held.items() if held.status != Status.DEAD]
        if not living:
            return 0
        if not self.options.round_robin:
            return self._rng.choice(living)
        self._order = [member for member in self._order if self.held[member].status != Status.DEAD]
        if not self._order:
            self._order = living
            self._rng.shuffle(self._order)
        return self._order.pop()

    def _ping(self, target: int, origin: int, number: int, effects: Effects) -> None:
        effects.sends.append((target, Ping(origin, number, self._updates(target)), self._token))

    def _receive(self, event: Receive, effects: Effects) -> None:
        source, message = event.source, event.message
        if source not in self.held or not isinstance(message, Ping | PingRequest | Ack):
            return
        for update in message.updates:
            self._hear(update, event.now, effects)
            if update.member == self.id and update.status != Status.ALIVE:
                self._accusers[source] = None
        if isinstance(message, Ping):
            ack = Ack(self.id, message.origin, message.number, self._updates(source))
            effects.sends.append((source, ack, self._token))
        elif isinstance(message, PingRequest):
            if message.target in self.held and message.target != source:
                self._ping(message.target, source, message.number, effects)
        elif message.origin != self.id:
            if message.origin in self.held:
                updates = self._updates(message.origin)
                passed_on = Ack(message.member, message.origin, message.number, updates)
                effects.sends.append((message.origin, passed_on, self._token))
        elif message.number == self._number and message.member == self._target:
            self._target, self._indirect_at = 0, math.inf

    # --- Statements -----------------------------------------------------------------------------------------------

    def _hear(self, update: Update, now: float, effects: Effects) -> None:
        """Takes a statement if it is news."""
        if update.member == self.id:
            if update.status != Status.ALIVE and update.incarnation >= self.incarnation:
                self._rise(update.incarnation + 1, effects)
        elif update.member in self.held and update.status in tuple(Status):
            held = self.held[update.member]
            if (update.incarnation, update.status) > (held.incarnation, held.status):
                self._state(update, now, effects)

    def _state(self, update: Update, now: float, effects: Effects) -> None:
        """Holds a statement and passes it on."""
        held = self.held[update.member]
        held.status, held.incarnation = Status(update.status), update.incarnation
        self._expires_at.pop(update.member, None)
        if held.status == Status.SUSPECT:
            self._expires_at[update.member] = now + self._suspicion_s
        self._queue[update.member] = (update, 0)
        details = {"member": update.member, "status": held.status.name, "incarnation": held.incarnation}
        effects.trace.append(Trace("member", details))

    def _rise(self, number: int, effects: Effects) -> None:
        """A greater incarnation: durable first."""
        self.incarnation = number
        self._token += 1
        effects.records, effects.token, effects.checkpoint = [Incarnation(number)], self._token, True
        self._queue[self.id] = (Update(self.id, Status.ALIVE, number), 0)

    def _updates(self, to: int) -> tuple[Update, ...]:
        """What a message to a member carries: what is held against it, an answer to it, what was sent the least."""
        chosen = []
        held = self.held[to]
        if held.status != Status.ALIVE:
            chosen.append(Update(to, held.status, held.incarnation))
        if to in self._accusers:
            del self._accusers[to]
            chosen.append(Update(self.id, Status.ALIVE, self.incarnation))
        waiting = sorted(self._queue.values(), key=lambda each: (each[1], each[0].member))
        for update, sent in waiting[: max(0, self.options.most_updates - len(chosen))]:
            chosen.append(update)
            if sent + 1 >= self._most_sent:
                del self._queue[update.member]
            else:
                self._queue[update.member] = (update, sent + 1)
        return tuple(chosen)


SWIM = ProtocolKind(
    "swim",
    "SWIM membership",
    Swim,
    "crash",
    lambda f: f + 1,
    "Das, Gupta, Motivala, SWIM, DSN 2002",
)
