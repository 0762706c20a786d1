"""Push-pull gossip: a rumour reaches all, by random calls, without anybody in charge.

Source: Karp, Schindelhauer, Shenker, Vocking, "Randomized rumor spreading", FOCS 2000: the median-counter algorithm.

Rules:
* In each round every replica calls one other, drawn at random. The caller pushes the rumours it is hot with, and who
  was called answers with its own (pull). A rumour is known by its origin, the origin's life and a number.
* Who hears a rumour becomes hot with counter 1. In a round in which more of those it spoke with had a counter at least
  as great, or were cooling, than not, its counter rises by one. At `most_count`, or on hearing the rumour from one that
  is cooling, it starts cooling: it goes on for `most_count` rounds and then says no more. So the end of the rumour is
  itself a rumour, and nobody needs to know how far it has spread.
* A replica delivers a rumour once in each of its lives, in `Decided`; slots are its own count. Nothing is agreed on:
  the order differs from replica to replica.
* A life's number is durable before its first call, so that rumours of two lives are never taken for one.
* Delivery to all is very likely, not certain: who is away for the whole spread misses it. For certainty exchange state
  (`crdt`).

| cost | of one rumour |
|---|---|
| transmissions of it | O(n log log n) |
| rounds until all know | log3 n + O(log log n) with high probability |
| calls, with or without it | 2n messages a round, answers included |
| faults | loss, repetition, disorder; crashes of others |
"""

import math
from dataclasses import dataclass
from typing import Any

from actors.errors import ConfigurationError
from coordination.protocol import (
    Command,
    Decided,
    Effects,
    Event,
    Propose,
    Protocol,
    ProtocolKind,
    Receive,
    Rejected,
    Restore,
    Setting,
    Tick,
    Wire,
    options_from,
)

COOLING = 0
"""The counter of a rumour that its sender will soon stop spreading."""
RumourId = tuple[int, int, int]


class Rumour(Wire, frozen=True, gc=False):
    """A rumour on its way, with its sender's counter."""

    origin: int
    life: int
    number: int
    counter: int
    payload: Any


class Call(Wire, frozen=True, gc=False):
    """A call: what the caller is hot with. It wants an answer."""

    rumours: tuple[Rumour, ...]


class Answer(Wire, frozen=True, gc=False):
    """What the one who was called is hot with."""

    rumours: tuple[Rumour, ...]


class Started(Wire, frozen=True, gc=False):
    """The record of a life."""

    life: int


@dataclass(frozen=True)
class GossipOptions:
    """How a replica gossips."""

    period_delays: float = 3.0
    """A round, in `Setting.delay_s`: above 2, or an answer comes in the next."""
    most_count: int | None = None
    """At which counter a rumour cools, and for how many rounds. None: 2 + log2 log2 n, rounded up."""
    most_hot: int = 1_000
    """Rumours that a replica spreads at one time. Its clients' further ones are rejected, others' dropped."""
    most_remembered: int = 100_000
    """Finished rumours whose ids it knows; then it forgets the oldest."""


class _Heat:
    """What a replica does with a rumour."""

    __slots__ = ("cooling_rounds", "counter", "heard_cooling", "higher", "payload")

    def __init__(self, payload: Any, counter: int) -> None:
        self.payload = payload
        self.counter = counter
        self.cooling_rounds = 0
        self.higher = 0
        """Those it spoke with in this round whose counter was no smaller."""
        self.heard_cooling = False


