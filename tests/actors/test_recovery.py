"""Cells die at any moment and come back: nothing is lost, nothing is handled twice, and `rounds` ends the same."""

import asyncio
import os
import random
import signal
from pathlib import Path
from typing import Any

import pytest

from actors import CellLost, ConfigurationError, JournalSettings, Limits, Plan, Role, RunResult, Swarm
from actors.faults import CellCrash, FaultPlan
from tests.actors import cast
from tests.actors.ray_here import RAY_OPTIONS

ROLES = {"gossip": Role(cast.Gossip, count=40, parameters={"peers": 40, "hops": 6}), "echo": Role(cast.Echo)}


def gossip_plan(journal: Path | None, **settings: Any) -> Plan:
    where = (
        None
        if journal is None
        else JournalSettings(journal, checkpoint_every=settings.pop("checkpoint_every", 4))
    )
    return Plan(**{"roles": ROLES, "seed": 3, "cells": 2, "journal": where, "run_id": "recovery"} | settings)


async def whole_run(plan: Plan) -> RunResult:
    async with Swarm.local(plan) as swarm:
        await swarm.broadcast("gossip", "go")
        return await swarm.run()


def what_counts(result: RunResult) -> tuple[Any, ...]:
    return result.fingerprint, result.messages, result.measures, result.traffic, result.now


@pytest.mark.parametrize("checkpoint_every", [None, 1, 4])
@pytest.mark.parametrize("stops", [[1], [3], [2, 5, 6, 11]])
def test_a_run_that_is_broken_off_goes_on_from_its_journal(
    tmp_path: Path, stops: list[int], checkpoint_every: int | None
) -> None:
    async def broken_run() -> RunResult:
        plan = gossip_plan(tmp_path, checkpoint_every=checkpoint_every)
        swarm = Swarm.local(plan)
        await swarm.start()
        await swarm.broadcast("gossip", "go")
        for stop in stops:
            await swarm.run(rounds=stop - int(swarm.now))
            await swarm.stop(in_good_order=False)
            swarm = Swarm.local(plan)
            await swarm.start()
        result = await swarm.run()
        await swarm.stop()
        return result

    expected = asyncio.run(whole_run(gossip_plan(None)))
    assert what_counts(asyncio.run(broken_run())) == what_counts(expected)


def test_a_journal_does_not_change_what_a_run_does(tmp_path: Path) -> None:
    expected = asyncio.run(whole_run(gossip_plan(None)))
    assert what_counts(asyncio.run(whole_run(gossip_plan(tmp_path)))) == what_counts(expected)


def test_a_finished_run_opened_again_has_its_result(tmp_path: Path) -> None:
    async def again() -> RunResult:
        async with Swarm.local(gossip_plan(tmp_path)) as swarm:
            return await swarm.run()

    first = asyncio.run(whole_run(gossip_plan(tmp_path)))
    assert what_counts(asyncio.run(again())) == what_counts(first)


def test_a_journal_of_another_layout_is_refused(tmp_path: Path) -> None:
    asyncio.run(whole_run(gossip_plan(tmp_path)))
    with pytest.raises(ConfigurationError, match="packed: 2 before, 3 now"):
        asyncio.run(whole_run(gossip_plan(tmp_path, cells=3)))


def test_idle_agents_are_put_to_rest_and_wake_as_they_were(tmp_path: Path) -> None:
    expected = asyncio.run(whole_run(gossip_plan(None)))
    for journal in (None, tmp_path):
        few = asyncio.run(whole_run(gossip_plan(journal, limits=Limits(resident_agents=5))))
        assert what_counts(few) == what_counts(expected)


@pytest.mark.parametrize("where", ["local", pytest.param("ray", marks=pytest.mark.ray)])
def test_an_experiment_kills_cells_and_agents_do_not_notice(tmp_path: Path, where: str) -> None:
    async def run() -> RunResult:
        crashes = FaultPlan(rules=(CellCrash(0, 3), CellCrash(1, 5), CellCrash(0, 5)))
        plan = gossip_plan(tmp_path, faults=crashes, run_id=f"crashes-{where}")
        async with (
            Swarm.local(plan) if where == "local" else Swarm.on_ray(plan, "local", **RAY_OPTIONS) as swarm
        ):
            await swarm.broadcast("gossip", "go")
            return await swarm.run()

    result = asyncio.run(run())
    assert [recovery["cell"] for recovery in result.recoveries].count(0) == 2
    assert [recovery["cell"] for recovery in result.recoveries].count(1) == 1
    assert what_counts(result) == what_counts(asyncio.run(whole_run(gossip_plan(None))))


def test_a_cell_that_is_to_crash_needs_a_journal() -> None:
    with pytest.raises(ConfigurationError, match="must come back from a journal"):
        Swarm.local(gossip_plan(None, faults=FaultPlan(rules=(CellCrash(0, 3),))))


@pytest.mark.ray
@pytest.mark.parametrize("schedule", ["rounds", "free"])
def test_cells_killed_on_ray_come_back_with_nothing_lost_or_doubled(tmp_path: Path, schedule: str) -> None:
    async def killed_run() -> tuple[RunResult, list[Any]]:
        roles = {
            "sender": Role(cast.Sender, count=8),
            "counter": Role(cast.Counter),
            **ROLES,
        }
        plan = Plan(roles, 3, schedule, 2, "killed", journal=JournalSettings(tmp_path, checkpoint_every=2))
        random_ = random.Random(1)
        async with Swarm.on_ray(plan, "local", **RAY_OPTIONS) as swarm:
            processes = [await swarm.runtime.call(cell, "process_id") for cell in range(2)]
            work = asyncio.ensure_future(drive(swarm))
            for cell in (1, 0, 1):
                await asyncio.sleep(0.2 + 0.3 * random_.random())
                os.kill(processes[cell], signal.SIGKILL)
                processes[cell] = await new_process(swarm, cell, processes[cell])
            result = await work
            total = (await swarm.ask("counter", "total")).data
        return result, total

    async def drive(swarm: Swarm) -> RunResult:
        for number in range(8):
            await swarm.send(f"sender/{number}", ["counter", 20_000])
        await swarm.broadcast("gossip", "go")
        return await swarm.run()

    async def new_process(swarm: Swarm, cell: int, old: int) -> int:
        while True:
            try:
                process = await swarm.runtime.call(cell, "process_id")
            except CellLost:
                await asyncio.sleep(0.05)
                continue
            if process != old:
                return process
            await asyncio.sleep(0.05)

    result, total = asyncio.run(killed_run())
    assert total == [160_000, 8 * sum(range(20_000)), 0]
    assert len(result.recoveries) >= 1
    if schedule == "rounds":

        async def unharmed() -> RunResult:
            roles = {"sender": Role(cast.Sender, count=8), "counter": Role(cast.Counter), **ROLES}
            async with Swarm.local(Plan(roles, 3, "rounds", 2)) as swarm:
                return await drive(swarm)

        assert result.fingerprint == asyncio.run(unharmed()).fingerprint


@pytest.mark.ray
def test_a_cell_without_a_journal_that_dies_ends_the_run_and_says_how_to_mend_it() -> None:
    async def run() -> None:
        plan = Plan({"echo": Role(cast.Echo)}, cells=1, run_id="fatal")
        async with Swarm.on_ray(plan, "local", **RAY_OPTIONS) as swarm:
            os.kill(await swarm.runtime.call(0, "process_id"), signal.SIGKILL)
            await swarm.ask("echo", 1)

    with pytest.raises(CellLost, match="journal=JournalSettings"):
        asyncio.run(run())
