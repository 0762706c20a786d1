"""The vector index of a shard: each scope for itself. A cache: everything in it can be made from the rows.

Rules:
* A scope has a block, searched exactly. When that holds more than `exact_items` it becomes a graph
  (`memory/graph.py`), and a new, smaller block begins. Of more than `_GRAPHS` graphs the smallest are merged into
  one. A search looks into the block and all graphs, so what is written is found at once and never waits for a graph.
* A search is given the scopes that the reader sees; nothing of another scope is in the memory it touches.
* Only the writer's thread applies effects. Only one thread tends: builds and merges graphs, and builds one anew when a
  third of it is dead. Both change what is published under one lock, held for moments; searches take none.
* An item that has just become part of a graph may for a moment be in the block as well, and is told once.
"""

import threading
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain

import faiss
import numpy as np

from memory.block import KINDS, Batch, Block, BlockView, Filter, Found, best
from memory.graph import Graph
from memory.schema import Row, Vectors, from_half
from memory.settings import MemorySettings
from memory.transaction import Effect

_GRAPHS = 6
_MERGED = 4
_DEAD_SHARE = 3
_TAIL_SHARE = 4
_EF_LEAST = 64
_SMALLEST_REBUILD = 1000
_NO_KIND = 255
_local = threading.local()


@dataclass(slots=True)
class ScopeIndex:
    """One scope's members."""

    block: Block
    graphs: tuple[Graph, ...] = ()
    version: int = 0
    """Grows with every change of who is a member."""

    def ids(self) -> set[int]:
        """The members' ids."""
        return set(self.block.positions).union(*(graph.positions for graph in self.graphs))


@dataclass(slots=True)
class Captured:
    """A scope as it was between two commits: what a snapshot writes."""

    number: int
    block: BlockView
    graphs: tuple[Graph, ...]


