"""What a host tells of its cell: how it does, and in the end what it leaves."""

from typing import Any

import msgspec

from actors.cell import Failure, TrafficRow
from actors.measure import Sum


class Status(msgspec.Struct, frozen=True):
    """How a cell does."""

    cell: int
    epoch: int
    now: float
    ready: int
    queued: int
    suspended: int
    agents: int
    turns: int
    sent: dict[int, int]
    """To each peer, the number of messages packed so far."""
    sent_before: dict[int, int]
    """The same, before the present round began."""
    received: dict[int, int]
    outboxes: int
    unanswered: int
    next_tick: int | None
    outside: bool
    pending_local: int
    counts: dict[str, int]
    measures: dict[str, tuple[int, Sum]] = {}
    """Of each measure its last time here, and what was recorded then."""
    stop_error: str | None = None
    recovered_entries: int = 0
    recovery_s: float = 0.0
    torn_bytes: int = 0

    @property
    def quiet(self) -> bool:
        """True if nothing will happen here unless something arrives."""
        return not (
            self.ready
            or self.outboxes
            or self.unanswered
            or self.next_tick is not None
            or self.outside
            or self.pending_local
        )


class Harvest(msgspec.Struct):
    """What a cell leaves at the end of a run."""

    agents: int
    turns: int
    counts: dict[str, int]
    traffic: dict[tuple[str, str], int]
    sums: dict[tuple[int, str], Sum]
    results: dict[str, tuple[float, str, Any]]
    failures: list[Failure]
    sample: list[TrafficRow]
    fingerprint: int | None
