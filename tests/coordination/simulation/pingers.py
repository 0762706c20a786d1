"""Small protocols whose every step is known, to try the simulator with."""

from typing import Any

from coordination.protocol import (
    NEVER,
    Decided,
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
    Wire,
)


class Note(Wire, frozen=True, gc=False):
    """Something said."""

    text: str
    number: int = 0


class Kept(Wire, frozen=True, gc=False):
    """Something written down."""

    number: int


class Scribe(Protocol):
    """Writes each command down, tells all others when that is durable, and counts what it hears."""

    wire = (Note,)
    records = (Kept,)

    def __init__(self, setting: Setting) -> None:
        self.id = setting.id
        self.members = setting.members
        self.token = 0
        self.heard: list[tuple[float, int, Any]] = []
        self.restored: list[int] = []
        self.persisted: list[int] = []
        self.ticks: list[float] = []
        self.draw = setting.rng.random()
        self.ring_at = NEVER

    def handle(self, event: Event) -> Effects:
        """See `Protocol`."""
        if isinstance(event, Restore):
            self.restored = [record.number for record in event.records]
        elif isinstance(event, Receive):
            self.heard.append((event.now, event.source, event.message))
        elif isinstance(event, Tick):
            self.ticks.append(event.now)
            self.ring_at = NEVER
        elif isinstance(event, Persisted):
            self.persisted.append(event.token)
        elif isinstance(event, Propose) and event.commands[0] == "ring":
            self.ring_at = event.now + event.commands[1]
        elif isinstance(event, Propose):
            self.token += 1
            note = Note("told", event.commands[0])
            sends = [(to, note, self.token) for to in self.members if to != self.id]
            return Effects(
                sends=sends, records=[Kept(event.commands[0])], token=self.token, wake_at=self.ring_at
            )
        return Effects(wake_at=self.ring_at)


class Boaster(Protocol):
    """Decides at once whatever it is told, alone: a protocol that agrees on nothing."""

    wire = (Note,)

    def __init__(self, setting: Setting) -> None:
        self.id = setting.id
        self.slot = 0

    def handle(self, event: Event) -> Effects:
        """See `Protocol`."""
        if not isinstance(event, Propose):
            return Effects()
        self.slot += 1
        return Effects(decided=[Decided(self.slot, event.commands)])


SCRIBE = ProtocolKind("scribe", "Scribe", Scribe, "crash", lambda f: 2 * f + 1, "none")
BOASTER = ProtocolKind("boaster", "Boaster", Boaster, "crash", lambda f: 2 * f + 1, "none")
