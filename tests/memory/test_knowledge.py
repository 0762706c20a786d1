"""The graph of facts: neighbourhoods and paths against networkx's own."""

import random

import networkx as nx
import pytest

from memory.errors import InvalidItem
from memory.fact import Fact
from memory.knowledge import KnowledgeGraph

FACTS = [
    Fact(1, "Ada", "works at", "Harbour Office"),
    Fact(2, "Bo", "works at", "the harbour office"),
    Fact(3, "Bo", "married to", "Mei"),
    Fact(4, "Ada", "age", "36", literal=True),
    Fact(5, "Mei", "likes", "tea"),
]


def test_entities_are_one_however_they_are_written_and_keep_their_first_name() -> None:
    graph = KnowledgeGraph(FACTS)
    assert [entity.name for entity in graph.entities()] == ["Ada", "Bo", "Harbour Office", "Mei", "tea"]
    assert graph.entity("ada").attributes == {"age": ("36",)}
    assert "HARBOUR office" in graph
    assert [fact.id for fact in graph.relations("Harbour Office")] == [1, 2]


def test_a_neighbourhood_ends_where_it_should() -> None:
    graph = KnowledgeGraph(FACTS)
    assert [fact.id for fact in graph.neighbourhood("Ada").facts] == [1, 4]
    assert [fact.id for fact in graph.neighbourhood("Ada", 2).facts] == [1, 2, 4]
    assert graph.neighbourhood("Ada", 0).entities()[0].name == "Ada"


def test_a_path_tells_the_facts_on_its_way() -> None:
    (path,) = KnowledgeGraph(FACTS).paths("Ada", "Mei")
    assert path.entities == ("Ada", "Harbour Office", "Bo", "Mei")
    assert [fact.id for fact in path.facts] == [1, 2, 3]
    assert KnowledgeGraph(FACTS).paths("Ada", "Mei", hops=2) == []
    assert KnowledgeGraph(FACTS).paths("Ada", "ada")[0].facts == ()


def test_paths_are_all_simple_paths_the_shortest_first() -> None:
    rng = random.Random(13)
    for trial in range(30):
        facts = [
            Fact(number, f"e{rng.randrange(7)}", "knows", f"e{rng.randrange(7)}")
            for number in range(rng.randrange(1, 14))
        ]
        graph = KnowledgeGraph(facts)
        start, end = facts[0].subject, facts[-1].object
        found = graph.paths(start, end, hops=4, limit=1_000)
        plain = nx.MultiGraph((fact.subject, fact.object, fact.id) for fact in facts)
        expected = (
            {()} if start == end
            else {tuple(edge[2] for edge in path) for path in nx.all_simple_edge_paths(plain, start, end, cutoff=4)}
        )  # fmt: skip
        assert {tuple(fact.id for fact in path.facts) for path in found} == expected, trial
        assert [len(path.facts) for path in found] == sorted(len(path.facts) for path in found)
        assert len(found) == len(expected)
        assert found[:2] == graph.paths(start, end, hops=4, limit=2)


def test_networkx_gets_the_same_graph_and_its_layout_is_repeatable() -> None:
    graph = KnowledgeGraph(FACTS)
    made = graph.to_networkx()
    assert sorted(made.edges(data="relation")) == [
        ("Ada", "Harbour Office", "works at"),
        ("Bo", "Harbour Office", "works at"),
        ("Bo", "Mei", "married to"),
        ("Mei", "tea", "likes"),
    ]
    places = graph.layout(seed=3)
    assert places == graph.layout(seed=3)
    assert set(places) == set(made)
    assert all(-1.001 <= x <= 1.001 for place in places.values() for x in place)
    assert KnowledgeGraph([]).layout() == {}


def test_what_is_not_there_or_not_bounded_is_refused() -> None:
    graph = KnowledgeGraph(FACTS)
    with pytest.raises(InvalidItem, match="no fact that is seen here speaks of 'Zoe'"):
        graph.entity("Zoe")
    with pytest.raises(InvalidItem, match="hops is 11"):
        graph.paths("Ada", "Mei", hops=11)
    with pytest.raises(InvalidItem, match="limit is 0"):
        graph.paths("Ada", "Mei", limit=0)
