"""The benchmark of the memory, small: every figure is there, and what must be exact is."""

import pytest

from benchmarks.memory import app
from tests.benchmarks.runs import figures_of


def test_scoped_searches_are_exact_and_all_figures_are_told() -> None:
    figures = figures_of(app, "--items", "2000", "--no-ray", "--no-peers")
    assert figures["scoped_recall"] == 1
    assert figures["recall_at_10"] >= 0.98
    assert {
        "scoped_query_p50_ms",
        "durable_add_p50_ms",
        "durable_delete_p50_ms",
        "memories_per_second",
        "recovery_s_per_100k",
        "large_gb",
    } <= figures.keys()


@pytest.mark.ray
@pytest.mark.slow
def test_batches_over_ray_are_faster_than_single_calls() -> None:
    figures = figures_of(app, "--items", "1000", "--no-peers")
    assert figures["batching_ratio"] > 1
