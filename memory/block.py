"""A contiguous block of vectors, searched exactly.

Up to about 20,000 vectors one product with a matrix in memory is as fast as any index and never wrong (measured, 384
dimensions: .006 ms at 100, .5 ms at 20,000; a selector over one big HNSW graph found .04 at 100 and took longer).

Rules:
* One thread changes a block; any number search it meanwhile, without a lock. Rows are only appended, and what a search
  works on is published as one tuple; a removed row is marked, and is left out when the marks are read, which is after
  the products are made. Many marks, and the block is copied without them.
* A removed vector is overwritten with zeros at once.
* A search gives exactly min(k, members that pass) results, best first, ties by the smaller id.
"""

from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import faiss as typed_faiss
import numpy as np
from numpy.typing import NDArray

from memory.item import Item, Kind
from memory.schema import Ids, Vectors

KINDS: Final = {str(kind): number for number, kind in enumerate(Kind)}
faiss: Any = typed_faiss  # its own annotations do not know the Python forms of its calls
CHUNK: Final = 10_000
"""Members that are copied at a time."""
_BLAS_ROWS: Final = 1000
_GROWTH: Final = 2
"""Room that is not used yet takes addresses and no memory."""
_FIRST: Final = 8
_DEAD_AT_LEAST: Final = 64

Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Filter:
    """What passes, beside the scope. Nothing given: everything."""

    kinds: frozenset[Kind] | None = None
    valid_at: float | None = None

    def lets_pass(self, item: Item) -> bool:
        """True if the item passes."""
        if self.kinds is not None and item.kind not in self.kinds:
            return False
        return self.valid_at is None or item.valid_at(self.valid_at)


class Batch(NamedTuple):
    """Members of a scope, a row each."""

    ids: Ids
    vectors: Vectors
    kinds: NDArray[np.uint8]
    valid_from: NDArray[np.float64]
    """-inf if not told."""
    valid_to: NDArray[np.float64]
    """+inf if not told."""

    def take(self, rows: "NDArray[np.intp] | Mask | slice") -> "Batch":
        """Some of the rows."""
        return Batch._make(column[rows] for column in self.columns())

    def columns(self) -> list[Any]:
        """The arrays, in order."""
        return list(self)


Found = tuple[Ids, Vectors]
"""Ids and inner products, best first."""


def passes(
    filter_: Filter,
    kinds: NDArray[np.uint8],
    valid_from: NDArray[np.float64],
    valid_to: NDArray[np.float64],
) -> Mask:
    """Which rows pass."""
    mask = np.ones(len(kinds), np.bool_)
    if filter_.kinds is not None:
        mask &= np.isin(kinds, [KINDS[str(kind)] for kind in filter_.kinds])
    if filter_.valid_at is not None:
        mask &= (valid_from <= filter_.valid_at) & (filter_.valid_at < valid_to)
    return mask


def best(ids: Ids, scores: Vectors, k: int) -> Found:
    """The k best of these, ties by the smaller id."""
    if len(ids) > 4 * k:
        # All that tie with the k-th stay in, so that the choice among them is by id and not by chance.
        kth = np.partition(scores, len(scores) - k)[len(scores) - k]
        within = np.flatnonzero(scores >= kth)
        ids, scores = ids[within], scores[within]
    order = np.lexsort((ids, -scores))[:k]
    return ids[order], scores[order]


def products(vectors: Vectors, query: Vectors) -> Vectors:
    """The inner products of vectors (n, d), contiguous, with a query (d,): shape (n,).

    Many are left to faiss, which uses one thread: OpenBLAS takes all cores, and where others want them too its threads
    wait for one another (5,000 rows on a machine with a load of 12: .11 ms against 2.2; alone on it .11 against .06).
    """
    if len(vectors) <= _BLAS_ROWS:
        return vectors @ query
    query = np.ascontiguousarray(query, np.float32)
    scores = np.empty(len(vectors), np.float32)
    pointers = (faiss.swig_ptr(each) for each in (scores, query, vectors))
    faiss.fvec_inner_products_ny(*pointers, vectors.shape[1], len(vectors))
    return scores


