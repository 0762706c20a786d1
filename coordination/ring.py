"""Leader election on a ring: LCR and Hirschberg-Sinclair.

Sources: Le Lann 1977 and Chang, Roberts, "An improved algorithm for decentralized extrema-finding in circular
configurations of processes", CACM 22(5), 1979; Hirschberg, Sinclair, "Decentralized extrema-finding in circular
configurations of processors", CACM 23(11), 1980.

Rules:
* The ring is `order`: each replica speaks to the next one, in Hirschberg-Sinclair also to the one before. Links are
  reliable and nobody crashes: these are algorithms to count, not to depend on.
* LCR: each sends its id on. An id passes whoever is smaller, and is swallowed by whoever is greater. Who gets its own
  id back leads.
* Hirschberg-Sinclair: in phase k a candidate sends its id 2^k steps both ways. A greater replica swallows it; at its
  last step it turns back. Who gets both back enters the next phase; who meets its own id on the way out leads.
* All start at once. The greatest id leads, and a last message around the ring tells all; it is counted apart.

| n replicas | messages until the leader knows | delays until it knows | told |
|---|---|---|---|
| LCR | 2n - 1 at best, n(n + 1)/2 at worst, n H_n on average over all orders | n | n messages, n delays |
| Hirschberg-Sinclair | at most 8n(1 + ceil(log2 n)) | O(n): at most 2(2^ceil(log2 n) - 1) + n | the same |
"""

import sys
from dataclasses import dataclass
from typing import Any

from actors.errors import ConfigurationError
from coordination.protocol import (
    Effects,
    Event,
    Protocol,
    ProtocolKind,
    Receive,
    Restore,
    Setting,
    Wire,
    options_from,
)


class Candidate(Wire, frozen=True, gc=False):
    """An id on its way. In Hirschberg-Sinclair with its phase and the steps that it may still go."""

    id: int
    phase: int = 0
    steps: int = 0


class Back(Wire, frozen=True, gc=False):
    """An id that has gone its way and returns."""

    id: int
    phase: int


class Elected(Wire, frozen=True, gc=False):
    """The leader is known."""

    id: int


@dataclass(frozen=True)
class RingOptions:
    """The ring."""

    order: tuple[int, ...] = ()
    """All members in the order of the ring; none: by rising id."""


class _Ring(Protocol):
    """What both algorithms share: the ring, the leader, and telling all."""

    def __init__(self, setting: Setting) -> None:
        self.id = setting.id
        options: RingOptions = options_from(RingOptions, setting)
        order = tuple(options.order) or setting.members
        if sorted(order) != sorted(setting.members):
            raise ConfigurationError(
                "ring: order must hold each member once. Give a permutation of the members."
            )
        place = order.index(setting.id)
        self.size = len(order)
        self.next = order[(place + 1) % self.size]
        self.previous = order[place - 1]
        self._leader: int | None = None

    @property
    def leader(self) -> int | None:
        """As `Protocol.leader`."""
        return self._leader

    def handle(self, event: Event) -> Effects:
        """As `Protocol.handle`."""
        effects = Effects()
        if isinstance(event, Restore):
            self._start(effects)
        elif isinstance(event, Receive) and event.source in (self.next, self.previous):
            if isinstance(event.message, Elected):
                self._told(event.message, effects)
            else:
                self._receive(event.source, event.message, effects)
        return effects

    def _start(self, effects: Effects) -> None:
        raise NotImplementedError

    def _receive(self, source: int, message: Any, effects: Effects) -> None:
        raise NotImplementedError

    def _win(self, effects: Effects) -> None:
        if self._leader is None:
            self._leader = self.id
            effects.sends.append((self.next, Elected(self.id), 0))

    def _told(self, message: Elected, effects: Effects) -> None:
        if self._leader is None:
            self._leader = message.id
            effects.sends.append((self.next, message, 0))


class LCR(_Ring):
    """A replica of Le Lann, Chang and Roberts."""

    wire = (Candidate, Elected)

    def _start(self, effects: Effects) -> None:
        effects.sends.append((self.next, Candidate(self.id), 0))

    def _receive(self, source: int, message: Any, effects: Effects) -> None:
        if not isinstance(message, Candidate) or source != self.previous:
            return
        if message.id == self.id:
            self._win(effects)
        elif message.id > self.id:
            effects.sends.append((self.next, message, 0))


class HirschbergSinclair(_Ring):
    """A replica of Hirschberg and Sinclair."""

    wire = (Candidate, Back, Elected)

    def __init__(self, setting: Setting) -> None:
        super().__init__(setting)
        self.phase = 0
        self._returned: set[int] = set()
        """From which sides this phase's messages came back."""

    def _start(self, effects: Effects) -> None:
        self._send_out(effects)

    def _send_out(self, effects: Effects) -> None:
        message = Candidate(self.id, self.phase, 2**self.phase)
        effects.sends += [(self.next, message, 0), (self.previous, message, 0)]

    def _receive(self, source: int, message: Any, effects: Effects) -> None:
        on = self.previous if source == self.next else self.next
        if isinstance(message, Candidate):
            if message.id == self.id:
                self._win(effects)
            elif message.id > self.id and message.steps > 1:
                effects.sends.append((on, Candidate(message.id, message.phase, message.steps - 1), 0))
            elif message.id > self.id:
                effects.sends.append((source, Back(message.id, message.phase), 0))
        elif isinstance(message, Back) and message.id != self.id:
            effects.sends.append((on, message, 0))
        elif isinstance(message, Back) and message.phase == self.phase:
            self._returned.add(source)
            if self._returned == {self.next, self.previous}:
                self._returned.clear()
                self.phase += 1
                self._send_out(effects)


def _none_may_fail(f: int) -> int:
    """One replica is enough; more withstand no fault either."""
    return sys.maxsize if f else 1


LCR_RING = ProtocolKind(
    "lcr", "LCR ring election", LCR, "none", _none_may_fail, "Le Lann 1977; Chang, Roberts, CACM 22(5), 1979"
)
HIRSCHBERG_SINCLAIR = ProtocolKind(
    "hirschberg-sinclair",
    "Hirschberg-Sinclair ring election",
    HirschbergSinclair,
    "none",
    _none_may_fail,
    "Hirschberg, Sinclair, CACM 23(11), 1980",
)
