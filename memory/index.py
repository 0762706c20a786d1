"""The vector index of a shard: each scope for itself. A cache: everything in it can be made from the rows.

Rules:
* A scope has a block, searched exactly; above `exact_items` also a graph (`memory/graph.py`), and the block then holds
  what came since. A search looks into both, so what is written is found at once, and never waits for the graph.
* A search is given the scopes that the reader sees; nothing of another scope is in the memory it touches.
* Only the writer's thread applies effects. Only one thread tends: moves a full block into the graph, builds a graph
  anew when a third of it is dead. Both change what is published under one lock, held for moments.
* An item that is moved is for a while in both, and told once.
"""

import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import faiss
import numpy as np

from memory.block import KINDS, Batch, Block, BlockView, Filter, Found, best
from memory.graph import Graph
from memory.schema import Row, Vectors, from_half
from memory.settings import MemorySettings
from memory.transaction import Effect

_TAIL_SHARE = 4
_DEAD_SHARE = 3
_SMALLEST_REBUILD = 1000
_NO_KIND = 255
_local = threading.local()


@dataclass(slots=True)
class ScopeIndex:
    """One scope's members."""

    block: Block
    graph: Graph | None = None
    version: int = 0
    """Grows with every change of who is a member."""

    def ids(self) -> set[int]:
        """The members' ids."""
        return set(self.block.positions) | (set(self.graph.positions) if self.graph else set())


@dataclass(slots=True)
class Captured:
    """A scope as it was between two commits: what a snapshot writes."""

    number: int
    block: BlockView
    graph: Graph | None


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
        """Members of a scope; an item under way between block and graph is counted once."""
        scope = self._scopes.get(number)
        if scope is None:
            return 0
        graph = scope.graph
        if graph is None:
            return len(scope.block)
        with self._change:
            return len(graph) + sum(each not in graph.positions for each in scope.block.positions)

    def size(self, number: int) -> int:
        """As `count`, but fast, and too large by what is under way."""
        scope = self._scopes.get(number)
        return 0 if scope is None else len(scope.block) + (len(scope.graph) if scope.graph else 0)

    def unbuilt(self, number: int) -> int:
        """Members of a scope that are in its block: with a graph, or above `exact_items`, they wait to be built in."""
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

    def scopes(self) -> list[int]:
        """The numbers of scopes that have members."""
        return [number for number, scope in list(self._scopes.items()) if len(scope.block) or scope.graph]

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

    def load(self, rows: Sequence[Row]) -> None:
        """Adds rows while the memory is opened."""
        with self._change:
            self._add(rows)

    def drop(self, each: int, number: int) -> None:
        """Takes a member out while the memory is opened."""
        with self._change:
            self._remove(number, each)

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
            # The graph second: what is moved meanwhile is then in one of them at least.
            found.append(scope.block.search(query, k, filter_))
            if scope.graph is not None:
                found.append(scope.graph.search(query, k, filter_))
        if len(found) == 1:
            return found[0]
        if not found:
            return np.empty(0, np.int64), np.empty(0, np.float32)
        ids = np.concatenate([each for each, _ in found])
        scores = np.concatenate([score for _, score in found])
        ids, first = np.unique(ids, return_index=True)
        return best(ids, scores[first], k)

    def members(self, number: int) -> Batch:
        """All members of a scope with their vectors, by id; copies."""
        with self._change:
            scope = self._scopes.get(number) or ScopeIndex(Block(self.dimension))
            batch = scope.block.members()
            if scope.graph is not None:
                more = scope.graph.members()
                batch = Batch._make(
                    np.concatenate(pair) for pair in zip(batch.columns(), more.columns(), strict=True)
                )
        _, first = np.unique(batch.ids, return_index=True)
        return batch.take(first)

    def tend(self) -> bool:
        """Does what is due: full blocks into graphs, dead graphs anew. True if there was any."""
        busy = False
        for scope in list(self._scopes.values()):
            if len(scope.block) > self._most(scope):
                self._move(scope)
                busy = True
            elif scope.graph and scope.graph.dead > max(_SMALLEST_REBUILD, scope.graph.total // _DEAD_SHARE):
                self._rebuild(scope)
                busy = True
        return busy

    def capture(self) -> tuple[int, list[Captured]]:
        """The index as it is between two commits, and its sequence number. Nothing is copied yet."""
        with self._change:
            return self.sequence, [
                Captured(number, scope.block.capture(), scope.graph) for number, scope in self._scopes.items()
            ]

    def restore(self, number: int, block: Batch, graph: Graph | None) -> None:
        """Puts a captured scope in place while the memory is opened."""
        with self._change:
            scope = ScopeIndex(Block(self.dimension), graph)
            scope.block.add(block)
            self._scopes[number] = scope

    def _most(self, scope: ScopeIndex) -> int:
        most = self.settings.exact_items
        return most if scope.graph is None else max(1, most // _TAIL_SHARE)

    def _add(self, rows: Sequence[Row]) -> None:
        by_scope: dict[int, list[Row]] = {}
        for row in rows:
            by_scope.setdefault(row[1], []).append(row)
        for number, members in by_scope.items():
            scope = self._scopes.get(number)
            if scope is None:
                scope = self._scopes[number] = ScopeIndex(Block(self.dimension))
            if scope.graph is not None:
                members = [row for row in members if row[0] not in scope.graph.positions]  # noqa: PLW2901 (those that are new)
            scope.version += 1
            if members:
                scope.block.add(batch_of(members, self.dimension))

    def _remove(self, number: int, each: int) -> None:
        scope = self._scopes.get(number)
        if scope is not None:
            scope.version += 1
            scope.block.remove(each)
            if scope.graph is not None:
                scope.graph.remove(each)

    def _move(self, scope: ScopeIndex) -> None:
        with self._change:
            view = scope.block.capture()
        batch = view.members()
        graph = scope.graph or Graph(self.dimension, self.settings.graph_ef)
        new = np.array([each not in graph.positions for each in batch.ids.tolist()], np.bool_)
        graph.add(batch.take(new), scope.block)
        with self._change:
            for each in list(graph.positions) if scope.graph is None else []:
                if each not in scope.block.positions:  # removed from the block after the graph had it
                    graph.remove(each)
            block = Block(self.dimension)
            block.add(scope.block.without(graph.positions))
            scope.graph = graph
            scope.block = block

    def _rebuild(self, scope: ScopeIndex) -> None:
        assert scope.graph is not None
        graph = Graph(self.dimension, self.settings.graph_ef)
        graph.add(scope.graph.members())
        with self._change:
            for each in list(graph.positions):
                if each not in scope.graph.positions:
                    graph.remove(each)
            scope.graph = graph if len(graph) else None


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
