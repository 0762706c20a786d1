"""Networks over bidders."""

import networkx  # type: ignore[import-untyped]  # it has no types of its own
import pytest

from actors import ConfigurationError
from actors.topology import Topology
from coordination.auctions import Network
from tests.coordination.auctions.markets import network


@pytest.mark.parametrize("kind", ["ring", "grid", "tree", "star", "complete", "small_world", "scale_free"])
def test_a_topology_of_agents_is_one(kind: str) -> None:
    topology = Topology.of(kind, {"bidder": 16}, 3)
    found = Network.of(topology)
    assert found.diameter == networkx.diameter(topology.graph())
    assert found.links == 2 * topology.graph().number_of_edges()


@pytest.mark.parametrize("seed", range(5))
def test_distances_are_those_of_networkx(seed: int) -> None:
    found = network(seed, 15)
    graph = networkx.Graph([(one, other) for one, near in enumerate(found.neighbours) for other in near])
    assert found.diameter == networkx.diameter(graph)
    assert Network.of(found.neighbours).neighbours == found.neighbours


def test_lines_and_complete_ones() -> None:
    assert Network.line(4).diameter == 3
    assert Network.line(3).table.tolist() == [[1, 0], [0, 2], [1, 2]]
    assert Network.complete(4).links == 12
    assert Network.line(1).diameter == 1


@pytest.mark.parametrize("given", [[[1], []], [[0]], [[1], [0], []], [[5]]])
def test_one_way_links_and_pieces_are_refused(given: list[list[int]]) -> None:
    with pytest.raises(ConfigurationError, match=r"not mutual|not connected"):
        Network.of(given)
