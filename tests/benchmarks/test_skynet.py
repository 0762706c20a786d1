"""The benchmark of the tree whose sum comes back."""

import pytest

from benchmarks.skynet import app
from tests.benchmarks.runs import figures_of


@pytest.mark.parametrize("cells", ["1", "3"])
def test_the_sum_of_the_leaves_comes_back(cells: str) -> None:
    figures = figures_of(app, "--levels", "3", "--on", "local", "--cells", cells)
    assert figures["leaves"] == 1000
    assert figures["agents"] == 1111
    assert figures["sum"] == 499_500
