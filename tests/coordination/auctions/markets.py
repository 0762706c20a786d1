"""Markets for the tests: those of the OR-Library where they lie, and small random ones everywhere."""

from pathlib import Path

import networkx  # type: ignore[import-untyped]  # it has no types of its own
import numpy as np
import pytest

from coordination.auctions import Instance, Network, load_instances

ROOT = Path(__file__).resolve().parents[3]


def orlib_file(name: str) -> Path:
    """A file of the OR-Library beside the repository; the test is skipped where there is none."""
    path = ROOT.parent / "shared" / "data" / "orlib" / name
    if not path.exists():
        pytest.skip(f"{name} is not beside the repository")
    return path


def orlib(name: str) -> list[Instance]:
    return load_instances(orlib_file(name))


def rng_of(seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


def small(seed: int, *, most: int = 12, highest: int = 100) -> Instance:
    """A matching of random size and shape."""
    rng = rng_of(seed)
    shape = rng.integers(1, most, size=2, endpoint=True)
    return Instance(rng.integers(1, highest, size=shape, endpoint=True), name=f"seed {seed}")


def packed(seed: int, bidders: int = 4, tasks: int = 10) -> Instance:
    """A generalised assignment in which about two thirds of the loads fit."""
    rng = rng_of(seed)
    loads = rng.integers(5, 25, size=(bidders, tasks), endpoint=True)
    room = np.full(bidders, int(loads.mean() * tasks / bidders * 2 / 3))
    return Instance(rng.integers(1, 40, size=(bidders, tasks)), loads, room, name=f"seed {seed}")


def network(seed: int, size: int) -> Network:
    """A connected network: a random tree and some more links."""
    rng = rng_of(seed)
    graph = networkx.Graph()
    graph.add_nodes_from(range(size))
    graph.add_edges_from((node, int(rng.integers(node))) for node in range(1, size))
    for _ in range(int(rng.integers(size))):
        one, other = rng.integers(size, size=2).tolist()
        if one != other:
            graph.add_edge(one, other)
    return Network.of(graph)
