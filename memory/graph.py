"""A graph over the many vectors of one scope: HNSW with half precision, for scopes too large to search exactly.

HNSW is of Malkov and Yashunin (TPAMI 2018); here faiss's, M 16 over 16-bit floats: at 100,000 x 384 recall at 10 of
.991 in .17 ms with ef 128, 90 MB (measured; the smallest and fastest of those compared).

Rules, each for a trap of faiss 1.15 that was reproduced:
* Adding while another thread searches crashes the process: searches share a lock, adding has it alone, in slices of a
  few milliseconds so that no search waits long.
* HNSW cannot remove: what is removed is masked by a bitmap, and the graph built anew when a third of it is masked.
* `bounded_queue=False` ignores the selector, and would find what was removed: it is never set.
* A selective selector makes HNSW return too few: if less than a fifth passes, or fewer came back than there are, the
  stored vectors are scanned instead; and so for more than a thousand results. So a search gives exactly
  min(k, members that pass).
"""

import threading
import time
from collections.abc import Container, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import faiss as typed_faiss
import numpy as np

from memory.block import Batch, Filter, Found, Mask, best, passes
from memory.schema import Vectors

faiss: Any = typed_faiss  # its own annotations do not know the Python forms of its calls
_NEIGHBOURS: Final = 16
_EF_CONSTRUCTION: Final = 64
_SLICE_S: Final = 0.004
_SLICE_MOST: Final = 1024
_SCAN_BELOW: Final = 0.2
_WALK_MOST: Final = 1000
_GROWTH: Final = 1.25


