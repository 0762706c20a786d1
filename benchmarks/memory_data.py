"""Vectors for measuring a memory, made from a seed as they are needed, and what the right answers are.

Vectors are unit, on a surface of few dimensions with some noise and in clumps, as embeddings of texts are: uniform ones
in 384 dimensions would be all about equally far from one another, and no index could tell them apart.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

Vectors = NDArray[np.float32]
DIMENSION = 384
_INNER = 48
_CLUMPS = 500
_NOISE = 0.02
CHUNK = 10_000


class Clumps:
    """A source of vectors; the same seed gives the same ones."""

    def __init__(self, seed: int) -> None:
        rng = np.random.default_rng(seed)
        self._basis = rng.standard_normal((_INNER, DIMENSION)).astype(np.float32) / np.float32(_INNER**0.5)
        self._centres = rng.standard_normal((_CLUMPS, _INNER)).astype(np.float32)

    def take(self, count: int, seed: int) -> Vectors:
        """Unit vectors of shape (count, 384)."""
        rng = np.random.default_rng(seed)
        inner = self._centres[rng.integers(_CLUMPS, size=count)]
        inner = inner + 0.8 * rng.standard_normal((count, _INNER)).astype(np.float32)
        rows = inner @ self._basis + _NOISE * rng.standard_normal((count, DIMENSION)).astype(np.float32)
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
        unit: Vectors = rows.astype(np.float32)
        return unit

    def chunks(self, count: int) -> Iterator[tuple[int, Vectors]]:
        """(number of the first, vectors) of `count` vectors, some at a time."""
        for start in range(0, count, CHUNK):
            yield start, self.take(min(CHUNK, count - start), 1_000_003 + start)


class Exact:
    """The true nearest to some queries, found as the vectors pass by."""

    def __init__(self, queries: Vectors, k: int) -> None:
        self._queries = queries
        self._k = k
        self._scores = np.full((len(queries), k), -np.inf, np.float32)
        self._places = np.full((len(queries), k), -1, np.int64)

    def see(self, first: int, vectors: Vectors) -> None:
        """Takes vectors, numbered from `first`, into account."""
        scores = np.concatenate([self._scores, self._queries @ vectors.T], axis=1)
        numbers = np.broadcast_to(np.arange(first, first + len(vectors)), (len(scores), len(vectors)))
        places = np.concatenate([self._places, numbers], axis=1)
        best = np.argpartition(-scores, self._k - 1, axis=1)[:, : self._k]
        self._scores = np.take_along_axis(scores, best, axis=1)
        self._places = np.take_along_axis(places, best, axis=1)

    def places(self) -> list[set[int]]:
        """The numbers of the k nearest of each query."""
        return [set(row.tolist()) for row in self._places]
