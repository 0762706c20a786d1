"""What any log protocol owes its users, whatever is inside: agreement, validity, order, and nothing undone.

Rules:
* Agreement: no two honest replicas decide differently in a slot, and none decides a slot twice differently, also across
  restarts. Order: slots are decided without gaps, but for those that an installed state stands for.
* Validity: whatever is decided was proposed, and is valid to the application.
* It either raises at the first breach (`strict`), or counts, for experiments that show where a protocol breaks.
"""

from collections.abc import Callable
from typing import Any

from coordination.checker import violated
from coordination.protocol import Decided, Effects, Event, Propose, Protocol, Restore


class Ledger:
    """A checker of all decisions of one run."""

    def __init__(
        self,
        *,
        valid: Callable[[tuple[Any, ...]], bool] | None = None,
        only_proposed: bool = True,
        strict: bool = True,
    ) -> None:
        self._valid = valid
        self._only_proposed = only_proposed
        self._strict = strict
        self._proposed: set[Any] = set()
        self._next: dict[int, int] = {}
        """The slot that each replica must decide next in this life; absent: any."""
        self.decided: list[tuple[Any, ...]] = []
        """What was decided, by slot from `first`."""
        self.first = 0
        """The number of the first slot; protocols begin at 0 or 1."""
        self.breaches: list[str] = []
        self.agreement = True
        self.validity = True

    def expect(self, commands: tuple[Any, ...]) -> None:
        """These commands were given to a replica that the checker does not watch."""
        self._proposed.update(commands)

    def observe(self, now: float, replica: int, protocol: Protocol, event: Event, effects: Effects) -> None:
        """See `Checker`."""
        if type(event) is Propose and self._only_proposed:
            self._proposed.update(event.commands)
        if type(event) is Restore:
            self._next.pop(replica, None)
        if effects.installed is not None:
            self._next[replica] = effects.installed.slot + 1
        if effects.decided:
            self._take(now, replica, effects.decided)

    def _take(self, now: float, replica: int, decided: list[Decided]) -> None:
        expected = self._next.get(replica)
        known, first = self.decided, self.first
        for one in decided:
            if expected is not None and one.slot != expected:
                self._breach("decided slots have no gaps", now, replica, slot=one.slot, expected=expected)
            expected = one.slot + 1
            index = one.slot - first
            if not known:
                self.first = first = one.slot
                index = 0
            if 0 <= index < len(known):
                if known[index] != one.commands:
                    self.agreement = False
                    facts = {"slot": one.slot, "here": one.commands, "elsewhere": known[index]}
                    self._breach("agreement", now, replica, **facts)
                continue
            if index != len(known):
                self._breach("nothing is decided before its predecessors", now, replica, slot=one.slot)
                continue
            known.append(one.commands)
            self._judge(now, replica, one)
        self._next[replica] = expected or 0

    def _judge(self, now: float, replica: int, one: Decided) -> None:
        if self._valid is not None and not self._valid(one.commands):
            self.validity = False
            self._breach("external validity", now, replica, slot=one.slot, commands=one.commands)
        if self._only_proposed and not self._proposed.issuperset(one.commands):
            self.validity = False
            strangers = [command for command in one.commands if command not in self._proposed]
            self._breach("what is decided was proposed", now, replica, slot=one.slot, strangers=strangers)

    def _breach(self, rule: str, now: float, replica: int, **facts: Any) -> None:
        error = violated(rule, now, replica, **facts)
        if self._strict:
            raise error
        self.breaches.append(str(error))

    def finish(self) -> None:
        """See `Checker`: nothing is left to judge."""
