"""The experiments on markets: their files hold, and they show what they are for."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from actors import ConfigurationError, Swarm
from cluster.assembly import completed, plan_of
from cluster.experiment import Experiment, load_experiment

FOLDER = Path(__file__).resolve().parents[2] / "experiments" / "auctions"
FILES = sorted(FOLDER.glob("*.yaml"))


def found(file: str, **settings: Any) -> dict[str, Any]:
    """The results of the first trial under some settings; `__` stands for a dot."""
    experiment = load_experiment(FOLDER / file)
    trial = experiment.trials[0]
    changed = experiment.of_trial(trial).having({path.replace("__", "."): v for path, v in settings.items()})

    async def run() -> dict[str, Any]:
        async with Swarm.local(plan_of(completed(changed), run_id="auctions", journal=None)) as swarm:
            result = await swarm.run(rounds=3000)
            assert result.failures == [] or not result.failures
            return result.results

    return asyncio.run(run())


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_every_arm_of_a_file_is_a_swarm(file: Path) -> None:
    experiment = load_experiment(file)
    assert len(experiment.trials) >= 50
    for trial in experiment.trials[:: experiment.repeats]:
        plan_of(completed(experiment.of_trial(trial)), run_id="auctions", journal=None)


@pytest.mark.parametrize("allocation", ["contract-net", "cbba", "epsilon"])
def test_mechanisms_get_the_same_work_done(allocation: str) -> None:
    results = found("mechanisms.yaml", allocation=allocation, faults=[{"drop": 0.1}])
    assert results["completed"] == 60
    assert results["delivered_mean"] > 75


def test_replicates_have_gains_of_their_own() -> None:
    values = [found("foraging.yaml", seed=seed)["delivered"] for seed in (1, 2)]
    assert values[0] != values[1]


def test_without_a_coordinator_they_agree_near_the_optimum() -> None:
    results = found(
        "decentralisation.yaml", input={"bidders": 8, "tasks": 10, "seats": 2}, swarm__topology="ring"
    )
    assert results["claimed_twice"] == 0
    assert 0 <= results["gap"] < 0.5


def test_a_reputation_saves_awards_from_liars_unless_they_change_their_names() -> None:
    liars = {"swarm__roles__liar__count": 8}
    blind = found("reputation.yaml", allocation="vickrey", **liars)
    learning = found("reputation.yaml", allocation="scoring", **liars)
    renamed = {**liars, "swarm__roles__liar__parameters__behaviour": "false-name"}
    fooled = found("reputation.yaml", allocation="scoring", **renamed)
    assert learning["reauctioned"] < fooled["reauctioned"] < blind["reauctioned"]
    assert learning["completed"] >= blind["completed"]


def test_a_market_is_worth_more_than_foraging() -> None:
    foraged, sold = (found("foraging.yaml", allocation=how) for how in ("foraging", "contract-net"))
    assert foraged["completed"] == sold["completed"] == 24
    assert sold["delivered"] > 1.15 * foraged["delivered"]


def test_a_wrong_allocation_or_input_is_told_before_anything_runs() -> None:
    with pytest.raises(ConfigurationError, match=r"there is no 'vikrey'"):
        completed(load_experiment(FOLDER / "foraging.yaml", ["allocation=vikrey"]))
    with pytest.raises(ConfigurationError, match="does not say how many"):
        completed(load_experiment(FOLDER / "decentralisation.yaml", ["input=7"]))


def test_an_allocation_that_nothing_reads_is_told() -> None:
    file = FOLDER.parent / "rumour.yaml"
    with pytest.raises(ConfigurationError, match=r"allocation: nothing reads it: name a 'setup'"):
        load_experiment(file, ["allocation=vickrey"])
    with pytest.raises(ConfigurationError, match=r"consensus: nothing reads it"):
        load_experiment(file, ["consensus.protocol=raft"])


def test_what_setup_reads_is_part_of_the_hash() -> None:
    file = FOLDER / "foraging.yaml"
    one, other = (load_experiment(file, [f"allocation={name}"]) for name in ("cbba", "vcg"))
    assert one.hash != other.hash
    assert Experiment.of(one.configuration()).allocation == "cbba"
