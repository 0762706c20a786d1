"""What a host tells of its cell: how it does, and in the end what it leaves."""

from typing import Any

import msgspec

from actors.cell import Cell, Failure, TrafficRow
from actors.measure import Sum


class Status(msgspec.Struct, frozen=True):
    """How a cell does."""

    cell: int
    epoch: int
    now: float
    ready: int
    queued: int
    suspended: int
    exhausted: bool
    """True if the budget of messages is all that keeps agents from going on."""
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


def state_of(cell: Cell) -> dict[str, Any]:
    """The fields of a status that the cell itself can tell."""
    mail, waiting = cell.mail, cell.waiting
    return {
        "cell": cell.number,
        "now": cell.now,
        "ready": len(cell.ready),
        "queued": mail.queued,
        "suspended": cell.stepper.suspended,
        "agents": len(mail.residents) + len(waiting.resting),
        "turns": cell.turns,
        "outboxes": sum(map(len, mail.outboxes)),
        "next_tick": waiting.timers.next_tick(),
        "outside": waiting.outside(),
        "pending_local": len(mail.next_local) + sum(map(len, mail.arrived.values())),
        "counts": cell.all_counts(),
        "measures": cell.measures.latest(),
    }


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
