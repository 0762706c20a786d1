"""Who is whose neighbour.

Rules:
* A topology is over the declared agents of one role, or of several in the order given. Agents spawned at run
  time and agents of other roles have no neighbours.
* Neighbourhood is mutual, nobody is their own neighbour, and neighbours come in the order of the members.
* What is kept and pickled is the description (kind, members, seed, parameters); each process makes the same
  network of it. The edges of a file travel along, as a file may be on one machine only or change.

| kind          | parameters (default)                                                                   |
|---------------|----------------------------------------------------------------------------------------|
| `complete`    |                                                                                        |
| `star`        | the first member is the hub                                                            |
| `ring`        | `nearest` (2): how many are joined to each, half on either side                        |
| `grid`        | `rows`, `columns` (one follows from the other; a square); `periodic`, `diagonal` (no)  |
| `tree`        | `branching` (2)                                                                        |
| `small_world` | `nearest` (4), `rewire` (0.1): Watts and Strogatz                                      |
| `scale_free`  | `attach` (2): Barabasi and Albert                                                      |
| `random`      | `probability` of each pair (Erdos and Renyi), or `degree` of each (random regular)     |
| `edges`       | `file`: two members a line, as addresses or as numbers in the order of the members     |

Costs on one core of CPython 3.11: neighbours of an agent 5 to 7 us (2 us where they are a view). Random
networks are drawn in each process that asks: 100,000 agents with four neighbours each take 1 s and 100 MB
meanwhile, a million ten times that. Regular shapes of any size take no memory.
"""

from array import array
from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate, islice
from math import isqrt
from pathlib import Path
from typing import TYPE_CHECKING, cast, overload

import numpy as np

from actors.address import Members
from actors.description import Description, nearest
from actors.errors import ConfigurationError
from actors.rng import stream_key
from actors.selector import Counts
from actors.shape import (
    AllBut,
    Complete,
    Edges,
    Grid,
    Ring,
    Shape,
    Star,
    Stored,
    Tree,
    random_pairs,
    random_regular,
    scale_free,
    small_world,
)

if TYPE_CHECKING:
    import networkx  # type: ignore[import-untyped]  # it ships no types

Parameter = float | str | bool

_EAGER = 64
"""Up to so many neighbours come as a tuple, more as a view that makes each address when it is asked for."""
_HEADINGS = {("source", "target"), ("from", "to"), ("sender", "recipient")}


class Nodes:
    """The members of some roles in order, and their numbers."""

    def __init__(self, roles: Sequence[tuple[str, int | None]]) -> None:
        self.first: dict[str, int] = {}
        self.members = [Members(role, count) for role, count in roles]
        self.size = 0
        for members in self.members:
            self.first[members.role] = self.size
            self.size += len(members)
        self._ends = list(accumulate(len(members) for members in self.members))

    def address(self, number: int) -> str:
        """The address of a number from 0 to size-1."""
        place = bisect_right(self._ends, number)
        members = self.members[place]
        return members[number - self.first[members.role]]

    def number(self, address: str) -> int | None:
        """The number of an address; None if it is not a member."""
        role, _, key = address.partition("/")
        first = self.first.get(role)
        if first is None:
            return None
        if address == role:
            number = first
        elif key.isascii() and key.isdigit():
            number = first + int(key)
        else:
            return None
        # The way back settles what is no member: bare names of numbered agents, too large numbers, "07".
        return number if number < self.size and self.address(number) == address else None


class _Addresses(Sequence[str]):
    """The addresses of many numbers, each made when it is asked for."""

    def __init__(self, numbers: Sequence[int], nodes: Nodes) -> None:
        self._numbers = numbers
        self._nodes = nodes

    def __len__(self) -> int:
        return len(self._numbers)

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> list[str]: ...
    def __getitem__(self, index: int | slice) -> str | list[str]:
        if isinstance(index, slice):
            return [self._nodes.address(number) for number in self._numbers[index]]
        return self._nodes.address(self._numbers[index])

    def __contains__(self, address: object) -> bool:
        number = self._nodes.number(address) if isinstance(address, str) else None
        return number is not None and number in self._numbers


