"""What agents record, summed up so that the result does not depend on who added what first.

Floating-point addition depends on its order, and the order of agents depends on the number of cells. So sums are kept
exact, as non-overlapping partials (Shewchuk, "Adaptive precision floating-point arithmetic", 1997, as in `math.fsum`),
and rounded once, at the end: the same bits for any number of cells.
"""

import copy
import math
from collections.abc import Iterable, Mapping, Sequence

import msgspec


class Sum(msgspec.Struct):
    """Count, exact sum, least and greatest of some numbers."""

    count: int = 0
    partials: list[float] = []
    minimum: float = math.inf
    maximum: float = -math.inf

    def add(self, values: Iterable[float]) -> None:
        """Adds numbers. One that is not finite makes the sum so, and so does a sum beyond the range of floats."""
        partials = self.partials
        for number in values:
            value = number + 0.0  # Zero has one sign, whichever came first.
            self.count += 1
            self.minimum = min(self.minimum, value)
            self.maximum = max(self.maximum, value)
            _add_exactly(partials, value)

    def merge(self, other: "Sum") -> None:
        """Adds what another has summed."""
        self.count += other.count
        self.minimum = min(self.minimum, other.minimum)
        self.maximum = max(self.maximum, other.maximum)
        for value in other.partials:
            _add_exactly(self.partials, value)


def _add_exactly(partials: list[float], value: float) -> None:
    if not math.isfinite(value) or (partials and not math.isfinite(partials[0])):
        partials[:] = [sum(partials) + value]
        return
    kept = 0
    for partial in partials:
        larger, smaller = (value, partial) if abs(value) >= abs(partial) else (partial, value)
        high = larger + smaller
        if math.isinf(high):
            partials[:] = [high]
            return
        low = smaller - (high - larger)
        if low:
            partials[kept] = low
            kept += 1
        value = high
    partials[kept:] = [value]


class MeasureRow(msgspec.Struct, frozen=True):
    """One measure at one time: a round, or a second in `free`."""

    now: float
    measure: str
    count: int
    sum: float
    mean: float
    minimum: float
    maximum: float


class Measures:
    """All measures of a cell, by time and name."""

    def __init__(self) -> None:
        self.sums: dict[tuple[int, str], Sum] = {}
        self._fresh: dict[str, list[float]] = {}
        self._at = 0
        self._last: dict[str, int] = {}

    def record(self, at: int, measure: str, value: float) -> None:
        """Adds a value to a measure at a time (a round or a whole second)."""
        if at != self._at:
            self.fold()
            self._at = at
        values = self._fresh.get(measure)
        if values is None:
            values = self._fresh[measure] = []
        values.append(value)

    def latest(self) -> dict[str, tuple[int, Sum]]:
        """Of each measure the last time that something was recorded, and what."""
        self.fold()
        return {measure: (at, copy.deepcopy(self.sums[at, measure])) for measure, at in self._last.items()}

    def restore(self, sums: dict[tuple[int, str], Sum]) -> None:
        """Goes on from sums that were kept."""
        self.sums = sums
        for at, measure in sums:
            self._last[measure] = max(at, self._last.get(measure, at))

    def fold(self) -> None:
        """Sums up what came since the last call."""
        for measure, values in self._fresh.items():
            self.sums.setdefault((self._at, measure), Sum()).add(values)
            self._last[measure] = self._at
        self._fresh = {}


def rows(parts: Iterable[dict[tuple[int, str], Sum]]) -> list[MeasureRow]:
    """The rows of several cells' sums together, by time and name."""
    total: dict[tuple[int, str], Sum] = {}
    for part in parts:
        for key, value in part.items():
            total.setdefault(key, Sum()).merge(value)
    return [
        MeasureRow(
            now=float(at),
            measure=measure,
            count=value.count,
            sum=(result := math.fsum(value.partials)),
            mean=result / value.count,
            minimum=value.minimum,
            maximum=value.maximum,
        )
        for (at, measure), value in sorted(total.items())
    ]


def last_rows(parts: Sequence[Mapping[str, tuple[int, Sum]]]) -> dict[str, MeasureRow]:
    """The last row of each measure, from what several cells recorded last: at the latest time that any of them has."""
    last: dict[str, int] = {}
    for part in parts:
        for measure, (at, _) in part.items():
            last[measure] = max(at, last.get(measure, at))
    sums = (
        {(at, measure): value for measure, (at, value) in part.items() if at == last[measure]}
        for part in parts
    )
    return {row.measure: row for row in rows(sums)}
