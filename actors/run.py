"""A run: how it does, when it ends, and what it leaves."""

import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from actors.cell import Failure, TrafficRow
from actors.fingerprint import combined
from actors.measure import MeasureRow, last_rows, rows
from actors.status import Harvest, Status

_PROGRESS_S = 0.2


class Progress(msgspec.Struct, frozen=True):
    """How a run does."""

    now: float
    agents: int
    messages: int
    queued: int
    seconds: float
    counts: dict[str, int]
    measures: dict[str, MeasureRow] = {}
    """The last row of each measure."""


class RunResult(msgspec.Struct, frozen=True):
    """What a run left."""

    fingerprint: str
    """Hexadecimal; empty if it was not computed."""
    now: float
    """The last round, or seconds since the start."""
    seconds: float
    """What the run took, on the clock."""
    quiet: bool
    """True if it ended since nothing was left to do."""
    messages: int
    """Messages that agents took."""
    agents: int
    counts: dict[str, int]
    measures: list[MeasureRow]
    traffic: dict[tuple[str, str], int]
    """Messages taken, by the roles of sender and recipient."""
    messages_sample: list[TrafficRow]
    failures: list[Failure]
    results: dict[str, Any]
    recoveries: list[dict[str, Any]] = []
    """Cells that died and came back: which, how much was played, in how many seconds."""


def result_of(
    parts: Sequence[Harvest], *, now: float, seconds: float, quiet: bool, recoveries: list[dict[str, Any]]
) -> RunResult:
    """Puts together what the cells leave."""
    counts: Counter[str] = Counter()
    traffic: Counter[tuple[str, str]] = Counter()
    for part in parts:
        counts.update(part.counts)
        traffic.update(part.traffic)
    results: dict[str, tuple[float, str, Any]] = {}
    for part in parts:
        for name, value in part.results.items():
            if name not in results or value[:2] > results[name][:2]:
                results[name] = value
    totals = [part.fingerprint for part in parts if part.fingerprint is not None]
    return RunResult(
        fingerprint=combined(totals) if totals else "",
        now=now,
        seconds=seconds,
        quiet=quiet,
        messages=sum(part.turns for part in parts),
        agents=sum(part.agents for part in parts),
        counts=dict(sorted(counts.items())),
        measures=rows(part.sums for part in parts),
        traffic=dict(sorted(traffic.items())),
        messages_sample=sorted(
            (row for part in parts for row in part.sample), key=lambda r: (r.now, r.sender, r.recipient)
        ),
        failures=sorted(
            (f for part in parts for f in part.failures), key=lambda f: (f.address, f.message_id)
        ),
        results={name: results[name][2] for name in sorted(results)},
        recoveries=recoveries,
    )


class Watch:
    """Tells a run when to end, and others how it does."""

    def __init__(
        self,
        began: float,
        seconds_before: float,
        timeout_s: float | None,
        progress: Callable[[Progress], None] | None,
        stop: Callable[[Progress], bool] | None,
    ) -> None:
        self._began = began
        self._seconds_before = seconds_before
        self._end = None if timeout_s is None else began + timeout_s
        self._progress = progress
        self._stop = stop
        self._told = 0.0

    def left_s(self) -> float:
        """Seconds until the limit."""
        return float("inf") if self._end is None else max(0.0, self._end - time.monotonic())

    def is_over(self, statuses: list[Status]) -> bool:
        """True if the run must end now."""
        clock = time.monotonic()
        due = self._progress is not None and clock - self._told >= _PROGRESS_S
        if due or self._stop is not None:
            state = self._state(statuses, clock)
            if due and self._progress is not None:
                self._told = clock
                self._progress(state)
            if self._stop is not None and self._stop(state):
                return True
        return self._end is not None and clock >= self._end

    def _state(self, statuses: list[Status], clock: float) -> Progress:
        counts: Counter[str] = Counter()
        for status in statuses:
            counts.update(status.counts)
        return Progress(
            now=max(status.now for status in statuses),
            agents=sum(status.agents for status in statuses),
            messages=sum(status.turns for status in statuses),
            queued=sum(status.queued for status in statuses),
            seconds=self._seconds_before + clock - self._began,
            counts=dict(counts),
            measures=last_rows([status.measures for status in statuses]),
        )
