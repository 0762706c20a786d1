"""The benchmark that kills a cell."""

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from actors import Swarm
from benchmarks.recovery import START, app, carrying_plan
from tests.benchmarks.runs import figures_of


def test_every_agent_takes_one_message_for_each_hop(tmp_path: Path) -> None:
    async def trial() -> tuple[int, list[int]]:
        async with Swarm.local(
            replace(carrying_plan(agents=20, hops=60, journal=tmp_path), journal=None)
        ) as swarm:
            await swarm.broadcast("carrier", START)
            messages = (await swarm.run(timeout_s=60)).messages
            wrong = []
            for question in ("lost", "doubled"):
                await swarm.broadcast("carrier", question)
                wrong.append((await swarm.ask(question, 40)).data["sum"])
            return messages, wrong

    assert asyncio.run(trial()) == (40 + 40 * 6 - 4, [0, 0])


@pytest.mark.ray
@pytest.mark.slow
def test_a_killed_cell_comes_back_and_nothing_is_lost() -> None:
    figures = figures_of(app, "--agents", "500", "--hops", "400")
    assert figures["agents"] == 500
    assert figures["lost"] == 0
    assert figures["doubled"] == 0
    assert {"seconds_to_service", "entries_played"} <= figures.keys()


def test_numbers_that_would_make_agents_differ_are_refused() -> None:
    done = CliRunner().invoke(app, ["--agents", "500", "--hops", "30"])
    assert done.exit_code == 2
    assert "multiple of 20" in done.output
