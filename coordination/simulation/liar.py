"""Byzantine replicas: honest code behind a mask, so that any protocol's liar signs what only it could sign.

Rules:
* A liar holds its own key and no other; what it sends are messages that its protocol knows. So all that a protocol can
  refute by signatures, it can refute here.
* `Silent` says nothing (from a moment on); `Late` holds every message back; `Equivocating` is two honest replicas under
  one identity, which are told different proposals and speak to different halves of the others; `DoubleVoting` lets both
  speak to everybody; `Forgetful` never writes down what it promised; `Deaf` hears nothing but its clients.
* None of them invents a message out of nothing: with Twins (Bano et al. 2020) that is enough to rebuild the known
  attacks on published protocols.
"""

import heapq
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from random import Random
from typing import Any

from actors.errors import ConfigurationError
from coordination.protocol import NEVER, Effects, Event, Persisted, Propose, Protocol, Receive, Restore, Tick
from coordination.simulation.simulation import Disguise

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


class TwoFaced(_Mask):
    """Two honest replicas under one identity. The second is told other proposals, and misses some of what comes.

    With `split` the first speaks to one half of the others and the second to the rest, and each hears everybody
    (equivocation); without, both speak to all (double voting).
    """

    def __init__(self, make: Callable[[], Protocol], rng: Random, *, split: bool) -> None:
        super().__init__(make())
        self.other = make()
        self._split = split
        self._rng = rng
        self._half: dict[int, bool] = {}

    def handle(self, event: Event) -> Effects:
        """See `Protocol`."""
        first = self.inner.handle(event)
        misses = isinstance(event, Receive) and self._rng.random() < _MISSED
        second = Effects(wake_at=self._other_wakes_at) if misses else self.other.handle(_altered(event))
        self._other_wakes_at = second.wake_at
        # Its disk is a liar's disk: all is durable at once, and nothing is found there later.
        first = self._persisted(self.inner, event.now, first)
        second = self._persisted(self.other, event.now, second)
        first.decided, first.installed = [], None
        if self._split:
            first.sends = [send for send in first.sends if self._hears_first(send[0])]
            second.sends = [send for send in second.sends if not self._hears_first(send[0])]
        merged = _merged(first, second)
        merged.decided, merged.installed, merged.reads, merged.rejected = [], None, [], []
        merged.wake_at = min(first.wake_at, second.wake_at)
        return merged

    _other_wakes_at: float = NEVER

    def _hears_first(self, replica: int) -> bool:
        if replica not in self._half:
            self._half[replica] = self._rng.random() < 0.5
        return self._half[replica]

    @staticmethod
    def _persisted(replica: Protocol, now: float, effects: Effects) -> Effects:
        for _ in range(100):
            if not effects.records:
                break
            token, effects.records = effects.token, []
            effects.sends = [(to, message, 0) for to, message, _ in effects.sends]
            effects = _merged(effects, replica.handle(Persisted(now, token)))
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
    return lambda make, rng: Silent(make(), from_s)


def late(most_s: float) -> Disguise:
    """Each message is up to so many seconds late."""
    return lambda make, rng: Late(make(), rng, most_s)


def equivocating(make: Callable[[], Protocol], rng: Random) -> Protocol:
    """Tells one half of the others one thing and the other half another."""
    return TwoFaced(make, rng, split=True)


def double_voting(make: Callable[[], Protocol], rng: Random) -> Protocol:
    """Tells everybody two things."""
    return TwoFaced(make, rng, split=False)


def forgetful(make: Callable[[], Protocol], rng: Random) -> Protocol:
    """Writes nothing down."""
    return Forgetful(make())


def deaf(make: Callable[[], Protocol], rng: Random) -> Protocol:
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
