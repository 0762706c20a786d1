"""Replicated data types on the move: each replica sends its whole state to whomever it draws, and merges what comes.

Source: Shapiro, Preguica, Baquero, Zawirski, "Conflict-free replicated data types", SSS 2011, section 2.2: state-based
objects over any network that lets some state through again and again.

Rules:
* An update acts at once on its replica's own copy. It is durable before it leaves and before it is acknowledged
  (`Decided`): a replica goes on from its own last state after a crash, or two updates would share one name.
* In each round every replica sends its state to one other, drawn at random, and who gets one that differs from what it
  then holds answers with its own: both hold the join.
* Nothing is agreed on; slots count the updates acknowledged in a life. What is merged is not written down: it comes
  again.

| cost, n replicas | |
|---|---|
| messages a round | n when all are equal, at most 2n |
| rounds until all have an update | O(log n) with high probability, as push-pull gossip |
| bytes of a message | the state |
| faults | loss, repetition, disorder, partitions; crashes and restarts |

Updates, as commands: `["add", amount]` of the counters, `["add", element]` and `["remove", element]` of the set,
`["put", key, value]` and `["remove", key]` of the map. Anything else is rejected.
"""

from dataclasses import dataclass
from typing import Any

from actors.errors import ConfigurationError
from coordination.crdt import GCounter, LWWMap, ORSet, PNCounter
from coordination.protocol import (
    NEVER,
    Command,
    Decided,
    Effects,
    Event,
    Persisted,
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

State = GCounter | PNCounter | ORSet | LWWMap
_TYPES: dict[str, type[Any]] = {
    "g-counter": GCounter,
    "pn-counter": PNCounter,
    "or-set": ORSet,
    "lww-map": LWWMap,
}


class Copy(Wire, frozen=True, gc=False):
    """A replica's state, in its wire form. `wants` is whether a different one should be sent back."""

    state: Any
    wants: bool


class Kept(Wire, frozen=True, gc=False):
    """The record of a state: stands for all earlier ones."""

    state: Any


@dataclass(frozen=True)
class StateGossipOptions:
    """What is replicated, and how often it is sent."""

    type: str = "or-set"
    """`g-counter`, `pn-counter`, `or-set` or `lww-map`."""
    period_delays: float = 3.0
    """A round, in `Setting.delay_s`."""


class StateGossip(Protocol):
    """A replica of one object."""

    wire = (Copy,)
    records = (Kept,)

    def __init__(self, setting: Setting) -> None:
        self.id = setting.id
        options: StateGossipOptions = options_from(StateGossipOptions, setting)
        if options.type not in _TYPES or not options.period_delays > 0:
            raise ConfigurationError(
                f"crdt: type is {options.type!r} and period_delays {options.period_delays:g}. "
                f"Give one of {', '.join(_TYPES)}, and more than 0."
            )
        self._type = _TYPES[options.type]
        self.state: State = self._type()
        self._others = tuple(member for member in setting.members if member != setting.id)
        self._rng = setting.rng
        self._period_s = options.period_delays * setting.delay_s
        self._next_at = NEVER
        self._token = 0
        self._waiting: list[tuple[int, Command]] = []
        """Updates that are not durable yet, with their tokens."""
        self._acknowledged = 0

    def handle(self, event: Event) -> Effects:
        """As `Protocol.handle`."""
        effects = Effects()
        if isinstance(event, Restore):
            for record in event.records:
                self.state = self._type.from_wire(record.state)
            self._next_at = event.now + self._period_s
        elif isinstance(event, Propose):
            self._propose(event.commands, effects)
        elif isinstance(event, Persisted):
            self._acknowledge(event.token, effects)
        elif isinstance(event, Receive):
            self._receive(event.source, event.message, effects)
        elif isinstance(event, Tick) and event.now >= self._next_at:
            self._next_at = event.now + self._period_s
            if self._others:
                message = Copy(self.state.to_wire(), True)
                effects.sends.append((self._rng.choice(self._others), message, self._token))
        effects.wake_at = self._next_at
        return effects

    def _propose(self, commands: tuple[Command, ...], effects: Effects) -> None:
        for command in commands:
            state = updated(self.state, str(self.id), command)
            if state is None:
                effects.rejected.append(Rejected((command,)))
                continue
            self.state = state
            if not effects.token:
                self._token += 1
                effects.token = self._token
            self._waiting.append((self._token, command))
        if effects.token:
            effects.records, effects.checkpoint = [Kept(self.state.to_wire())], True

    def _acknowledge(self, token: int, effects: Effects) -> None:
        done = [command for one, command in self._waiting if one <= token]
        self._waiting = self._waiting[len(done) :]
        for command in done:
            self._acknowledged += 1
            effects.decided.append(Decided(self._acknowledged, (command,)))

    def _receive(self, source: int, message: Any, effects: Effects) -> None:
        if source not in self._others or not isinstance(message, Copy):
            return
        try:
            theirs = self._type.from_wire(message.state)
        except ConfigurationError:
            return
        merged: Any = self.state
        merged = merged.merge(theirs)
        if merged != self.state:
            self.state = merged
        if message.wants and self.state != theirs:
            effects.sends.append((source, Copy(self.state.to_wire(), False), self._token))


def updated(state: State, replica: str, command: Command) -> State | None:
    """The state after a replica's update; None if the command is none of its type's."""
    match state, command:
        case GCounter(), ("add", int(amount)) if amount >= 0:
            return state.add(replica, amount)
        case PNCounter(), ("add", int(amount)):
            return state.add(replica, amount)
        case ORSet(), ("add", str() | int() as element):
            return state.add(replica, element)
        case ORSet(), ("remove", str() | int() as element):
            return state.remove(element)
        case LWWMap(), ("put", str(key), value):
            return state.put(replica, key, value)
        case LWWMap(), ("remove", str(key)):
            return state.remove(replica, key)
    return None


STATE_GOSSIP = ProtocolKind(
    "crdt",
    "Replicated types by gossip",
    StateGossip,
    "crash",
    lambda f: f + 1,
    "Shapiro et al., Conflict-free replicated data types, SSS 2011",
)
