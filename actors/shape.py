"""The shapes of networks, over the numbers 0 to n-1.

Rules:
* A shape answers who the neighbours of a number are, in ascending order, each once, never the number itself.
* Regular shapes are formulas and hold nothing. Others hold their edges as two arrays (compressed sparse rows:
  4 bytes for each end of an edge, 8 for each node), made when the first neighbour is asked for.
* Nodes and edges are those of NetworkX's generators of the same name (A. Hagberg et al., "Exploring network
  structure, dynamics, and function using NetworkX", SciPy 2008), which also draws the random ones.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from typing import TYPE_CHECKING, Any, Protocol, overload

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import networkx  # type: ignore[import-untyped]  # it ships no types

Edges = NDArray[np.int64]
"""Pairs of numbers, shape [edges, 2], each edge once or more, in either direction."""


class Shape(Protocol):
    """Who is whose neighbour."""

    @property
    def nodes(self) -> int:
        """How many nodes there are."""

    @property
    def edges(self) -> int:
        """How many edges there are."""

    def neighbours(self, node: int) -> Sequence[int]:
        """The neighbours of a node, ascending."""


class AllBut(Sequence[int]):
    """The numbers 0 to n-1 without one, and without a list of them in memory."""

    def __init__(self, size: int, left_out: int) -> None:
        self.size = size
        self.left_out = left_out

    def __len__(self) -> int:
        return self.size - 1

    @overload
    def __getitem__(self, index: int) -> int: ...
    @overload
    def __getitem__(self, index: slice) -> list[int]: ...
    def __getitem__(self, index: int | slice) -> int | list[int]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        place = range(len(self))[index]
        return place if place < self.left_out else place + 1

    def __contains__(self, number: object) -> bool:
        return number in range(self.size) and number != self.left_out


@dataclass(frozen=True)
class Complete:
    """Everybody with everybody."""

    nodes: int

    @property
    def edges(self) -> int:
        """n (n - 1) / 2."""
        return self.nodes * (self.nodes - 1) // 2

    def neighbours(self, node: int) -> Sequence[int]:
        """All others."""
        return AllBut(self.nodes, node)


@dataclass(frozen=True)
class Star:
    """Node 0 with everybody."""

    nodes: int

    @property
    def edges(self) -> int:
        """n - 1."""
        return self.nodes - 1

    def neighbours(self, node: int) -> Sequence[int]:
        """All others for the hub, the hub for the others."""
        return range(1, self.nodes) if node == 0 else (0,)


@dataclass(frozen=True)
class Ring:
    """Each with its `nearest` nearest, half on either side: Watts and Strogatz's lattice."""

    nodes: int
    nearest: int

    @property
    def edges(self) -> int:
        """All nodes have the same degree."""
        return self.nodes * len(self.neighbours(0)) // 2

    def neighbours(self, node: int) -> Sequence[int]:
        """Up to `nearest`: fewer where the ring is shorter."""
        reach = min(self.nearest // 2, self.nodes // 2)
        around = {(node + step) % self.nodes for step in range(-reach, reach + 1)}
        return sorted(around - {node})


@dataclass(frozen=True)
class Grid:
    """Rows and columns, numbered row by row; joined at the ends if periodic (a torus)."""

    rows: int
    columns: int
    periodic: bool
    diagonal: bool
    """Eight neighbours (Moore) in place of four (von Neumann)."""

    @property
    def nodes(self) -> int:
        """Rows by columns."""
        return self.rows * self.columns

    @property
    def edges(self) -> int:
        """On a torus all nodes have the same degree."""
        if self.periodic:
            return self.nodes * len(self.neighbours(0)) // 2
        down, right = self.rows - 1, self.columns - 1
        return self.rows * right + down * self.columns + (2 * down * right if self.diagonal else 0)

    def neighbours(self, node: int) -> Sequence[int]:
        """Up to four, or eight with diagonals."""
        row, column = divmod(node, self.columns)
        found = set()
        for down in (-1, 0, 1):
            for right in (-1, 0, 1):
                if down and right and not self.diagonal:
                    continue
                r, c = row + down, column + right
                if self.periodic:
                    found.add(r % self.rows * self.columns + c % self.columns)
                elif 0 <= r < self.rows and 0 <= c < self.columns:
                    found.add(r * self.columns + c)
        return sorted(found - {node})


@dataclass(frozen=True)
class Tree:
    """Node 0 is the root; each has `branching` children, level by level, until the numbers run out."""

    nodes: int
    branching: int

    @property
    def edges(self) -> int:
        """n - 1."""
        return self.nodes - 1

    def neighbours(self, node: int) -> Sequence[int]:
        """The parent, then the children."""
        first = node * self.branching + 1
        children = range(min(first, self.nodes), min(first + self.branching, self.nodes))
        return children if node == 0 else ((node - 1) // self.branching, *children)


@dataclass(frozen=True)
class Stored:
    """Any edges. They are made when they are first needed."""

    nodes: int
    make: Callable[[], Edges]

    @property
    def edges(self) -> int:
        """Without those given twice."""
        return len(self._rows[1]) // 2

    def neighbours(self, node: int) -> Sequence[int]:
        """One row of the matrix."""
        starts, ends = self._rows
        found: list[int] = ends[starts[node] : starts[node + 1]].tolist()
        return found

    @cached_property
    def _rows(self) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
        """Compressed sparse rows: where each node's neighbours start, and the neighbours."""
        pairs = self.make()
        both = np.concatenate((pairs, pairs[:, ::-1]))
        codes = np.unique(both[:, 0] * self.nodes + both[:, 1])
        sources, ends = np.divmod(codes, self.nodes)
        starts = np.zeros(self.nodes + 1, np.int64)
        np.cumsum(np.bincount(sources, minlength=self.nodes), out=starts[1:])
        return starts, ends.astype(np.int32)


def small_world(nodes: int, nearest: int, rewire: float, seed: int) -> Stored:
    """A ring whose edges are moved with probability `rewire` (Watts and Strogatz, Nature 393, 1998)."""
    return _drawn(nodes, lambda nx: nx.watts_strogatz_graph(nodes, nearest, rewire, seed))


def scale_free(nodes: int, attach: int, seed: int) -> Stored:
    """Newcomers join `attach` others, rich ones sooner (Barabasi and Albert, Science 286, 1999)."""
    return _drawn(nodes, lambda nx: nx.barabasi_albert_graph(nodes, attach, seed))


def random_pairs(nodes: int, probability: float, seed: int) -> Stored:
    """Each pair with one probability (Erdos and Renyi's G(n, p); drawn as in Batagelj and Brandes, 2005)."""
    return _drawn(nodes, lambda nx: nx.fast_gnp_random_graph(nodes, probability, seed))


def random_regular(nodes: int, degree: int, seed: int) -> Stored:
    """Everybody with `degree` others at random (Steger and Wormald, 1999)."""
    return _drawn(nodes, lambda nx: nx.random_regular_graph(degree, nodes, seed))


def _drawn(nodes: int, draw: "Callable[[Any], networkx.Graph]") -> Stored:
    def make() -> Edges:
        # Imported where it is needed: 20 MB of memory and 0.1 s that most processes can do without.
        import networkx  # noqa: PLC0415

        graph = draw(networkx)
        size = 2 * graph.number_of_edges()
        return np.fromiter(chain.from_iterable(graph.edges()), np.int64, size).reshape(-1, 2)

    return Stored(nodes, make)
