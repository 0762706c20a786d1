"""A graph over many vectors of one scope: HNSW with half precision, for scopes too large to search exactly.

HNSW is of Malkov and Yashunin (TPAMI 2018); here faiss's, M 16 over 16-bit floats: at 100,000 x 384 recall at 10 of
.991 in .17 ms with ef 128, 90 MB (measured; the smallest and fastest of those compared).

Rules, each for a trap of faiss 1.15 that was reproduced:
* Adding while another thread searches crashes the process, and each call that adds to a graph makes a lock for every
  vector in it (IndexHNSW.cpp). So a graph is built in one call, before anybody sees it, and never added to; searches
  need no lock. `memory/index.py` keeps several and merges them, as a log-structured merge tree does (O'Neil et al.,
  1996).
* HNSW cannot remove: what is removed is masked by a bitmap, and the graph built anew when a third of it is masked.
* `bounded_queue=False` ignores the selector, and would find what was removed: it is never set.
* A selective selector makes HNSW return too few: if less than a fifth passes, or fewer came back than there are, the
  stored vectors are scanned instead; and so for more than a thousand results. So a search gives exactly
  min(k, members that pass).
"""

import threading
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final

import faiss as typed_faiss
import numpy as np

from memory.block import CHUNK, Batch, Filter, Found, Mask, best, empty_batch, joined, passes
from memory.schema import Vectors

faiss: Any = typed_faiss  # its own annotations do not know the Python forms of its calls
_NEIGHBOURS: Final = 16
_EF_CONSTRUCTION: Final = 64
_SCAN_BELOW: Final = 0.2
_WALK_MOST: Final = 1000


class Graph:
    """Members of one scope, found by a graph. Any thread may search and remove."""

    def __init__(self, batches: Iterable[Batch], dimension: int) -> None:
        """Builds it, a batch at a time: the vectors are never all there in single precision."""
        index = faiss.IndexHNSWSQ(
            dimension, faiss.ScalarQuantizer.QT_fp16, _NEIGHBOURS, faiss.METRIC_INNER_PRODUCT
        )
        index.hnsw.efConstruction = _EF_CONSTRUCTION
        index.is_trained = True  # half precision has nothing to train
        columns: list[Batch] = [empty_batch(0)]
        for batch in batches:
            index.add(np.ascontiguousarray(batch.vectors))
            columns.append(batch._replace(vectors=np.empty((len(batch.ids), 0), np.float32)))
        self._start(index, joined(columns))

    def _start(self, index: Any, columns: Batch) -> None:
        count = len(columns.ids)
        self._index = index
        self._marking = threading.Lock()
        self._columns = columns._replace(vectors=np.empty((0, index.d), np.float32))  # the index has them
        self._bits = np.packbits(np.ones(count, np.bool_), bitorder="little")
        self._selector = faiss.IDSelectorBitmap(self._bits)  # reads the same bytes: a removal shows at once
        self.positions: dict[int, int] = {each: at for at, each in enumerate(columns.ids.tolist())}
        self.total = count

    def __len__(self) -> int:
        return len(self.positions)

    @property
    def dead(self) -> int:
        """Members that were removed and are still in the graph."""
        return self.total - len(self.positions)

    def remove(self, each: int) -> bool:
        """Masks a member; False if it is none."""
        with self._marking:
            at = self.positions.pop(each, None)
            if at is None:
                return False
            self._bits[at >> 3] &= ~(1 << (at & 7)) & 0xFF
        return True

    def search(self, query: Vectors, k: int, filter_: Filter | None = None, *, ef: int = 128) -> Found:
        """The k nearest to a query of shape (d,) that pass; the walk keeps `ef` candidates."""
        selector = self._selector
        wanted = min(k, len(self.positions))
        if filter_ is not None:
            mask = self._passing(filter_)
            passing = int(mask.sum())
            wanted = min(k, passing)
            selector = faiss.IDSelectorBitmap(np.packbits(mask, bitorder="little"))
            if passing < _SCAN_BELOW * self.total:
                return self._scan(query, wanted, selector)
        if wanted == 0 or wanted > _WALK_MOST:
            return self._scan(query, wanted, selector)
        parameters = faiss.SearchParametersHNSW(efSearch=max(ef, 2 * k), sel=selector)
        scores, at = self._index.search(query[None], wanted, params=parameters)
        found = self._named(at[0], scores[0])
        return found if len(found[0]) == wanted else self._scan(query, wanted, selector)

    def wipe(self) -> None:
        """Overwrites the vectors of removed members with zeros. The walk through them is poorer from then on."""
        storage = faiss.downcast_index(self._index.storage)
        codes = faiss.rev_swig_ptr(storage.codes.data(), self.total * storage.code_size)
        alive = np.unpackbits(self._bits, count=self.total, bitorder="little").astype(np.bool_)
        codes.reshape(self.total, -1)[~alive] = 0

    def chunks(self) -> Iterator[Batch]:
        """The members with their vectors as stored, some at a time; copies."""
        everything = np.array(sorted(self.positions.values()), np.int64)
        storage = faiss.downcast_index(self._index.storage)
        columns = self._columns.columns()
        for start in range(0, len(everything), CHUNK):
            rows = everything[start : start + CHUNK]
            vectors = np.empty((len(rows), self._index.d), np.float32)
            storage.reconstruct_batch(rows, vectors)
            yield Batch._make([columns[0][rows], vectors, *(each[rows] for each in columns[2:])])

    def write(self, path: Path) -> Batch:
        """Writes the graph to a file; gives its columns, without vectors, removed members too."""
        faiss.write_index(self._index, str(path))
        return self._columns._replace(vectors=np.empty((self.total, 0), np.float32))

    @staticmethod
    def read(path: Path, columns: Batch, dimension: int) -> "Graph":
        """The graph that `write` wrote. Raises RuntimeError or ValueError if it is none."""
        # Not through downcast_index: what that gives does not own the index, which would be freed under it.
        index = faiss.read_index(str(path))
        if index.d != dimension or index.ntotal != len(columns.ids):
            raise ValueError(
                f"{index.ntotal} vectors of {index.d} dimensions, not {len(columns.ids)} of {dimension}"
            )
        graph = Graph.__new__(Graph)
        graph._start(index, columns)
        return graph

    def _passing(self, filter_: Filter) -> Mask:
        columns = self._columns
        mask = passes(filter_, columns.kinds, columns.valid_from, columns.valid_to)
        return mask & np.unpackbits(self._bits, count=self.total, bitorder="little").astype(np.bool_)

    def _scan(self, query: Vectors, wanted: int, selector: Any) -> Found:
        if wanted == 0:
            return np.empty(0, np.int64), np.empty(0, np.float32)
        storage = faiss.downcast_index(self._index.storage)
        scores, at = storage.search(query[None], wanted, params=faiss.SearchParameters(sel=selector))
        return self._named(at[0], scores[0])

    def _named(self, at: Any, scores: Any) -> Found:
        there = at >= 0
        ids = self._columns.ids[at[there]]
        return best(ids, scores[there], len(ids))