@dataclass(frozen=True)
class Topology:
    """A network over declared agents. `Topology.of` and `topology_from` make one."""

    kind: str
    roles: tuple[tuple[str, int | None], ...]
    """The roles whose agents are the nodes, with the numbers of their agents (None: one with a bare name)."""
    seed: int = 0
    parameters: tuple[tuple[str, Parameter], ...] = ()
    pairs: bytes = b""
    """The edges that were read from a file: pairs of 32-bit integers."""
    where: str = "topology"
    """The place of the description in an experiment file, for errors."""

    @staticmethod
    def of(kind: str, counts: Counts, seed: int = 0, **parameters: Parameter) -> "Topology":
        """`Topology.of("ring", {"worker": 100}, nearest=4)`, over all the roles given, in their order."""
        return topology_from({**parameters, "kind": kind, "roles": list(counts)}, counts, seed)

    def __post_init__(self) -> None:
        if self.nodes.size == 0:
            raise ConfigurationError(f"{self.where}: its roles have no agents. Give a role that has some.")
        self._shape  # noqa: B018 - checks the parameters; random networks are drawn later

    def __reduce__(self) -> tuple[type["Topology"], tuple[object, ...]]:
        # The description, without what was made of it.
        return Topology, (self.kind, self.roles, self.seed, self.parameters, self.pairs, self.where)

    @cached_property
    def nodes(self) -> Nodes:
        """The members, in order."""
        return Nodes(self.roles)

    def neighbours(self, address: str) -> Sequence[str]:
        """The neighbours of an agent, in the order of the members; none for an agent that is not a member."""
        nodes = self.nodes
        number = nodes.number(address)
        if number is None:
            return ()
        numbers = self._shape.neighbours(number)
        if len(numbers) > _EAGER:
            return _Addresses(numbers, nodes)
        return tuple([nodes.address(other) for other in numbers])

    def edges(self) -> Iterator[tuple[str, str]]:
        """Every edge once, the earlier member first."""
        address = self.nodes.address
        for number in range(self.nodes.size):
            for other in self._shape.neighbours(number):
                if other > number:
                    yield address(number), address(other)

    def graph(self, most_nodes: int = 2_000, most_edges: int = 20_000) -> "networkx.Graph":
        """The network for drawing, nodes by address.

        Of a larger one a sample: the agents around one that is chosen by seed, nearest first, with all edges
        among them. `graph.graph` holds the `nodes` and `edges` of the whole.
        """
        import networkx  # noqa: PLC0415 - 20 MB of memory that cells can do without

        whole = self.nodes.size <= most_nodes and self._shape.edges <= most_edges
        start = (
            0 if whole else int.from_bytes(stream_key(self.seed, "drawing")[:8], "little") % self.nodes.size
        )
        graph = networkx.Graph(nodes=self.nodes.size, edges=self._shape.edges)
        address = self.nodes.address
        for number, met in _snowball(self._shape, start, most_nodes):
            if graph.number_of_edges() + len(met) > most_edges:
                break
            graph.add_node(address(number))
            graph.add_edges_from((address(number), address(other)) for other in met)
        return graph

    def describe(self) -> str:
        """One line: kind, parameters, nodes, edges, mean degree. Draws a random network."""
        told = ", ".join(
            name if value is True else f"{name} {Path(str(value)).name}" for name, value in self.parameters
        )
        edges, size = self._shape.edges, self.nodes.size
        members = ", ".join(map(repr, self.nodes.members))
        kind = f"{self.kind} ({told})" if told else self.kind
        return f"{kind} of {size} agents ({members}): {edges} edges, mean degree {2 * edges / size:.4g}"

    @cached_property
    def _shape(self) -> Shape:
        builder = _BUILDERS.get(self.kind)
        if builder is None:
            raise ConfigurationError(
                f"{self.where}.kind: unknown {self.kind!r}.{nearest(self.kind, _BUILDERS)}"
            )
        reader = Description(dict(self.parameters), self.where)
        shape = builder(self, reader)
        reader.finish()
        return shape

    @property
    def network_seed(self) -> int:
        """The seed for NetworkX."""
        return int.from_bytes(stream_key(self.seed, "topology")[:4], "little")


