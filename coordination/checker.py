"""What watches a protocol run: a checker sees every event and its effects, keeps history, and raises at the first lie.

Rules:
* A checker is an observer: it never changes an event, an effect or a replica, and draws no randomness.
* It keeps history (leaders, promises, decided values): the present alone hides a committed entry that changed later.
* `observe` costs amortised O(1) for an event, so that a simulation can check every step and not every thousandth.
* What it finds is a bug of the protocol or its driver, never of the network: it raises `SafetyViolation` with facts.
"""

from typing import Any
from typing import Protocol as TypingProtocol

from actors.errors import SwarmError
from coordination.protocol import Effects, Event, Protocol


class SafetyViolation(SwarmError):
    """A property that must always hold does not. The text names the property, the replica, the time and the facts."""

    definite = False
    reason = "safety violation"


class Checker(TypingProtocol):
    """Watches all replicas of one run."""

    def observe(self, now: float, replica: int, protocol: Protocol, event: Event, effects: Effects) -> None:
        """Called after each `handle`, before the effects are carried out. `now` is the run's time, not the replica's.

        A `Restore` event means that the replica starts, or has crashed and starts again, with these records.
        Raises `SafetyViolation`.
        """

    def finish(self) -> None:
        """Called once, when the run has ended: what can be judged only then. Raises `SafetyViolation`."""


def violated(rule: str, now: float, replica: int, **facts: Any) -> SafetyViolation:
    """The error to raise: which property, where, when, and what was seen."""
    seen = ", ".join(f"{name} = {value!r}" for name, value in facts.items())
    return SafetyViolation(f"{rule}, broken by replica {replica} at {now:.6g}: {seen}")