class Index:
    """Members by scope's number."""

    def __init__(self, dimension: int, settings: MemorySettings) -> None:
        self.dimension = dimension
        self.settings = settings
        self._scopes: dict[int, ScopeIndex] = {}
        self._change = threading.Lock()
        self.sequence = 0
        """The last write that is in the index."""
        self.changes = 0
        """Members added and removed since it was made."""

    def __len__(self) -> int:
        return sum(self.count(number) for number in list(self._scopes))

    def count(self, number: int) -> int:
        """Members of a scope."""
        with self._change:
            scope = self._scopes.get(number)
            return 0 if scope is None else len(scope.block) + sum(len(graph) for graph in scope.graphs)

    def unbuilt(self, number: int) -> int:
        """Members of a scope that are in its block: above `exact_items` they wait to be built into a graph."""
        scope = self._scopes.get(number)
        return 0 if scope is None else len(scope.block)

    def version(self, number: int) -> int:
        """A number that grows with every change of a scope's members; 0 if it never had any."""
        scope = self._scopes.get(number)
        return 0 if scope is None else scope.version

    def ids(self, number: int) -> set[int]:
        """The ids of a scope's members."""
        with self._change:
            scope = self._scopes.get(number)
            return set() if scope is None else scope.ids()

    def graphs(self, number: int) -> tuple[Graph, ...]:
        """The graphs of a scope, in the order in which they were built."""
        scope = self._scopes.get(number)
        return () if scope is None else scope.graphs

    def scopes(self) -> list[int]:
        """The numbers of scopes that have members."""
        return [number for number, scope in list(self._scopes.items()) if len(scope.block) or scope.graphs]

    def apply(self, sequence: int, effects: Iterable[Effect]) -> None:
        """Brings in what was committed, up to a sequence number."""
        with self._change:
            for effect in effects:
                for number, each in effect.removed:
                    self._remove(number, each)
                if effect.added:
                    self._add(effect.added)
                self.changes += len(effect.added) + len(effect.removed)
            self.sequence = sequence

    def load(self, rows: Sequence[Row], removed: Iterable[tuple[int, int]] = ()) -> None:
        """Takes out (scope's number, id), where they are members, and adds rows, while the memory is opened."""
        with self._change:
            for number, each in removed:
                self._remove(number, each)
            if rows:
                self._add(rows)

    def search(self, numbers: Sequence[int], query: Vectors, k: int, filter_: Filter | None = None) -> Found:
        """The k nearest to a query of shape (d,) among the members of these scopes that pass: min(k, there are)."""
        if not getattr(_local, "single", False):
            faiss.omp_set_num_threads(1)  # of this thread: a single query has no use for more
            _local.single = True
        found: list[Found] = []
        for number in numbers:
            scope = self._scopes.get(number)
            if scope is None:
                continue
            # The graphs second: what becomes part of one meanwhile is then in one of the two at least.
            found.append(scope.block.search(query, k, filter_))
            graphs = scope.graphs
            ef = max(_EF_LEAST, self.settings.graph_ef // max(1, len(graphs)))
            found += [graph.search(query, k, filter_, ef=ef) for graph in graphs]
        if len(found) == 1:
            return found[0]
        if not found:
            return np.empty(0, np.int64), np.empty(0, np.float32)
        ids = np.concatenate([each for each, _ in found])
        scores = np.concatenate([score for _, score in found])
        ids, first = np.unique(ids, return_index=True)
        return best(ids, scores[first], k)

    def chunks(self, number: int) -> Iterator[Batch]:
        """The members of a scope with their vectors, some at a time; copies."""
        scope = self._scopes.get(number)
        if scope is not None:
            with self._change:
                parts: tuple[BlockView | Graph, ...] = (scope.block.capture(), *scope.graphs)
            for part in parts:
                yield from part.chunks()

    def tend(self, patience: int = 1) -> bool:
        """Does what is due: full blocks into graphs, many graphs into one, dead graphs anew. True if there was any.

        `patience`: how many times its size a block may have before it is full.
        """
        busy = False
        for scope in list(self._scopes.values()):
            # A block beside graphs is kept smaller: a search goes through both.
            most = self.settings.exact_items if not scope.graphs else self.settings.exact_items // _TAIL_SHARE
            if len(scope.block) > patience * most:
                self._build(scope)
                busy = True
            elif len(scope.graphs) > _GRAPHS:
                self._merge(scope, sorted(scope.graphs, key=len)[:_MERGED])
                busy = True
            else:
                dying = [graph for graph in scope.graphs if is_dying(graph)]
                if dying:
                    self._merge(scope, dying[:1])
                    busy = True
        return busy

    def wipe(self) -> None:
        """Overwrites the vectors of removed members in graphs; blocks do it when they remove."""
        for scope in list(self._scopes.values()):
            for graph in scope.graphs:
                if graph.dead:
                    graph.wipe()

    def capture(self) -> tuple[int, list[Captured]]:
        """The index as it is between two commits, and its sequence number. Nothing is copied yet."""
        with self._change:
            return self.sequence, [
                Captured(number, scope.block.capture(), scope.graphs)
                for number, scope in self._scopes.items()
            ]

    def restore(self, number: int, block: Batch, graphs: Sequence[Graph]) -> None:
        """Puts a captured scope in place while the memory is opened."""
        with self._change:
            self._scopes[number] = ScopeIndex(Block(self.dimension, block), tuple(graphs))

    def _add(self, rows: Sequence[Row]) -> None:
        by_scope: dict[int, list[Row]] = {}
        for row in rows:
            by_scope.setdefault(row[1], []).append(row)
        for number, members in by_scope.items():
            scope = self._scopes.get(number)
            if scope is None:
                scope = self._scopes[number] = ScopeIndex(Block(self.dimension))
            scope.version += 1
            scope.block.add(batch_of(members, self.dimension))

    def _remove(self, number: int, each: int) -> None:
        scope = self._scopes.get(number)
        if scope is not None:
            scope.version += 1
            if not scope.block.remove(each):
                any(graph.remove(each) for graph in scope.graphs)

    def _build(self, scope: ScopeIndex) -> None:
        with self._change:
            view = scope.block.capture()
        graph = Graph(view.chunks(), self.dimension)
        with self._change:
            for each in list(graph.positions):
                if each not in scope.block:  # removed while the graph was built
                    graph.remove(each)
            block = Block(self.dimension)
            block.add(scope.block.without(graph.positions))
            scope.graphs = (*scope.graphs, graph)
            scope.block = block

    def _merge(self, scope: ScopeIndex, some: Sequence[Graph]) -> None:
        members = chain.from_iterable(graph.chunks() for graph in some)
        graph = Graph(members, self.dimension)
        with self._change:
            alive = set().union(*(old.positions for old in some))
            for each in list(graph.positions):
                if each not in alive:  # removed while the graph was built
                    graph.remove(each)
            kept = [old for old in scope.graphs if old not in some]
            scope.graphs = (*kept, graph) if len(graph) else tuple(kept)


def is_dying(graph: Graph) -> bool:
    """True if so much of a graph is dead that it is to be built anew."""
    return graph.dead > max(_SMALLEST_REBUILD, graph.total // _DEAD_SHARE) or not len(graph)


def batch_of(rows: Sequence[Row], dimension: int) -> Batch:
    """Rows (`schema.WHOLE`) as members."""
    infinity = float("inf")
    return Batch(
        np.array([row[0] for row in rows], np.int64),
        from_half(b"".join([row[-1] for row in rows]), dimension),
        np.array([KINDS.get(row[2], _NO_KIND) for row in rows], np.uint8),
        np.array([-infinity if row[10] is None else row[10] for row in rows], np.float64),
        np.array([infinity if row[11] is None else row[11] for row in rows], np.float64),
    )