def topology_from(entry: object, counts: Counts, seed: int = 0, where: str = "topology") -> Topology:
    """The topology that an entry of an experiment file describes. Raises `ConfigurationError`.

    `complete`, or `{kind: small_world, roles: [worker, voter], nearest: 6, rewire: 0.2}`. Without `roles` it
    is over the one role that has a number of agents.
    """
    reader = Description({"kind": entry} if isinstance(entry, str) else entry, where)
    kind = reader.take("kind")
    roles = _roles(reader, counts)
    parameters = {name: value for name, value in reader.values.items() if name not in ("kind", "roles")}
    for name, value in parameters.items():
        if not isinstance(value, int | float | str):
            raise ConfigurationError(
                f"{reader.at(name)}: {value!r} is neither a number, text, true nor false."
            )
    pairs = b""
    if kind == "edges":
        pairs = _read_edges(Path(str(reader.take("file"))), Nodes(roles), reader.at("file"))
    return Topology(
        str(kind), roles, seed, tuple(cast("dict[str, Parameter]", parameters).items()), pairs, where
    )


def _roles(reader: Description, counts: Counts) -> tuple[tuple[str, int | None], ...]:
    where = reader.at("roles")
    if "roles" in reader:
        given = reader.take("roles")
        names = [given] if isinstance(given, str) else given
        if not isinstance(names, list | tuple) or not all(isinstance(name, str) for name in names):
            raise ConfigurationError(f"{where}: {given!r} is not a list of roles. Give [worker].")
    else:
        names = [role for role, count in counts.items() if count is not None]
        if len(names) != 1:
            found = ", ".join(names) or "none"
            raise ConfigurationError(
                f"{where}: missing, and not one role has a count ({found}). Give [worker]."
            )
    for name in names:
        if name not in counts:
            raise ConfigurationError(f"{where}: no role '{name}'.{nearest(name, counts)}")
    if len(set(names)) < len(names):
        raise ConfigurationError(f"{where}: {names} names a role twice. Name each once.")
    return tuple((name, counts[name]) for name in names)


def _snowball(shape: Shape, start: int, most_nodes: int) -> Iterator[tuple[int, list[int]]]:
    """Nodes breadth first from one, each with its neighbours among those before it; then the other pieces."""
    done: dict[int, None] = {}
    for seed in range(start, start + shape.nodes):
        queue = deque([seed % shape.nodes])
        while queue and len(done) < most_nodes:
            node = queue.popleft()
            if node in done:
                continue
            near = shape.neighbours(node)
            # In a complete network there are more neighbours than can be looked at.
            met = (
                [n for n in done if n in near] if isinstance(near, AllBut) else [n for n in near if n in done]
            )
            done[node] = None
            queue.extend(islice(near, most_nodes))
            yield node, met
        if len(done) >= most_nodes:
            return


def _ring(topology: Topology, reader: Description) -> Shape:
    return Ring(topology.nodes.size, _nearest(reader, 2))


def _nearest(reader: Description, default: int) -> int:
    found = reader.whole("nearest", default, least=2)
    if found % 2:
        raise ConfigurationError(
            f"{reader.at('nearest')}: {found} is odd. Give an even number, half on each side."
        )
    return found


def _grid(topology: Topology, reader: Description) -> Shape:
    size = topology.nodes.size
    rows = reader.whole("rows", least=1) if "rows" in reader else None
    columns = reader.whole("columns", least=1) if "columns" in reader else None
    if rows is None and columns is None:
        rows = columns = isqrt(size)
    rows = size // (columns or 1) if rows is None else rows
    columns = size // rows if columns is None and rows else columns
    if not rows or not columns or rows * columns != size:
        raise ConfigurationError(
            f"{reader.where}: {rows} rows of {columns} are not {size} agents. Give rows and columns "
            f"whose product is the number of agents."
        )
    return Grid(rows, columns, reader.flag("periodic", False), reader.flag("diagonal", False))