class SharedLock:
    """Many readers or one writer. A waiting writer goes before new readers, and pauses between its turns."""

    def __init__(self) -> None:
        self._changed = threading.Condition(threading.Lock())
        self._readers = 0
        self._writers = 0
        self._writing = False

    @contextmanager
    def shared(self) -> Iterator[None]:
        """Holds it together with other readers."""
        with self._changed:
            while self._writing or self._writers:
                self._changed.wait()
            self._readers += 1
        try:
            yield
        finally:
            with self._changed:
                self._readers -= 1
                if not self._readers:
                    self._changed.notify_all()

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Holds it alone."""
        with self._changed:
            self._writers += 1
            while self._writing or self._readers:
                self._changed.wait()
            self._writers -= 1
            self._writing = True
        try:
            yield
        finally:
            with self._changed:
                self._writing = False
                self._changed.notify_all()


class Graph:
    """Members of one scope, found by a graph. One thread adds; any may search and remove."""

    def __init__(self, dimension: int, ef: int) -> None:
        index = faiss.IndexHNSWSQ(
            dimension, faiss.ScalarQuantizer.QT_fp16, _NEIGHBOURS, faiss.METRIC_INNER_PRODUCT
        )
        index.hnsw.efConstruction = _EF_CONSTRUCTION
        index.is_trained = True  # half precision has nothing to train
        self._start(index, ef, Batch._make(np.empty(0, kind) for kind in ("i8", "f4", "u1", "f8", "f8")))

    def _start(self, index: Any, ef: int, columns: Batch) -> None:
        self._index = index
        self._ef = ef
        self._lock = SharedLock()
        self._marking = threading.Lock()
        self._columns = columns  # without vectors: those are in the index
        count = len(columns.ids)
        self._bits = np.zeros(count // 8 + 1, np.uint8)
        self.positions: dict[int, int] = {}
        self._show(columns.ids.tolist(), 0, None)
        self.total = count

    def __len__(self) -> int:
        return len(self.positions)

    @property
    def dead(self) -> int:
        """Members that were removed and are still in the graph."""
        return self.total - len(self.positions)

    def add(self, batch: Batch, among: Container[int] | None = None) -> None:
        """Adds members, a few at a time; others search in between. Who has left `among` by then is never found."""
        self._reserve(self.total + len(batch.ids))
        start, size = 0, 16
        while start < len(batch.ids):
            some = batch.take(slice(start, start + size))
            began = time.perf_counter()
            with self._lock.alone():
                self._index.add(some.vectors)
                first, after = self.total, self.total + len(some.ids)
                for column, values in zip(self._columns.columns(), some.columns(), strict=True):
                    if column is not self._columns.vectors:
                        column[first:after] = values
                self._show(some.ids.tolist(), first, among)
                self.total = after
            took = time.perf_counter() - began
            start += len(some.ids)
            size = (
                min(_SLICE_MOST, size * 2)
                if took < _SLICE_S / 2
                else max(1, size // 2)
                if took > _SLICE_S
                else size
            )

    def remove(self, each: int) -> bool:
        """Masks a member; False if it is none."""
        with self._marking:
            at = self.positions.pop(each, None)
            if at is None:
                return False
            self._bits[at >> 3] &= ~(1 << (at & 7)) & 0xFF
        return True

    def search(self, query: Vectors, k: int, filter_: Filter | None = None) -> Found:
        """The k nearest to a query of shape (d,) that pass."""
        with self._lock.shared():
            bits = self._bits
            wanted = min(k, len(self.positions))
            if filter_ is not None:
                mask = self._passing(filter_)
                wanted = min(k, int(mask.sum()))
                bits = np.packbits(mask, bitorder="little")
                if wanted == 0:
                    return _nothing()
                if mask.sum() < _SCAN_BELOW * self.total:
                    return self._scan(query, wanted, bits)
            if wanted == 0:
                return _nothing()
            if wanted > _WALK_MOST:
                return self._scan(query, wanted, bits)
            selector = faiss.IDSelectorBitmap(bits)
            ef = max(self._ef, 2 * k)
            parameters = faiss.SearchParametersHNSW(efSearch=ef, sel=selector)
            scores, at = self._index.search(query[None], wanted, params=parameters)
            found = self._named(at[0], scores[0])
            # A member removed meanwhile may make the first count too high: one scan, then it is so.
            return found if len(found[0]) == wanted else self._scan(query, wanted, bits)

    def members(self) -> Batch:
        """All members with their vectors as stored; copies."""
        with self._lock.shared():
            rows = np.array(sorted(self.positions.values()), np.intp)
            storage = faiss.downcast_index(self._index.storage)
            vectors = np.empty((len(rows), self._index.d), np.float32)
            if len(rows):
                storage.reconstruct_batch(rows.astype(np.int64), vectors)
            columns = self._columns
            return Batch(
                columns.ids[rows],
                vectors,
                columns.kinds[rows],
                columns.valid_from[rows],
                columns.valid_to[rows],
            )

    def write(self, path: Path) -> Batch:
        """Writes the graph to a file; gives its columns, without vectors, removed members too."""
        with self._lock.shared():
            faiss.write_index(self._index, str(path))
            columns = self._columns
            count = self.total
            none = np.empty((count, 0), np.float32)
            return Batch._make(
                [columns.ids[:count].copy(), none, *(each[:count].copy() for each in columns.columns()[2:])]
            )

    @staticmethod
    def read(path: Path, columns: Batch, dimension: int, ef: int) -> "Graph":
        """The graph that `write` wrote. Raises RuntimeError or ValueError if it is none."""
        # Not through downcast_index: what that gives does not own the index, which would be freed under it.
        index = faiss.read_index(str(path))
        if index.d != dimension or index.ntotal != len(columns.ids):
            raise ValueError(
                f"{index.ntotal} vectors of {index.d} dimensions, not {len(columns.ids)} of {dimension}"
            )
        graph = Graph.__new__(Graph)
        graph._start(index, ef, columns._replace(vectors=np.empty(0, np.float32)))
        return graph

    def _passing(self, filter_: Filter) -> Mask:
        columns, count = self._columns, self.total
        mask = passes(filter_, columns.kinds[:count], columns.valid_from[:count], columns.valid_to[:count])
        alive = np.unpackbits(self._bits, count=count, bitorder="little").astype(np.bool_)
        return mask & alive

    def _scan(self, query: Vectors, wanted: int, bits: Any) -> Found:
        storage = faiss.downcast_index(self._index.storage)
        selector = faiss.IDSelectorBitmap(bits)
        scores, at = storage.search(query[None], wanted, params=faiss.SearchParameters(sel=selector))
        return self._named(at[0], scores[0])

    def _named(self, at: Any, scores: Any) -> Found:
        there = at >= 0
        ids = self._columns.ids[at[there]]
        return best(ids, scores[there], len(ids))

    def _reserve(self, needed: int) -> None:
        room = len(self._columns.ids)
        if needed > room:
            capacity = max(needed, int(room * _GROWTH))
            grown = [np.empty(capacity, column.dtype) for column in self._columns.columns()]
            for new, old in zip(grown, self._columns.columns(), strict=True):
                new[: self.total] = old[: self.total] if old is not self._columns.vectors else 0
            self._columns = Batch._make(grown)._replace(vectors=self._columns.vectors)
        if needed // 8 + 1 > len(self._bits):
            with self._lock.alone(), self._marking:
                more = np.zeros(needed // 4 + 8, np.uint8)
                more[: len(self._bits)] = self._bits
                self._bits = more

    def _show(self, ids: list[int], first: int, among: Container[int] | None) -> None:
        """Lets rows from `first` be found. A removal comes wholly before this or wholly after it."""
        with self._marking:
            rows = [at for at, each in enumerate(ids, first) if among is None or each in among]
            self.positions.update((ids[at - first], at) for at in rows)
            at = np.array(rows, np.int64)
            np.bitwise_or.at(self._bits, at >> 3, (1 << (at & 7)).astype(np.uint8))


def _nothing() -> Found:
    return np.empty(0, np.int64), np.empty(0, np.float32)
