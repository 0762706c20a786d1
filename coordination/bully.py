"""The bully algorithm: the greatest live id leads.

Source: Garcia-Molina, "Elections in a distributed computing system", IEEE Transactions on Computers C-31(1), 1982.

Rules:
* A replica that starts, or misses its leader, calls an election: it asks all with greater ids. Who is asked answers and
  calls an election of its own, or says that it leads. Who gets no answer within two delays leads, and tells all with
  smaller ids.
* Who got an answer waits for the leader to speak up, five delays in all, and else calls again: the one who answered
  has crashed.
* A leader speaks up every `heartbeat_delays`; two missed are a crash. Without heartbeats elections begin by hand only
  (`Instruct("elect")`).
* The network must be synchronous: a message that is later than `Setting.delay_s` may give two leaders for a while. Who
  hears of a smaller leader bullies it: so there is one again when messages are in time again.

| n replicas, of which the greatest is dead | messages | delays until all know |
|---|---|---|
| best: the second greatest calls | n - 1 | 3 |
| worst: the smallest calls | n^2 - n - 1 | 4 |
| nobody dead, the smallest calls | n^2 - 1 | 2 |
"""

from dataclasses import dataclass
from typing import Any

from actors.errors import ConfigurationError
from coordination.protocol import (
    NEVER,
    Effects,
    Event,
    Instruct,
    Protocol,
    ProtocolKind,
    Receive,
    Restore,
    Setting,
    Tick,
    Wire,
    options_from,
)

ELECT = "elect"
"""The order to call an election."""


class Election(Wire, frozen=True, gc=False):
    """Who is greater, answer."""


class Alive(Wire, frozen=True, gc=False):
    """The answer: I am greater, and take over."""


class Coordinator(Wire, frozen=True, gc=False):
    """I lead."""


@dataclass(frozen=True)
class BullyOptions:
    """How a replica behaves."""

    heartbeat_delays: float = 5.0
    """How often a leader speaks up, in `Setting.delay_s`; 0 for never, and no election by itself."""


class Bully(Protocol):
    """A replica that bullies."""

    wire = (Election, Alive, Coordinator)

    def __init__(self, setting: Setting) -> None:
        self.id = setting.id
        options: BullyOptions = options_from(BullyOptions, setting)
        if options.heartbeat_delays < 0:
            raise ConfigurationError("bully: heartbeat_delays is below 0. Give 0 for none, or more.")
        self._greater = [member for member in setting.members if member > setting.id]
        self._smaller = [member for member in setting.members if member < setting.id]
        # A little more than the bound: what takes exactly the bound is in time.
        self._delay_s = setting.delay_s * 1.001
        self._heartbeat_s = options.heartbeat_delays * setting.delay_s
        self._leader: int | None = None
        self._calling = False
        """Whether it waits for answers."""
        self._deadline = NEVER
        """Of answers, of the leader's word, or for its own heartbeat."""

    @property
    def leader(self) -> int | None:
        """As `Protocol.leader`."""
        return self._leader

    def handle(self, event: Event) -> Effects:
        """As `Protocol.handle`."""
        effects = Effects()
        if (isinstance(event, Restore) and self._heartbeat_s) or (
            isinstance(event, Instruct) and event.order == ELECT
        ):
            self._call(event.now, effects)
        elif isinstance(event, Tick) and event.now >= self._deadline:
            if self._calling or self._leader == self.id:
                self._lead(event.now, effects)
            else:
                self._call(event.now, effects)
        elif isinstance(event, Receive):
            self._receive(event.now, event.source, event.message, effects)
        effects.wake_at = self._deadline
        return effects

    def _receive(self, now: float, source: int, message: Any, effects: Effects) -> None:
        if isinstance(message, Election) and source in self._smaller:
            if self._leader == self.id:
                effects.sends.append((source, Coordinator(), 0))
                return
            effects.sends.append((source, Alive(), 0))
            if not self._calling:
                self._call(now, effects)
        elif isinstance(message, Alive) and source in self._greater and self._calling:
            self._calling = False
            self._deadline = now + 3 * self._delay_s
        elif isinstance(message, Coordinator) and source in self._greater:
            self._leader, self._calling = source, False
            self._deadline = now + 2 * self._heartbeat_s + self._delay_s if self._heartbeat_s else NEVER
        elif isinstance(message, Coordinator) and source in self._smaller:
            self._call(now, effects)

    def _call(self, now: float, effects: Effects) -> None:
        self._leader = None
        if not self._greater:
            self._lead(now, effects)
            return
        self._calling = True
        self._deadline = now + 2 * self._delay_s
        effects.sends += [(member, Election(), 0) for member in self._greater]

    def _lead(self, now: float, effects: Effects) -> None:
        self._leader, self._calling = self.id, False
        self._deadline = now + self._heartbeat_s if self._heartbeat_s else NEVER
        effects.sends += [(member, Coordinator(), 0) for member in self._smaller]


BULLY = ProtocolKind(
    "bully",
    "Bully election",
    Bully,
    "crash",
    lambda f: f + 1,
    "Garcia-Molina, Elections in a distributed computing system, IEEE TC C-31(1), 1982",
)