def _tree(topology: Topology, reader: Description) -> Shape:
    return Tree(topology.nodes.size, reader.whole("branching", 2, least=1))


def _small_world(topology: Topology, reader: Description) -> Shape:
    size, degree = topology.nodes.size, _nearest(reader, 4)
    rewire = reader.number("rewire", 0.1, 0, 1)
    if degree >= size:
        raise ConfigurationError(
            f"{reader.at('nearest')}: {degree} of {size} agents. Give fewer than there are."
        )
    return small_world(size, degree, rewire, topology.network_seed)


def _scale_free(topology: Topology, reader: Description) -> Shape:
    size = topology.nodes.size
    return scale_free(size, reader.whole("attach", min(2, size - 1), 1, size - 1), topology.network_seed)


def _random(topology: Topology, reader: Description) -> Shape:
    size = topology.nodes.size
    if ("probability" in reader) == ("degree" in reader):
        raise ConfigurationError(
            f"{reader.where}: a random network has either probability or degree. Give one."
        )
    if "probability" in reader:
        return random_pairs(size, reader.number("probability", None, 0, 1), topology.network_seed)
    degree = reader.whole("degree", None, 0, size - 1)
    if degree * size % 2:
        raise ConfigurationError(
            f"{reader.at('degree')}: {degree} for each of {size} agents makes an odd sum. Make one even."
        )
    return random_regular(size, degree, topology.network_seed)


def _edges(topology: Topology, reader: Description) -> Shape:
    reader.take("file")
    pairs: Edges = np.frombuffer(topology.pairs, "<i4").reshape(-1, 2).astype(np.int64)
    return Stored(topology.nodes.size, lambda: pairs)


_BUILDERS: Mapping[str, Callable[[Topology, Description], Shape]] = {
    "complete": lambda topology, _: Complete(topology.nodes.size),
    "star": lambda topology, _: Star(topology.nodes.size),
    "ring": _ring,
    "grid": _grid,
    "tree": _tree,
    "small_world": _small_world,
    "scale_free": _scale_free,
    "random": _random,
    "edges": _edges,
}


def _read_edges(path: Path, nodes: Nodes, where: str) -> bytes:
    """The pairs of numbers in a file of edges. Raises `ConfigurationError` naming file and line."""
    numbers = array("q")
    try:
        with path.open(encoding="utf-8-sig") as lines:
            for place, line in enumerate(lines, 1):
                numbers.extend(_edge(line, f"{path}:{place}", nodes, first=not numbers))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(
            f"{where}: cannot read {path}: {error}. Give a text file of edges."
        ) from error
    return np.array(numbers, "<i4").tobytes()


def _edge(line: str, where: str, nodes: Nodes, first: bool) -> tuple[int, ...]:
    """The two ends of an edge; nothing for a blank line, a comment or the heading."""
    text = line.partition("#")[0].strip()
    names = tuple(name.strip().strip('"') for name in (text.split(",") if "," in text else text.split()))
    if not names or (first and tuple(name.lower() for name in names) in _HEADINGS):
        return ()
    match names:
        case (one, other):
            ends = (_end(one, where, nodes), _end(other, where, nodes))
        case _:
            raise ConfigurationError(f"{where}: {len(names)} fields. Give two members, as worker/0,worker/1.")
    if ends[0] == ends[1]:
        raise ConfigurationError(f"{where}: {one} is joined to itself. Remove the line.")
    return ends


def _end(name: str, where: str, nodes: Nodes) -> int:
    plain = name.isascii() and name.isdigit()
    number = int(name) if plain else nodes.number(name)
    if number is None or number >= nodes.size:
        members = ", ".join(map(repr, nodes.members))
        raise ConfigurationError(
            f"{where}: {name!r} is not a member. Give one of {members}, or a number below {nodes.size}."
        )
    return number
