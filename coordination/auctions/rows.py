"""Rows of gains for the epsilon auction: kept, or made when they are asked for.

Rules: a row is a function of its bidder's number, so it is the same each time; a market of n bidders and n tasks whose
rows are made needs memory for the rows that are looked at together, not for n x n.
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from coordination.auctions.instance import Matrix


class Rows(Protocol):
    """Integer gains of n bidders for n tasks."""

    @property
    def size(self) -> int:
        """n"""
        ...

    @property
    def highest(self) -> int:
        """No gain is above it."""
        ...

    def of(self, bidders: NDArray[np.int64]) -> NDArray[np.int64]:
        """(len(bidders), n): their gains. The caller may write to them."""
        ...


@dataclass(frozen=True, eq=False)
class Kept:
    """Rows of a square table."""

    gains: NDArray[np.int64]

    @property
    def size(self) -> int:
        """n"""
        return len(self.gains)

    @property
    def highest(self) -> int:
        """The greatest gain."""
        return int(self.gains.max())

    def of(self, bidders: NDArray[np.int64]) -> NDArray[np.int64]:
        """Copies of rows."""
        rows: NDArray[np.int64] = self.gains[bidders]
        return rows


@dataclass(frozen=True)
class Hashed:
    """Gains from 1 to `highest`, uniform, made from the numbers of bidder and task and a seed.

    The hash is the finalizer of SplitMix64 (Steele, Lea and Flood, 2014) over a counter.
    """

    size: int
    highest: int = 100
    seed: int = 0

    def of(self, bidders: NDArray[np.int64]) -> NDArray[np.int64]:
        """Rows, made now."""
        numbers = bidders.astype(np.uint64)[:, None] * np.uint64(self.size)
        columns: NDArray[np.uint64] = np.arange(self.size, dtype=np.uint64)
        word = np.add(numbers, columns, dtype=np.uint64)
        word += np.uint64((self.seed + 1) * 0xD1B54A32D192ED03 % 2**64)
        word *= np.uint64(0x9E3779B97F4A7C15)
        word ^= word >> np.uint64(30)
        word *= np.uint64(0xBF58476D1CE4E5B9)
        word ^= word >> np.uint64(27)
        word *= np.uint64(0x94D049BB133111EB)
        # The upper 32 bits times the range, shifted down: no division.
        high: NDArray[np.uint64] = (word ^ (word >> np.uint64(31))) >> np.uint64(32)
        return ((high * np.uint64(self.highest)) >> np.uint64(32)).astype(np.int64) + 1


def padded(gains: Matrix) -> Kept:
    """A table of integers made square with gains of 0."""
    bidders, tasks = gains.shape
    size = max(bidders, tasks)
    square = np.zeros((size, size), np.int64)
    square[:bidders, :tasks] = gains
    return Kept(square)
