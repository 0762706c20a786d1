"""The effects of the event under way, and what waits for the disk.

Rules:
* All records of one event are durable under one token; a message marked with it leaves after them.
* A replica takes part in its own votes like any other: it hears a message to itself when others could hear it, that is
  when what the message promises is durable.
"""

from collections import deque
from typing import Any

from coordination.protocol import Decided, Effects, Evidence, Setting, Trace, Wire


class Outbox:
    """Collects the effects of one event after another."""

    def __init__(self, setting: Setting) -> None:
        self.effects = Effects()
        self._me = setting.id
        self._others = tuple(member for member in setting.members if member != setting.id)
        self._traces = setting.trace
        self._token = 0
        self._durable = 0
        self._own: deque[tuple[int, Any]] = deque()
        self._accused: set[int] = set()

    def begin(self) -> Effects:
        """A new event: its effects."""
        self.effects = Effects()
        return self.effects

    @property
    def token(self) -> int:
        """Of this event's records so far; 0 without any."""
        return self.effects.token

    def persist(self, record: Wire) -> int:
        """Adds a record. The token after which what it promises may be sent."""
        effects = self.effects
        if not effects.token:
            self._token += 1
            effects.token = self._token
        effects.records.append(record)
        return effects.token

    def checkpoint(self, records: list[Wire]) -> None:
        """Puts records in the place of all earlier ones."""
        effects = self.effects
        effects.records = [*records, *effects.records]
        effects.checkpoint = True
        if not effects.token:
            self._token += 1
            effects.token = self._token

    def send(self, to: int, message: Any, token: int = 0) -> None:
        """To one replica; to itself when the token is durable."""
        if to == self._me:
            self._own.append((token, message))
        else:
            self.effects.sends.append((to, message, token))

    def broadcast(self, message: Any, token: int = 0) -> None:
        """To all others."""
        self.effects.sends.extend([(other, message, token) for other in self._others])

    def durable(self, token: int) -> None:
        """All records up to this token are durable."""
        self._durable = max(self._durable, token)

    def next_own(self) -> Any | None:
        """The next message to itself that may be heard now."""
        if self._own and self._own[0][0] <= self._durable:
            return self._own.popleft()[1]
        return None

    def decide(self, slot: int, commands: tuple[Any, ...], proof: Any) -> None:
        """A slot is decided."""
        self.effects.decided.append(Decided(slot, commands, proof))

    def accuse(self, culprit: int, first: Wire, second: Wire) -> None:
        """Shows two statements that no correct replica makes both; once for each culprit."""
        if culprit not in self._accused:
            self._accused.add(culprit)
            self.effects.evidence.append(Evidence(culprit, first, second))

    def trace(self, name: str, **details: Any) -> None:
        """Something to look at, if anybody looks."""
        if self._traces:
            self.effects.trace.append(Trace(name, details))
