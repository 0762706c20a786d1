"""One simulated machine: a replica, its clock, and the disk that outlives it.

Rules:
* The disk holds records in order. A crash keeps exactly those that were durable, plus, if `torn` allows, some of those
  that were on their way to it, in order: a disk may have written what it had not yet confirmed.
* A clock runs at `rate` seconds a second from `offset`; protocols see only it.
"""

import math
from typing import Any

from coordination.protocol import NEVER, Effects, Protocol, Send


class Node:
    """A machine at a place in the network."""

    __slots__ = (
        "alive",
        "backlog",
        "checkpoint_waits",
        "decided",
        "durable",
        "durable_token",
        "held",
        "honest",
        "id",
        "life",
        "offset_s",
        "paused",
        "place",
        "protocol",
        "rate",
        "scheduled_at",
        "wake_at",
        "writing",
    )

    def __init__(self, place: int, replica: int, *, honest: bool = True) -> None:
        self.place = place
        """Its number in the network."""
        self.id = replica
        """The replica's id: that of another place too, if they are twins."""
        self.honest = honest
        self.protocol: Protocol | None = None
        self.alive = False
        self.paused = False
        self.life = 0
        """Counts starts: what was meant for an earlier life is dropped."""
        self.rate = 1.0
        self.offset_s = 0.0
        self.durable: list[Any] = []
        self.durable_token = 0
        self.writing: list[tuple[int, bool, list[Any]]] = []
        """Tokens on their way to the disk, whether they begin with a checkpoint, and their records."""
        self.held: list[Send] = []
        """Messages that wait for the disk."""
        self.backlog: list[tuple[int, Any]] = []
        """What came while the node was paused: (source, message)."""
        self.wake_at = NEVER
        """When the replica wants its next tick, by its own clock."""
        self.scheduled_at = NEVER
        """When the simulator will look at it next, in true time."""
        self.decided = 0
        """How many slots it has decided, in all of its lives but the repeated."""

    def clock(self, now: float) -> float:
        """The node's own time when the true time is `now`."""
        return self.offset_s + now * self.rate

    def true_time(self, local: float) -> float:
        """The true time when the node's own clock shows `local`."""
        return (local - self.offset_s) / self.rate if local != NEVER else NEVER

    def write(self, effects: Effects) -> None:
        """Records begin their way to the disk."""
        self.writing.append((effects.token, effects.checkpoint, effects.records))

    def settle(self, token: int) -> None:
        """All records up to a token are durable. News that a pause held up may come behind later news."""
        writing = self.writing
        while writing and writing[0][0] <= token:
            _, checkpoint, records = writing.pop(0)
            if checkpoint:
                self.durable = list(records)
            else:
                self.durable.extend(records)
        self.durable_token = max(self.durable_token, token)

    def crash(self, surviving: int = 0) -> None:
        """Stops at once. `surviving` records of those being written are found on the disk all the same."""
        for _, checkpoint, records in self.writing:
            if surviving <= 0:
                break
            if checkpoint and surviving < len(records):
                break  # a checkpoint replaces the log whole or not at all
            if checkpoint:
                self.durable = []
            self.durable.extend(records[:surviving])
            surviving -= len(records)
        self.alive = self.paused = False
        self.protocol = None
        self.life += 1
        self.writing, self.held, self.backlog = [], [], []
        self.wake_at = self.scheduled_at = math.inf
        self.durable_token = 0
