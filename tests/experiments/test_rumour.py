"""The rumour: who tells whom, when it ends, and that it takes the time that theory gives."""

import asyncio
from math import log
from pathlib import Path

import pytest

from actors import Plan, Progress, Role, RunResult, Swarm
from actors.faults import FaultPlan, fault_from
from actors.topology import Topology
from cluster.assembly import plan_of
from cluster.experiment import load_experiment
from experiments.rumour import Person

FILE = Path(__file__).resolve().parents[2] / "experiments" / "rumour.yaml"
PEOPLE = 200


async def told(
    kind: str, *, people: int = PEOPLE, seed: int = 1, loss: float = 0.0, cells: int = 1
) -> RunResult:
    plan = Plan(
        roles={"person": Role(Person, count=people)},
        seed=seed,
        cells=cells,
        topology=Topology.of(kind, {"person": people}, seed),
        faults=FaultPlan((fault_from({"drop": loss}),)),
    )
    async with Swarm.local(plan) as swarm:
        await swarm.send("person/0", "psst")
        return await swarm.run(rounds=400, stop=all_know)


def all_know(progress: Progress) -> bool:
    row = progress.measures.get("knows")
    return row is not None and row.mean == 1.0


def test_among_two_the_other_knows_after_one_round() -> None:
    assert asyncio.run(told("complete", people=2)).results["rounds"] == 1


def test_round_a_ring_it_takes_at_least_half_the_way() -> None:
    assert asyncio.run(told("ring", people=20)).results["rounds"] >= 10


@pytest.mark.parametrize("loss", [0.0, 0.5])
def test_in_a_complete_network_it_takes_the_time_of_theory(loss: float) -> None:
    rounds = [asyncio.run(told("complete", seed=seed, loss=loss)).results["rounds"] for seed in range(5)]
    through = 1 - loss
    expected = log(PEOPLE, 1 + through) + log(PEOPLE) / through
    assert sum(rounds) / 5 == pytest.approx(expected, rel=0.25)


def test_the_number_of_cells_changes_nothing() -> None:
    one, three = (asyncio.run(told("complete", loss=0.5, cells=cells)) for cells in (1, 3))
    assert one.fingerprint == three.fingerprint


def test_the_file_describes_six_arms_of_five_trials_each() -> None:
    experiment = load_experiment(FILE)
    assert len(experiment.trials) == 30
    for trial in experiment.trials:
        plan = plan_of(experiment.of_trial(trial), run_id="rumour", journal=None)
        assert plan.topology is not None
        assert len(plan.topology.neighbours("person/0")) >= 2
