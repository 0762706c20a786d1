"""The benchmark of routing: its figures, its target, and that the same seed gives the same."""

from benchmarks.replica_simulation import POLICIES
from benchmarks.routing import app
from tests.benchmarks.runs import figures_of


def test_sticky_routing_has_twice_the_hits_of_round_robin_where_caches_are_tight() -> None:
    figures = figures_of(app)
    for caches in ("tight", "ample"):
        for policy in POLICIES:
            assert 0 < figures[f"{caches}_{policy}_hit_rate"] < 1
            assert figures[f"{caches}_{policy}_requests_per_second"] > 0
            assert figures[f"{caches}_{policy}_p99_s"] > 0
    assert figures["tight_hit_ratio_to_round_robin"] >= 2
    assert figures["ample_hit_ratio_to_round_robin"] >= 1


def test_the_same_seed_gives_the_same_figures_and_another_does_not() -> None:
    small = ["--personas", "50", "--requests", "500", "--held", "10"]
    first = figures_of(app, *small)
    assert first == figures_of(app, *small)
    assert first != figures_of(app, *small, "--seed", "1")


def test_one_replica_needs_no_routing() -> None:
    figures = figures_of(app, "--personas", "50", "--requests", "500", "--held", "10", "--replicas", "1")
    assert figures["tight_hit_ratio_to_round_robin"] == 1
