"""Byzantine replicas: honest code behind a mask, so that any protocol's liar signs what only it could sign.

Rules:
* A liar holds its own key and no other; what it sends are messages that its protocol knows. So all that a protocol can
  refute by signatures, it can refute here.
* `Silent` says nothing (from a moment on); `Late` holds every message back; `TwoFaced` is two honest replicas under one
  identity, which speak to different halves of the others (equivocating) or both to everybody (double voting);
  `Forgetful` never writes down what it promised; `Deaf` hears nothing but its clients.
* None of them invents a message out of nothing: with Twins (Bano et al. 2020) that is enough to rebuild the known
  attacks on published protocols.
"""

import heapq
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from random import Random
from typing import Any

from actors.errors import ConfigurationError
from coordination.protocol import (
    NEVER,
    Effects,
    Event,
    Persisted,
    Propose,
    Protocol,
    Receive,
    Restore,
    Send,
    Tick,
    Wire,
)
from coordination.simulation.simulation import Disguise

_SETTLING = 100
_MISSED = 0.1
"""Share of messages that the second face of a liar does not hear, so that it comes to other views."""


class _Mask(Protocol):
    """Passes everything on; subclasses change what goes in or comes out."""

    def __init__(self, inner: Protocol) -> None:
        self.inner = inner
        self.id = inner.id

    @property
    def leader(self) -> int | None:
        """See `Protocol`."""
        return self.inner.leader

    def handle(self, event: Event) -> Effects:
        """See `Protocol`."""
        return self.inner.handle(event)


class Silent(_Mask):
    """Takes part, but says nothing from a time on."""

    def __init__(self, inner: Protocol, from_s: float = 0.0) -> None:
        super().__init__(inner)
        self.from_s = from_s

    def handle(self, event: Event) -> Effects:
        """See `Protocol`."""
        effects = self.inner.handle(event)
        if event.now >= self.from_s:
            effects.sends = []
        return effects


class Deaf(_Mask):
    """Hears none of the other replicas."""

    def handle(self, event: Event) -> Effects:
        """See `Protocol`."""
        if isinstance(event, Receive) and event.source != self.id:
            return Effects(wake_at=self._wake_at)
        effects = self.inner.handle(event)
        self._wake_at = effects.wake_at
        return effects

    _wake_at: float = 0.0


class Forgetful(_Mask):
    """Says that it wrote down what it did not: after a crash it knows nothing of its promises."""

    def handle(self, event: Event) -> Effects:
        """See `Protocol`."""
        effects = self.inner.handle(event)
        if not effects.records:
            return effects
        token, effects.records = effects.token, []
        effects.sends = [(to, message, 0) for to, message, _ in effects.sends]
        return _merged(effects, self.inner.handle(Persisted(event.now, token)))


class Late(_Mask):
    """Holds back each message for a while, longer than any time-out if it can."""

    def __init__(self, inner: Protocol, rng: Random, most_s: float) -> None:
        super().__init__(inner)
        self._rng = rng
        self._most_s = most_s
        self._held: list[tuple[float, int, tuple[int, Any, int]]] = []
        self._count = 0
        self._wake_at = 0.0

    def handle(self, event: Event) -> Effects:
        """See `Protocol`."""
        if isinstance(event, Tick) and event.now < self._wake_at:
            effects = Effects(wake_at=self._wake_at)
        else:
            effects = self.inner.handle(event)
            self._wake_at = effects.wake_at
        for send in effects.sends:
            self._count += 1
            heapq.heappush(self._held, (event.now + self._rng.random() * self._most_s, self._count, send))
        effects.sends = []
        while self._held and self._held[0][0] <= event.now:
            to, message, _ = heapq.heappop(self._held)[2]
            effects.sends.append((to, message, 0))
        if self._held:
            effects.wake_at = min(effects.wake_at, self._held[0][0])
        return effects


class _Whisper(Wire, frozen=True, gc=False):
    """From one face of a liar to the same face of a fellow, or of itself."""

    face: int
    message: Any

    @property
    def authenticators(self) -> int:
        """Those of the message in it."""
        found: int = self.message.authenticators
        return found


