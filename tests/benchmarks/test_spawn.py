"""The benchmark of agents made, each answering once."""

import pytest

from benchmarks.spawn import app
from tests.benchmarks.runs import figures_of


def test_every_agent_answers_once_in_this_process() -> None:
    figures = figures_of(app, "--agents", "2000", "--on", "local")
    assert figures["agents"] == 2000
    assert {"seconds", "bytes_per_agent"} <= figures.keys()


@pytest.mark.ray
def test_every_agent_answers_once_on_ray() -> None:
    figures = figures_of(app, "--agents", "2000")
    assert figures["agents"] == 2000
