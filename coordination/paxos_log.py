"""What one replica of Multi-Paxos holds: its promise, what it accepted, and what of that is decided.

Rules:
* Up to `chosen` all slots are decided, and `accepted` has their decided values; beyond, it has what was accepted last.
* Of the records that are durable, `restore` makes what was held when the last of them was written, and never less than
  what was promised or accepted: forgetting either breaks agreement.
"""

from collections.abc import Sequence
from typing import Any

from actors.errors import ConfigurationError
from coordination.paxos_messages import Commands, Kept, Learn, Learned, Promised, Took
from coordination.protocol import Decided, Installed


class AcceptorLog:
    """An acceptor's and learner's memory."""

    def __init__(self) -> None:
        self.promised = 0
        self.accepted: dict[int, tuple[int, Commands]] = {}
        """By slot beyond `base`: the ballot and the value."""
        self.base = 0
        self.state: Any = None
        """The application's state with all up to `base` applied."""
        self.chosen = 0
        self.applied = 0
        """What was handed to the application."""

    def open_from(self, slot: int) -> tuple[tuple[int, int, Commands], ...]:
        """(slot, ballot, value) of all that was accepted there and beyond."""
        return tuple((at, *found) for at, found in sorted(self.accepted.items()) if at >= slot)

    def accept(self, ballot: int, slot: int, values: tuple[Commands, ...]) -> Took:
        """Takes values of consecutive slots under a ballot, which is not below the promise; and the record of it."""
        self.promised = ballot
        for place, value in enumerate(values):
            if slot + place > self.chosen:
                self.accepted[slot + place] = (ballot, value)
        return Took(ballot, slot, values, self.chosen)

    def choose(self, ballot: int, up_to: int) -> None:
        """The leader of this ballot says that all up to there is decided: what was accepted under it are its values."""
        accepted = self.accepted
        slot = self.chosen + 1
        while slot <= up_to and slot in accepted and accepted[slot][0] == ballot:
            slot += 1
        self.chosen = slot - 1

    def learn(self, slot: int, values: tuple[Commands, ...]) -> Learned | None:
        """Takes decided values of consecutive slots, as far as they go on from what is known; and the record of it."""
        first = self.chosen + 1
        if not slot <= first < slot + len(values):
            return None
        fresh = values[first - slot :]
        for place, value in enumerate(fresh):
            self.accepted[first + place] = (self.promised, value)
        self.chosen += len(fresh)
        return Learned(first, fresh)

    def lesson(self, slot: int, most: int) -> Learn | None:
        """What is decided from a slot on, at most so many slots; None if nothing is."""
        state: tuple[Any, ...] = ()
        if slot <= self.base:
            slot, state = self.base + 1, (self.base, self.state)
        last = min(self.chosen, slot + most - 1)
        values = tuple(self.accepted[one][1] for one in range(slot, last + 1))
        return Learn(slot, values, state) if state or values else None

    def install(self, slot: int, state: Any) -> Kept:
        """Takes over a state in place of all up to a slot; and the record of it."""
        self.base = self.chosen = self.applied = slot
        return self._keep(state)

    def compact(self, slot: int, state: Any) -> Kept | None:
        """Forgets what the application has applied; and the record of it. None if there is nothing to forget."""
        if not self.base < slot <= self.applied:
            return None
        self.base = slot
        return self._keep(state)

    def _keep(self, state: Any) -> Kept:
        self.state = state
        self.accepted = {slot: found for slot, found in self.accepted.items() if slot > self.base}
        return Kept(self.base, self.state, self.promised, self.chosen, self.open_from(self.base + 1))

    def restore(self, records: Sequence[Any]) -> Installed | None:
        """Reads the journal. Returns the state to begin with, if there is one. Raises `ConfigurationError`."""
        for record in records:
            match record:
                case Promised():
                    self.promised = record.ballot
                case Took():
                    self.chosen = max(self.chosen, record.chosen)
                    self.promised = max(self.promised, record.ballot)
                    for place, value in enumerate(record.values):
                        if record.slot + place > self.chosen:
                            self.accepted[record.slot + place] = (record.ballot, value)
                case Learned():
                    # It was written when all before was known as decided: earlier records hold those values.
                    self.chosen = record.slot - 1
                    self.learn(record.slot, record.values)
                case Kept():
                    self.base, self.state = record.slot, record.state
                    self.promised, self.chosen = record.promised, record.chosen
                    self.accepted = {slot: (ballot, value) for slot, ballot, value in record.accepted}
                case _:
                    raise ConfigurationError(f"multi-paxos: {record!r} is no record. Give its own journal.")
        self.applied = self.base
        return Installed(self.base, self.state) if self.base else None

    def hand_over(self) -> list[Decided]:
        """The slots that were decided since the last time."""
        accepted = self.accepted
        slots = range(self.applied + 1, self.chosen + 1)
        self.applied = self.chosen
        return [Decided(slot, accepted[slot][1], accepted[slot][0]) for slot in slots]