class TwoFaced(_Mask):
    """Two honest replicas under one identity. The second is told other proposals.

    With `split` (equivocation) the first face speaks to, and hears, the replicas with even ids, the second those with
    odd ids: as if the others were parted and the liar were in both parts, as Twins does. Fellow liars conspire: first
    faces speak to first faces. Without `split` (double voting) both faces speak to all and hear all, but the second
    misses some, so that it comes to other views.
    """

    def __init__(
        self, make: Callable[[], Protocol], rng: Random, fellows: frozenset[int] = frozenset(), *, split: bool
    ) -> None:
        super().__init__(make())
        self._faces = (self.inner, make())
        self._wakes_at = [NEVER, NEVER]
        self._split = split
        self._rng = rng
        self._fellows = fellows

    def handle(self, event: Event) -> Effects:
        """See `Protocol`."""
        merged = Effects()
        for face in (0, 1):
            heard = self._heard(face, event)
            if heard is None:
                continue
            effects = self._settled(self._faces[face], heard)
            self._wakes_at[face] = effects.wake_at
            merged.sends += [send for to in effects.sends if (send := self._spoken(face, to)) is not None]
            merged.evidence += effects.evidence
        merged.wake_at = min(self._wakes_at)
        return merged

    def _heard(self, face: int, event: Event) -> Event | None:
        if isinstance(event, Receive):
            message = event.message
            if isinstance(message, _Whisper):
                return Receive(event.now, event.source, message.message) if message.face == face else None
            if self._split and event.source not in self._fellows and event.source % 2 != face:
                return None
            if not self._split and face == 1 and self._rng.random() < _MISSED:
                return None
        return _altered(event) if face else event

    def _spoken(self, face: int, send: Send) -> Send | None:
        to, message, _ = send
        if self._split and to in self._fellows:
            return (to, _Whisper(face, message), 0)
        return (to, message, 0) if not self._split or to % 2 == face else None

    @staticmethod
    def _settled(replica: Protocol, event: Event) -> Effects:
        """A liar's disk is a liar's: all is durable at once, and nothing is found there later."""
        effects = replica.handle(event)
        for _ in range(_SETTLING):
            if not effects.records:
                break
            token, effects.records = effects.token, []
            effects = _merged(effects, replica.handle(Persisted(event.now, token)))
        return effects


def _altered(event: Event) -> Event:
    """What the second face is told: proposals in another order, and restarts with an empty disk."""
    if isinstance(event, Propose):
        return Propose(event.now, event.commands[::-1]) if len(event.commands) > 1 else Propose(event.now, ())
    return Restore(event.now) if isinstance(event, Restore) else event


def _merged(first: Effects, second: Effects) -> Effects:
    """Both, the second's deadline standing."""
    return Effects(
        sends=first.sends + second.sends,
        records=first.records + second.records,
        token=max(first.token, second.token),
        checkpoint=first.checkpoint or second.checkpoint,
        decided=first.decided + second.decided,
        reads=first.reads + second.reads,
        rejected=first.rejected + second.rejected,
        installed=second.installed or first.installed,
        evidence=first.evidence + second.evidence,
        trace=first.trace + second.trace,
        wake_at=second.wake_at,
    )


def silent(from_s: float = 0.0) -> Disguise:
    """Says nothing from a time on, by its own clock."""
    return lambda make, rng, fellows: Silent(make(), from_s)


def late(most_s: float) -> Disguise:
    """Each message is up to so many seconds late."""
    return lambda make, rng, fellows: Late(make(), rng, most_s)


def equivocating(make: Callable[[], Protocol], rng: Random, fellows: frozenset[int]) -> Protocol:
    """Tells one half of the others one thing and the other half another."""
    return TwoFaced(make, rng, fellows, split=True)


def double_voting(make: Callable[[], Protocol], rng: Random, fellows: frozenset[int]) -> Protocol:
    """Tells everybody two things."""
    return TwoFaced(make, rng, split=False)


def forgetful(make: Callable[[], Protocol], rng: Random, fellows: frozenset[int]) -> Protocol:
    """Writes nothing down."""
    return Forgetful(make())


def deaf(make: Callable[[], Protocol], rng: Random, fellows: frozenset[int]) -> Protocol:
    """Hears no other replica."""
    return Deaf(make())


@dataclass(frozen=True)
class LiarKind:
    """A way to lie, as people name it."""

    name: str
    disguise: Callable[[float], Disguise]
    """Given the bound on delays that honest replicas are told, in seconds."""
    text: str


LIARS: Mapping[str, LiarKind] = {
    kind.name: kind
    for kind in (
        LiarKind("silent", lambda delay_s: silent(), "says nothing"),
        LiarKind("late", lambda delay_s: late(20 * delay_s), "holds messages back, up to 20 delays"),
        LiarKind("equivocating", lambda delay_s: equivocating, "tells each half of the others another story"),
        LiarKind("double-voting", lambda delay_s: double_voting, "tells everybody two stories"),
        LiarKind("forgetful", lambda delay_s: forgetful, "forgets its promises when it restarts"),
        LiarKind("deaf", lambda delay_s: deaf, "hears none of the others"),
    )
}


def liar_named(name: str, delay_s: float) -> Disguise:
    """The disguise with a name. Raises `ConfigurationError`."""
    kind = LIARS.get(name)
    if kind is None:
        raise ConfigurationError(f"liar: there is no {name!r}. There are: {', '.join(LIARS)}.")
    return kind.disguise(delay_s)
