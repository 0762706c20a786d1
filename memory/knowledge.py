"""The knowledge graph: entities, the relations between them, and their attributes, made of facts.

Rules:
* It is a view of facts, made anew from those that a reader may see; it stores nothing and decides nothing.
* An entity is a name, compared by `fact.normal`; it is shown as it was first written. A fact with a literal object is
  an attribute of its subject, any other an edge. Several facts may join the same two.
* Paths and neighbourhoods follow edges both ways, are bounded in length and number, and come in one order: the shortest
  first, then by names.
* networkx is imported only by those who ask for its graph.
"""

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

from memory.errors import InvalidItem
from memory.fact import Fact, normal

HOPS_MAX = 10
PATHS_MAX = 1_000
STEPS_MAX = 200_000
"""Steps that a search for paths takes before it gives what it has."""


@dataclass(frozen=True)
class Entity:
    """A node of the graph."""

    name: str
    """As first written."""
    attributes: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """{relation: values}, the values in the order of their facts."""


@dataclass(frozen=True)
class Path:
    """Facts that lead from one entity to another, each from or to where the last one ended."""

    entities: tuple[str, ...]
    facts: tuple[Fact, ...]


class KnowledgeGraph:
    """Entities and relations."""

    def __init__(self, facts: Iterable[Fact]) -> None:
        self.facts = tuple(sorted(facts, key=lambda fact: fact.id))
        self._names: dict[str, str] = {}
        self._edges: dict[str, list[tuple[str, Fact]]] = {}
        self._attributes: dict[str, dict[str, list[str]]] = {}
        for fact in self.facts:
            subject = self._key(fact.subject)
            if fact.literal:
                values = self._attributes.setdefault(subject, {}).setdefault(fact.relation, [])
                if fact.object not in values:
                    values.append(fact.object)
            else:
                object_ = self._key(fact.object)
                self._edges[subject].append((object_, fact))
                if object_ != subject:
                    self._edges[object_].append((subject, fact))

    def __contains__(self, name: str) -> bool:
        return normal(name) in self._names

    def entities(self) -> list[Entity]:
        """All entities by name."""
        return [self.entity(name) for name in sorted(self._names.values())]

    def entity(self, name: str) -> Entity:
        """The entity of a name. Raises `InvalidItem` if no fact speaks of it."""
        key = self._known(name)
        attributes = self._attributes.get(key, {})
        return Entity(self._names[key], {relation: tuple(values) for relation, values in attributes.items()})

    def relations(self, name: str) -> list[Fact]:
        """The facts that join an entity to others, in the order of their ids."""
        return sorted({fact.id: fact for _, fact in self._edges[self._known(name)]}.values(), key=_id_of)

    def neighbourhood(self, name: str, hops: int = 1) -> "KnowledgeGraph":
        """What lies within some hops of an entity: the facts among the entities found, and their attributes."""
        _check_hops(hops)
        found = set(self._distances(self._known(name), hops))
        return KnowledgeGraph(
            fact
            for fact in self.facts
            if normal(fact.subject) in found and (fact.literal or normal(fact.object) in found)
        )

    def paths(self, start: str, end: str, hops: int = 4, limit: int = 10) -> list[Path]:
        """Up to `limit` ways of at most `hops` facts that visit no entity twice, the shortest first."""
        _check_hops(hops)
        if not 1 <= limit <= PATHS_MAX:
            raise InvalidItem(f"limit is {limit}: give 1 to {PATHS_MAX:,}")
        source, target = self._known(start), self._known(end)
        if source == target:
            return [Path((self._names[source],), ())]
        left = self._distances(target, hops)  # how far each entity is from the end: prunes all dead ends
        found: list[Path] = []
        for length in range(left.get(source, hops + 1), hops + 1):
            for keys, facts in self._walks(source, target, length, left):
                found.append(Path(tuple(self._names[key] for key in keys), facts))
                if len(found) == limit:
                    return found
        return found

    def to_networkx(self) -> Any:
        """A networkx `MultiDiGraph`: nodes have `attributes`; edges `relation`, `id`, `source` and `trust`."""
        graph: Any = import_module("networkx").MultiDiGraph()
        for entity in self.entities():
            graph.add_node(entity.name, attributes=dict(entity.attributes))
        for fact in self.facts:
            if not fact.literal:
                ends = (self._names[normal(fact.subject)], self._names[normal(fact.object)])
                graph.add_edge(
                    *ends,
                    key=fact.id,
                    relation=fact.relation,
                    id=fact.id,
                    source=fact.source,
                    trust=fact.trust,
                )
        return graph

    def layout(self, seed: int = 0) -> dict[str, tuple[float, float]]:
        """Where to draw each entity, in [-1, 1] x [-1, 1]: by springs (Fruchterman and Reingold, 1991), from a seed."""
        places = import_module("networkx").spring_layout(self.to_networkx(), seed=seed) if self._names else {}
        return {name: (float(place[0]), float(place[1])) for name, place in places.items()}

    def _key(self, name: str) -> str:
        key = normal(name)
        self._names.setdefault(key, name)
        self._edges.setdefault(key, [])
        return key

    def _known(self, name: str) -> str:
        key = normal(name)
        if key not in self._names:
            raise InvalidItem(f"no fact that is seen here speaks of {name!r}")
        return key

    def _distances(self, start: str, hops: int) -> dict[str, int]:
        """{entity: hops from the start}, for all within reach."""
        distances = {start: 0}
        waiting = deque([start])
        while waiting:
            at = waiting.popleft()
            if distances[at] == hops:
                continue
            for other, _ in self._edges[at]:
                if other not in distances:
                    distances[other] = distances[at] + 1
                    waiting.append(other)
        return distances

    def _walks(
        self, source: str, target: str, length: int, left: dict[str, int]
    ) -> Iterator[tuple[tuple[str, ...], tuple[Fact, ...]]]:
        """All ways of exactly this length, in the order of names, then ids; depth first on a stack of our own."""
        stack: list[tuple[tuple[str, ...], tuple[Fact, ...]]] = [((source,), ())]
        for _ in range(STEPS_MAX):
            if not stack:
                return
            keys, facts = stack.pop()
            if keys[-1] == target:
                if len(facts) == length:
                    yield keys, facts
                continue
            room = length - len(facts) - 1
            onward = [
                (other, fact)
                for other, fact in self._edges[keys[-1]]
                if other not in keys and left.get(other, HOPS_MAX + 1) <= room
            ]
            for other, fact in sorted(onward, key=lambda step: (step[0], step[1].id), reverse=True):
                stack.append(((*keys, other), (*facts, fact)))


def _id_of(fact: Fact) -> int:
    return fact.id


def _check_hops(hops: int) -> None:
    if not 0 <= hops <= HOPS_MAX:
        raise InvalidItem(f"hops is {hops}: give 0 to {HOPS_MAX}")