class BlockView(NamedTuple):
    """A block at one moment."""

    columns: Batch
    alive: Mask

    def members(self) -> Batch:
        """The members; copies."""
        return self.columns.take(slice(0, len(self.alive))).take(self.alive)

    def chunks(self) -> Iterator[Batch]:
        """The members, some at a time; copies."""
        for start in range(0, len(self.alive), CHUNK):
            alive = self.alive[start : start + CHUNK]
            yield self.columns.take(slice(start, start + len(alive))).take(alive)


class Block:
    """Vectors of one scope."""

    def __init__(self, dimension: int, members: Batch | None = None) -> None:
        """`members`, each once: taken over as they are, and not copied."""
        self._dimension = dimension
        self._take_over(_room(dimension, 0) if members is None else members)

    def __len__(self) -> int:
        return len(self.positions)

    def __contains__(self, each: object) -> bool:
        return each in self.positions

    def add(self, batch: Batch) -> None:
        """Appends members. Whoever is here already is left as it is."""
        fresh = [row for row, each in enumerate(batch.ids.tolist()) if each not in self.positions]
        if len(fresh) < len(batch.ids):
            batch = batch.take(np.array(fresh, np.intp))
        if not fresh:
            return
        columns, alive, count = self._columns, self._alive, self._count
        after = count + len(fresh)
        if after > len(alive):
            columns, alive = self._grown(after)
        for column, values in zip(columns.columns(), batch.columns(), strict=True):
            column[count:after] = values
        alive[count:after] = True
        self.positions.update(zip(batch.ids.tolist(), range(count, after), strict=True))
        self._publish(columns, alive, after)

    def remove(self, each: int) -> bool:
        """Takes a member out; False if it is none."""
        at = self.positions.pop(each, None)
        if at is None:
            return False
        self._alive[at] = False
        self._columns.vectors[at] = 0
        if self._count - len(self.positions) > max(_DEAD_AT_LEAST, len(self.positions) // 3):
            self._compact()
        return True

    def members(self) -> Batch:
        """All members, in the order they came; copies."""
        return self.capture().members()

    def capture(self) -> "BlockView":
        """The members as they are now, not copied yet: what is removed later may be there with its vector zeroed."""
        columns, alive, count = self._view
        return BlockView(columns, alive[:count].copy())

    def without(self, others: Container[int]) -> Batch:
        """The members that are not among others; copies."""
        rows = [at for each, at in self.positions.items() if each not in others]
        return self._columns.take(np.array(rows, np.intp))

    def search(self, query: Vectors, k: int, filter_: Filter | None = None) -> Found:
        """The k nearest to a query of shape (d,) that pass."""
        columns, alive, count = self._view
        scores = products(columns.vectors[:count], query)
        ids = columns.ids[:count]
        live = alive[:count].copy()
        if filter_ is not None:
            live = live & passes(
                filter_, columns.kinds[:count], columns.valid_from[:count], columns.valid_to[:count]
            )
        if not live.all():
            ids, scores = ids[live], scores[live]
        return best(ids, scores, k)

    def _publish(self, columns: Batch, alive: Mask, count: int) -> None:
        self._columns, self._alive, self._count = columns, alive, count
        self._view = (columns, alive, count)

    def _grown(self, needed: int) -> tuple[Batch, Mask]:
        capacity = max(_FIRST, needed, len(self._alive) * _GROWTH)
        columns, alive = _room(self._dimension, capacity), np.zeros(capacity, np.bool_)
        for new, old in zip(columns.columns(), self._columns.columns(), strict=True):
            new[: self._count] = old[: self._count]
        alive[: self._count] = self._alive[: self._count]
        return columns, alive

    def _compact(self) -> None:
        self._take_over(self.members())

    def _take_over(self, members: Batch) -> None:
        count = len(members.ids)
        self.positions: dict[int, int] = dict(zip(members.ids.tolist(), range(count), strict=True))
        """Where each member is."""
        self._publish(members, np.ones(count, np.bool_), count)


def joined(batches: Sequence[Batch]) -> Batch:
    """Batches one after another."""
    return Batch._make(
        np.concatenate(columns) for columns in zip(*(batch.columns() for batch in batches), strict=True)
    )


def empty_batch(dimension: int) -> Batch:
    """No members."""
    return _room(dimension, 0)


def _room(dimension: int, capacity: int) -> Batch:
    return Batch(
        np.empty(capacity, np.int64),
        np.empty((capacity, dimension), np.float32),
        np.empty(capacity, np.uint8),
        np.empty(capacity, np.float64),
        np.empty(capacity, np.float64),
    )
