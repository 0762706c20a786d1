"""The benchmark of messages between two cells."""

import asyncio

import pytest
from typer.testing import CliRunner

from actors import Swarm
from benchmarks.messaging import app, passed_per_second, passing_plan
from tests.benchmarks.runs import figures_of


def test_every_second_message_crosses() -> None:
    swarm = Swarm.local(passing_plan(agents=40, run_id="messaging"))
    rate, share = asyncio.run(passed_per_second(swarm, warm_up_s=0.05, seconds=0.2))
    assert rate > 0
    assert share == pytest.approx(0.5, abs=0.05)


def test_an_odd_ring_is_refused_since_it_would_not_alternate() -> None:
    done = CliRunner().invoke(app, ["--agents", "5"])
    assert done.exit_code == 2
    assert "multiple of 2" in done.output


@pytest.mark.ray
@pytest.mark.slow
def test_it_is_compared_with_rays_own_calls_without_and_with_the_journal() -> None:
    figures = figures_of(
        app, "--agents", "100", "--seconds", "0.4", "--warm-up", "0.1", "--repeats", "1", "--peers"
    )
    assert {
        "messages_per_second",
        "ray_calls_per_second",
        "ratio_to_ray_calls",
        "ratio_with_journal",
    } <= figures.keys()
