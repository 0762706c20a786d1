"""Topologies: the networks of NetworkX, the same in every process, with addresses for nodes."""

import pickle
import subprocess
import sys
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import networkx as nx
import pytest

from actors.errors import ConfigurationError
from actors.shape import AllBut
from actors.topology import Topology, topology_from

REPOSITORY = Path(__file__).parents[2]


def numbered(graph: "nx.Graph", number: Callable[[Any], int] = int) -> set[tuple[int, int]]:
    return {(min(pair), max(pair)) for pair in ((number(a), number(b)) for a, b in graph.edges() if a != b)}


def edges(topology: Topology) -> set[tuple[int, int]]:
    return {(int(a.partition("/")[2]), int(b.partition("/")[2])) for a, b in topology.edges()}


def workers(kind: str, count: int, seed: int = 1, **parameters: float) -> Topology:
    return Topology.of(kind, {"worker": count}, seed, **parameters)


SYMMETRIC = [
    workers("complete", 7),
    workers("star", 9),
    workers("ring", 10, nearest=4),
    workers("ring", 3, nearest=6),
    workers("grid", 12, rows=3),
    workers("grid", 12, columns=3, periodic=True, diagonal=True),
    workers("tree", 20, branching=3),
    workers("small_world", 30, nearest=4, rewire=0.3),
    workers("scale_free", 30, attach=3),
    workers("random", 30, probability=0.2),
    workers("random", 30, degree=3),
]


