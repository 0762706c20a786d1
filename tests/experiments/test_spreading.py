"""The experiment on gossip: all hear, in the rounds that theory gives, and the file says what the document shows."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from actors import ConfigurationError, Plan, Role, RunResult, Swarm
from actors.faults import FaultPlan, fault_from
from cluster.assembly import completed, plan_of
from cluster.experiment import load_experiment
from experiments.spreading import Gossiper

FILE = Path(__file__).resolve().parents[2] / "experiments" / "spreading.yaml"


async def told(members: int, loss: float = 0.0, cells: int = 1) -> RunResult:
    plan = Plan(
        roles={"member": Role(Gossiper, members, {"members": members})},
        seed=1,
        cells=cells,
        faults=FaultPlan((fault_from({"drop": loss}),)),
    )
    async with Swarm.local(plan) as swarm:
        return await swarm.run(rounds=75)


def last(result: RunResult, measure: str) -> float:
    """The mean that was recorded last."""
    return [row.mean for row in result.measures if row.measure == measure][-1]


@pytest.mark.parametrize("loss", [0.0, 0.2])
def test_all_hear_in_logarithmic_time_for_few_transmissions(loss: float) -> None:
    few, many = (asyncio.run(told(members, loss)) for members in (16, 128))
    assert last(few, "knows") == last(many, "knows") == 1.0
    assert last(few, "heard_in") <= last(many, "heard_in") <= 12
    assert last(many, "transmissions") < 2 * last(few, "transmissions")


def test_the_number_of_cells_changes_nothing() -> None:
    one, three = (asyncio.run(told(20, 0.2, cells)) for cells in (1, 3))
    assert one.fingerprint == three.fingerprint


def test_the_file_describes_eight_arms_of_five_trials_and_each_group_knows_its_size() -> None:
    experiment = load_experiment(FILE)
    assert len(experiment.trials) == 40
    for trial in experiment.trials:
        one = completed(experiment.of_trial(trial))
        role = plan_of(one, run_id="spreading", journal=None).roles["member"]
        assert role.count == role.parameters["members"] in (8, 32, 128, 512)


@pytest.mark.parametrize("given", [None, {"members": 0}, {"members": "many"}, {"people": 3}])
def test_an_input_that_is_no_group_is_an_error(given: Any) -> None:
    experiment = load_experiment(FILE)
    with pytest.raises(ConfigurationError, match=r"is no group\. Give members"):
        completed(experiment.model_copy(update={"input": given}))