class Gossip(Protocol):
    """A replica that gossips."""

    wire = (Call, Answer)
    records = (Started,)

    def __init__(self, setting: Setting) -> None:
        self.id = setting.id
        self.options: GossipOptions = options_from(GossipOptions, setting)
        if not self.options.period_delays > 0 or min(self.options.most_hot, self.options.most_remembered) < 1:
            raise ConfigurationError(
                "gossip: period_delays, most_hot and most_remembered must be above 0. Raise them."
            )
        self._others = tuple(member for member in setting.members if member != setting.id)
        self._rng = setting.rng
        self._period_s = self.options.period_delays * setting.delay_s
        spread = math.log2(max(2.0, math.log2(max(2, len(setting.members)))))
        self.most_count = self.options.most_count or 2 + math.ceil(spread)
        self.known: dict[RumourId, None] = {}
        """Every rumour that was delivered in this life, the oldest first."""
        self.transmissions = 0
        """Rumours that were put into messages."""
        self._hot: dict[RumourId, _Heat] = {}
        self._spoke_with = 0
        self._life = 0
        self._issued = 0
        self._delivered = 0
        self._next_at = 0.0

    def handle(self, event: Event) -> Effects:
        """As `Protocol.handle`."""
        effects = Effects()
        if isinstance(event, Restore):
            self._life = 1 + max(
                (record.life for record in event.records if isinstance(record, Started)), default=0
            )
            effects.records, effects.token = [Started(self._life)], 1
            self._next_at = event.now + self._period_s
        elif isinstance(event, Propose):
            self._propose(event.commands, effects)
        elif isinstance(event, Receive):
            self._receive(event.source, event.message, effects)
        elif isinstance(event, Tick) and event.now >= self._next_at:
            self._end_round()
            self._next_at = event.now + self._period_s
            if self._others:
                effects.sends.append((self._rng.choice(self._others), Call(self._pushed()), 1))
        effects.wake_at = self._next_at
        return effects

    def _propose(self, commands: tuple[Command, ...], effects: Effects) -> None:
        room = max(0, self.options.most_hot - len(self._hot))
        for command in commands[:room]:
            self._issued += 1
            self._deliver((self.id, self._life, self._issued), command, 1, effects)
        if commands[room:]:
            effects.rejected.append(Rejected(commands[room:]))

    def _receive(self, source: int, message: Any, effects: Effects) -> None:
        if source not in self._others or not isinstance(message, Call | Answer):
            return
        if isinstance(message, Call):  # answered from before the call: it is no news to its sender
            effects.sends.append((source, Answer(self._pushed()), 1))
        self._spoke_with += 1
        for rumour in message.rumours:
            rumour_id = (rumour.origin, rumour.life, rumour.number)
            heat = self._hot.get(rumour_id)
            if heat is not None:
                heat.heard_cooling |= rumour.counter == COOLING
                heat.higher += rumour.counter == COOLING or rumour.counter >= heat.counter > COOLING
            elif rumour_id not in self.known and len(self._hot) < self.options.most_hot:
                counter = COOLING if rumour.counter == COOLING else 1
                self._deliver(rumour_id, rumour.payload, counter, effects)

    def _deliver(self, rumour_id: RumourId, payload: Any, counter: int, effects: Effects) -> None:
        self._hot[rumour_id] = _Heat(payload, counter)
        self.known[rumour_id] = None
        self._delivered += 1
        effects.decided.append(Decided(self._delivered, (payload,), rumour_id))

    def _pushed(self) -> tuple[Rumour, ...]:
        self.transmissions += len(self._hot)
        return tuple(Rumour(*rumour_id, heat.counter, heat.payload) for rumour_id, heat in self._hot.items())

    def _end_round(self) -> None:
        """Counters rise and rumours end by what was heard in the round."""
        for rumour_id, heat in list(self._hot.items()):
            if heat.counter == COOLING:
                heat.cooling_rounds += 1
                if heat.cooling_rounds >= self.most_count:
                    del self._hot[rumour_id]
            elif heat.heard_cooling:
                heat.counter = COOLING
            elif heat.higher > self._spoke_with - heat.higher:
                heat.counter = heat.counter + 1 if heat.counter + 1 < self.most_count else COOLING
            heat.higher = 0
        self._spoke_with = 0
        while len(self.known) > self.options.most_remembered:
            oldest = next(iter(self.known))
            if oldest in self._hot:
                break
            del self.known[oldest]


GOSSIP = ProtocolKind(
    "gossip",
    "Push-pull gossip",
    Gossip,
    "crash",
    lambda f: f + 1,
    "Karp et al., Randomized rumor spreading, FOCS 2000",
)
