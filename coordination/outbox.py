"""The effects of one event, gathered, and a replica's own votes held back until they are durable.

Rules:
* Records of one event share one token; whatever depends on them is sent with that token, and counted by the replica
  itself only after `Persisted`: a vote that a crash could still take back is nobody's vote.
* One object is reused for a replica's life; `open` begins an event, `close` gives its effects.
"""

from collections import deque
from collections.abc import Callable
from typing import Any

from coordination.protocol import NEVER, Decided, Effects, Evidence, Setting, Trace


class Outbox:
    """What one event causes, under construction."""

    __slots__ = ("_durable", "_held", "_last", "_trace", "effects", "id", "others")

    def __init__(self, setting: Setting) -> None:
        self.id = setting.id
        self.others = tuple(member for member in setting.members if member != setting.id)
        self.effects = Effects()
        self._last = 0
        self._durable = 0
        self._trace = setting.trace
        self._held: deque[tuple[int, Callable[..., None], tuple[Any, ...]]] = deque()

    def open(self) -> None:
        """Begins an event."""
        self.effects = Effects()

    def close(self, wake_at: float = NEVER) -> Effects:
        """The event's effects."""
        self.effects.wake_at = wake_at
        return self.effects

    def persist(self, record: Any) -> int:
        """Adds a record; gives the token of this event."""
        effects = self.effects
        if not effects.token:
            self._last += 1
            effects.token = self._last
        effects.records.append(record)
        return effects.token

    def checkpoint(self, record: Any) -> None:
        """Adds a record that stands for all earlier ones, also for those of this event."""
        self.persist(record)
        self.effects.records[:] = [record]
        self.effects.checkpoint = True

    @property
    def token(self) -> int:
        """The token after which all that this life has recorded so far is durable; 0 before its first record."""
        return self._last

    def send(self, to: int, message: Any, token: int = 0) -> None:
        """To one replica, after a token if one is given."""
        self.effects.sends.append((to, message, token))

    def broadcast(self, message: Any, token: int = 0) -> None:
        """To every other replica."""
        self.effects.sends.extend([(to, message, token) for to in self.others])

    def hold(self, token: int, then: Callable[..., None], *arguments: Any) -> None:
        """Calls `then` once the token is durable. Tokens of one life are held in rising order."""
        if token <= self._durable:
            then(*arguments)
        else:
            self._held.append((token, then, arguments))

    def persisted(self, token: int) -> None:
        """Calls what was held back until this token."""
        self._durable = max(self._durable, token)
        held = self._held
        while held and held[0][0] <= token:
            _, then, arguments = held.popleft()
            then(*arguments)

    def decide(self, slot: int, commands: tuple[Any, ...], proof: Any) -> None:
        """A slot is decided."""
        self.effects.decided.append(Decided(slot, commands, proof))

    def accuse(self, culprit: int, first: Any, second: Any) -> None:
        """Two signed statements that exclude each other."""
        self.effects.evidence.append(Evidence(culprit, first, second))

    def trace(self, name: str, **details: Any) -> None:
        """Something worth showing, if anybody looks."""
        if self._trace:
            self.effects.trace.append(Trace(name, details))
