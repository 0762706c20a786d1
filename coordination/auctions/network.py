"""Who hears whom, as arrays: the neighbours of n bidders in a table, for mechanisms without a coordinator.

Rules: neighbourhood is mutual and the network is connected, else bidders could never agree; both are checked. The
table is as wide as the most neighbours of anybody, filled up with the bidder itself, whose own word changes nothing.
"""

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from actors.errors import ConfigurationError
from actors.topology import Topology


@dataclass(frozen=True, eq=False)
class Network:
    """A connected, undirected network over bidders 0 to n-1."""

    neighbours: tuple[tuple[int, ...], ...]

    def __post_init__(self) -> None:
        size = len(self.neighbours)
        sets = [set(near) for near in self.neighbours]
        for node, near in enumerate(self.neighbours):
            if any(not 0 <= other < size or other == node or node not in sets[other] for other in near):
                raise ConfigurationError(
                    f"network: the neighbours of {node}, {near}, are not mutual, or not among 0 to {size - 1}."
                )
        if size and max(self._distances(0)) == size:
            raise ConfigurationError("network: is not connected, so not all can agree. Join its pieces.")

    @classmethod
    def of(cls, given: "Topology | Mapping[int, Iterable[int]] | Sequence[Iterable[int]]") -> "Network":
        """From a topology, from a mapping of nodes to neighbours (a networkx graph is one), or from lists of them.

        Nodes of a mapping are numbered in its order.
        """
        if isinstance(given, Topology):
            nodes = given.nodes
            addresses = [nodes.address(number) for number in range(nodes.size)]
            numbers = {address: number for number, address in enumerate(addresses)}
            return cls(tuple(tuple(numbers[near] for near in given.neighbours(one)) for one in addresses))
        if isinstance(given, Sequence):
            return cls(tuple(tuple(sorted(near)) for near in given))
        order = {node: number for number, node in enumerate(given)}
        return cls(tuple(tuple(sorted(order[near] for near in given[node])) for node in order))

    @classmethod
    def complete(cls, size: int) -> "Network":
        """All hear all."""
        return cls(tuple(tuple(other for other in range(size) if other != node) for node in range(size)))

    @classmethod
    def line(cls, size: int) -> "Network":
        """Each hears the one before and the one after."""
        return cls(
            tuple(tuple(other for other in (node - 1, node + 1) if 0 <= other < size) for node in range(size))
        )

    @property
    def size(self) -> int:
        """How many bidders."""
        return len(self.neighbours)

    @cached_property
    def links(self) -> int:
        """Messages if everybody says one thing to each neighbour."""
        return sum(map(len, self.neighbours))

    @cached_property
    def diameter(self) -> int:
        """The most hops between any two; at least 1."""
        return max(1, *(max(self._distances(node)) for node in range(self.size)))

    @cached_property
    def table(self) -> NDArray[np.int64]:
        """(bidders, most neighbours): column p holds each one's p-th neighbour, or itself."""
        widest = max(1, *map(len, self.neighbours))
        rows = [[*near, *[node] * (widest - len(near))] for node, near in enumerate(self.neighbours)]
        return np.array(rows, np.int64)

    def _distances(self, start: int) -> list[int]:
        """Hops from a node; n for what cannot be reached."""
        hops = [self.size] * self.size
        hops[start] = 0
        queue = deque([start])
        while queue:
            node = queue.popleft()
            for other in self.neighbours[node]:
                if hops[other] == self.size:
                    hops[other] = hops[node] + 1
                    queue.append(other)
        return hops