@pytest.mark.parametrize("topology", SYMMETRIC, ids=lambda topology: topology.describe())
def test_neighbourhood_is_mutual_ordered_and_counted(topology: Topology) -> None:
    members = [f"worker/{n}" for n in range(topology.nodes.size)]
    total = 0
    for member in members:
        near = topology.neighbours(member)
        total += len(near)
        assert list(near) == sorted(set(near) - {member}, key=members.index)
        assert all(member in topology.neighbours(other) for other in near)
    found = list(topology.edges())
    assert len(found) == len(set(found)) == total // 2
    assert f": {len(found)} edges, mean degree" in topology.describe()


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 8, 9])
@pytest.mark.parametrize("nearest", [2, 4])
def test_a_ring_is_the_lattice_of_watts_and_strogatz(count: int, nearest: int) -> None:
    around = range(-(nearest // 2), nearest // 2 + 1)
    expected = nx.Graph((n, (n + step) % count) for n in range(count) for step in around)
    assert edges(workers("ring", count, nearest=nearest)) == numbered(expected)
    if nearest < count:
        lattice = nx.watts_strogatz_graph(count, nearest, 0)
        assert edges(workers("ring", count, nearest=nearest)) == numbered(lattice)


@pytest.mark.parametrize(("rows", "columns"), [(1, 1), (1, 5), (2, 2), (3, 4), (4, 3), (2, 5)])
@pytest.mark.parametrize("periodic", [False, True])
@pytest.mark.parametrize("diagonal", [False, True])
def test_a_grid_is_that_of_networkx(rows: int, columns: int, periodic: bool, diagonal: bool) -> None:
    line = nx.cycle_graph if periodic else nx.path_graph
    product = nx.strong_product if diagonal else nx.cartesian_product
    expected = product(line(rows), line(columns))
    topology = workers("grid", rows * columns, rows=rows, periodic=periodic, diagonal=diagonal)
    assert edges(topology) == numbered(expected, lambda cell: cell[0] * columns + cell[1])
    assert f": {len(edges(topology))} edges" in topology.describe()
    if not diagonal:
        plain = nx.grid_2d_graph(rows, columns, periodic=periodic)
        assert edges(topology) == numbered(plain, lambda cell: cell[0] * columns + cell[1])


@pytest.mark.parametrize("branching", [1, 2, 3])
@pytest.mark.parametrize("count", [1, 2, 7, 20])
def test_a_tree_is_that_of_networkx(count: int, branching: int) -> None:
    assert edges(workers("tree", count, branching=branching)) == numbered(nx.full_rary_tree(branching, count))


def test_a_star_has_the_first_member_for_its_hub_and_a_complete_network_everybody() -> None:
    assert edges(workers("star", 6)) == numbered(nx.star_graph(5))
    assert edges(workers("complete", 6)) == numbered(nx.complete_graph(6))


def test_random_networks_are_those_of_networkx() -> None:
    small = workers("small_world", 50, nearest=6, rewire=0.2)
    seed = small.network_seed
    assert edges(small) == numbered(nx.watts_strogatz_graph(50, 6, 0.2, seed))
    assert edges(workers("scale_free", 50, attach=3)) == numbered(nx.barabasi_albert_graph(50, 3, seed))
    assert edges(workers("random", 50, probability=0.1)) == numbered(nx.fast_gnp_random_graph(50, 0.1, seed))
    assert edges(workers("random", 50, degree=4)) == numbered(nx.random_regular_graph(4, 50, seed))


def test_another_seed_draws_another_network() -> None:
    assert edges(workers("small_world", 50, seed=1)) != edges(workers("small_world", 50, seed=2))


def test_a_network_is_the_same_in_another_process_from_a_small_description() -> None:
    topology = workers("scale_free", 5_000, attach=3)
    near = [list(topology.neighbours(f"worker/{n}")) for n in range(0, 5_000, 501)]
    description = pickle.dumps(topology)
    assert len(description) < 300
    program = (
        "import pickle, sys; t = pickle.loads(bytes.fromhex(sys.argv[1])); "
        "print([list(t.neighbours(f'worker/{n}')) for n in range(0, 5_000, 501)])"
    )
    command = [sys.executable, "-c", program, description.hex()]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == str(near)


@pytest.mark.parametrize("kind", ["ring", "grid", "tree", "star", "complete"])
def test_a_million_agents_in_a_regular_shape_take_no_memory(kind: str) -> None:
    tracemalloc.start()
    topology = workers(kind, 1_000_000)
    for number in range(0, 1_000_000, 99_991):
        near = topology.neighbours(f"worker/{number}")
        assert near[0] == topology.neighbours(f"worker/{number}")[0]
        assert f"worker/{number}" in topology.neighbours(near[-1])
    assert "1000000 agents" in topology.describe()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 200_000


def test_members_of_several_roles_are_in_the_order_given() -> None:
    topology = topology_from(
        {"kind": "ring", "roles": ["boss", "worker", "voter"]},
        {"worker": 2, "voter": 2, "boss": None, "idle": 3},
    )
    assert topology.neighbours("boss") == ("worker/0", "voter/1")
    assert topology.neighbours("worker/1") == ("worker/0", "voter/0")
    assert topology.neighbours("voter/1") == ("boss", "voter/0")


@pytest.mark.parametrize(
    "address", ["worker/4", "worker/01", "worker", "worker/", "worker/x", "boss", "@out", "worker/²"]
)
def test_an_agent_that_is_no_member_has_no_neighbours(address: str) -> None:
    topology = topology_from({"kind": "complete", "roles": "worker"}, {"worker": 4, "boss": None})
    assert topology.neighbours(address) == ()


def test_many_neighbours_are_a_view_with_the_manners_of_a_list() -> None:
    near = workers("complete", 1_000).neighbours("worker/500")
    assert len(near) == 999
    assert (near[0], near[499], near[500], near[-1]) == ("worker/0", "worker/499", "worker/501", "worker/999")
    assert near[498:502] == ["worker/498", "worker/499", "worker/501", "worker/502"]
    assert "worker/500" not in near
    assert "worker/7" in near
    assert "boss" not in near
    with pytest.raises(IndexError):
        near[999]


def test_all_but_one_are_all_but_one() -> None:
    for left_out in range(5):
        assert list(AllBut(5, left_out)) == [n for n in range(5) if n != left_out]
        assert AllBut(5, left_out)[1:3] == [n for n in range(5) if n != left_out][1:3]


def test_the_only_numbered_role_needs_no_name() -> None:
    assert topology_from("ring", {"worker": 3, "boss": None}).neighbours("worker/0") == (
        "worker/1",
        "worker/2",
    )


@pytest.mark.parametrize("topology", SYMMETRIC, ids=lambda topology: topology.kind)
def test_a_small_network_is_drawn_whole(topology: Topology) -> None:
    graph = topology.graph()
    assert set(graph) == {f"worker/{n}" for n in range(topology.nodes.size)}
    assert numbered(graph, lambda address: int(address.partition("/")[2])) == edges(topology)


@pytest.mark.parametrize("kind", ["ring", "grid", "tree", "star", "complete"])
def test_of_a_large_network_a_connected_sample_is_drawn(kind: str) -> None:
    topology = workers(kind, 10_000)
    graph = topology.graph(most_nodes=100, most_edges=500)
    assert 10 < graph.number_of_nodes() <= 100
    assert graph.number_of_edges() <= 500
    assert nx.is_connected(graph)
    assert graph.graph["nodes"] == 10_000
    assert all(b in topology.neighbours(a) for a, b in graph.edges())
    assert set(graph) == set(topology.graph(most_nodes=100, most_edges=500))


def test_a_network_of_pieces_is_drawn_with_all_of_them() -> None:
    assert len(workers("random", 20, probability=0.0).graph()) == 20


def test_a_network_says_what_it_is_in_one_line() -> None:
    assert workers("ring", 10).describe() == "ring of 10 agents (worker/0..9): 10 edges, mean degree 2"
    small = workers("small_world", 30, nearest=6, rewire=0.25)
    assert small.describe() == (
        "small_world (nearest 6, rewire 0.25) of 30 agents (worker/0..29): 90 edges, mean degree 6"
    )


COUNTS = {"worker": 4, "boss": None}


def read(path: Path, text: str) -> Topology:
    path.write_text(text, encoding="utf-8")
    return topology_from({"kind": "edges", "file": str(path), "roles": ["worker", "boss"]}, COUNTS)


@pytest.mark.parametrize(
    "text",
    [
        "worker/0,worker/1\nworker/1,boss\n",
        "\ufeffSource, Target\nworker/0, worker/1\nworker/1, boss\n",
        "# a comment\n\n0 1\n4\t1 # the boss\n1 0\n",
        '"worker/0","worker/1"\n"boss","worker/1"',
    ],
)
def test_edges_are_read_from_a_file_by_address_or_number(tmp_path: Path, text: str) -> None:
    topology = read(tmp_path / "edges.csv", text)
    assert list(topology.edges()) == [("worker/0", "worker/1"), ("worker/1", "boss")]
    assert topology.neighbours("worker/3") == ()
    assert topology.describe().startswith("edges (file edges.csv) of 5 agents (worker/0..3, boss): 2 edges")


def test_edges_travel_without_their_file(tmp_path: Path) -> None:
    topology = read(tmp_path / "edges.csv", "0 1\n1 2\n")
    data = pickle.dumps(topology)
    (tmp_path / "edges.csv").unlink()
    assert list(pickle.loads(data).edges()) == list(topology.edges())  # noqa: S301 - our own bytes


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            "0 1\n0 9\n",
            r"edges.csv:2: '9' is not a member. Give one of worker/0..3, boss, or a number below 5",
        ),
        ("0 1\n\nworker/0,wroker/1\n", r"edges.csv:3: 'wroker/1' is not a member"),
        ("0 1 0.5\n", r"edges.csv:1: 3 fields. Give two members"),
        ("0\n", r"edges.csv:1: 1 fields"),
        ("2 2\n", r"edges.csv:1: 2 is joined to itself"),
        ("0 1\nsource target\n", r"edges.csv:2: 'source' is not a member"),
    ],
)
def test_a_wrong_line_is_named_by_file_and_number(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        read(tmp_path / "edges.csv", text)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"topology.file: cannot read .*none.csv"):
        topology_from({"kind": "edges", "file": str(tmp_path / "none.csv"), "roles": "worker"}, COUNTS)
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigurationError, match=r"topology.file: cannot read .*binary"):
        topology_from({"kind": "edges", "file": str(tmp_path / "binary"), "roles": "worker"}, COUNTS)


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ("rign", r"topology.kind: unknown 'rign'. Did you mean 'ring'"),
        ({"roles": "worker"}, r"topology.kind: missing"),
        (3, r"topology: 3 is not a dictionary"),
        ({"kind": "ring", "nearst": 2}, r"topology.nearst: unknown key. Did you mean 'nearest'"),
        ({"kind": "ring", "nearest": 3}, r"topology.nearest: 3 is odd"),
        ({"kind": "ring", "nearest": [2]}, r"topology.nearest: \[2\] is neither a number"),
        ({"kind": "grid", "rows": 5}, r"topology: 5 rows of 4 are not 24 agents"),
        ({"kind": "grid", "columns": 50}, r"topology: 0 rows of 50 are not 24 agents"),
        ({"kind": "grid"}, r"topology: 4 rows of 4 are not 24 agents. Give rows and columns"),
        ({"kind": "grid", "rows": 4, "periodic": 1}, r"topology.periodic: 1 is neither true nor false"),
        ({"kind": "tree", "branching": 0}, r"topology.branching: 0 is not a whole number of 1 or more"),
        ({"kind": "small_world", "nearest": 24}, r"topology.nearest: 24 of 24 agents"),
        ({"kind": "small_world", "rewire": 1.5}, r"topology.rewire: 1.5 is not a number from 0 to 1"),
        ({"kind": "scale_free", "attach": 24}, r"topology.attach: 24 is not a whole number from 1 to 23"),
        ({"kind": "random"}, r"topology: a random network has either probability or degree"),
        ({"kind": "random", "degree": 2, "probability": 0.1}, r"topology: a random network has either"),
        ({"kind": "random", "degree": 24}, r"topology.degree: 24 is not a whole number from 0 to 23"),
        ({"kind": "edges"}, r"topology.file: missing"),
        ({"kind": "ring", "roles": "wroker"}, r"topology.roles: no role 'wroker'. Did you mean 'worker'"),
        ({"kind": "ring", "roles": 3}, r"topology.roles: 3 is not a list of roles"),
        ({"kind": "ring", "roles": ["worker", "worker"]}, r"topology.roles: .* names a role twice"),
        ({"kind": "ring", "roles": []}, r"topology: its roles have no agents"),
    ],
)
def test_a_wrong_entry_is_named_with_place_value_and_mend(entry: object, words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        topology_from(entry, {"worker": 24, "boss": None})


def test_roles_must_be_named_where_several_have_numbers() -> None:
    with pytest.raises(ConfigurationError, match=r"topology.roles: missing, .*\(worker, voter\)"):
        topology_from("ring", {"worker": 3, "voter": 3})


def test_a_regular_network_of_an_odd_sum_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"topology.degree: 3 for each of 5 agents makes an odd sum"):
        workers("random", 5, degree=3)
