"""How the survey shares out a lot: every module once, loads even, prices as the sale has them."""

import asyncio
from pathlib import Path
from random import Random
from typing import Any

import pytest

from actors import ConfigurationError, Swarm
from cluster.assembly import completed, plan_of
from cluster.experiment import load_experiment
from experiments.survey_allocation import ALLOCATIONS, IN_TURN, Shares, shared_out

FILE = Path(__file__).resolve().parents[2] / "experiments" / "library_survey.yaml"
SURVEYORS = ("s/0", "s/1", "s/2", "s/3")


def lot(seed: int, modules: int = 30) -> tuple[dict[str, dict[str, int]], dict[str, int]]:
    rng = Random(seed)
    loads = {surveyor: rng.randrange(0, 2000) for surveyor in SURVEYORS}
    sizes = dict(
        sorted(((f"m{n}", rng.randrange(0, 1000)) for n in range(modules)), key=lambda item: -item[1])
    )
    return {name: dict(loads) for name in sizes}, sizes


def loads_after(shares: Shares, bids: dict[str, dict[str, int]], sizes: dict[str, int]) -> dict[str, int]:
    loads = dict(next(iter(bids.values())))
    for module, surveyor, _ in shares:
        loads[surveyor] += sizes[module]
    return loads


@pytest.mark.parametrize("allocation", ALLOCATIONS)
@pytest.mark.parametrize("seed", range(5))
def test_every_module_is_shared_out_once_and_loads_are_even(allocation: str, seed: int) -> None:
    bids, sizes = lot(seed)
    shares = shared_out(allocation, bids, sizes)
    assert sorted(module for module, _, _ in shares) == sorted(sizes)
    loads = loads_after(shares, bids, sizes)
    mean = sum(loads.values()) / len(loads)
    assert max(loads.values()) <= mean + max(sizes.values()), f"seed {seed}: {loads}"


@pytest.mark.parametrize("allocation", ["contract-net", "first-price", "vickrey"])
def test_in_turn_the_least_load_wins(allocation: str) -> None:
    shares = shared_out(
        allocation, {"a": {"x": 5, "y": 3, "z": 9}, "b": {"x": 5, "y": 3, "z": 9}}, {"a": 4, "b": 1}
    )
    assert [share[:2] for share in shares] == [("a", "y"), ("b", "x")]
    prices = {"contract-net": [0, 0], "first-price": [3, 5], "vickrey": [5, 7]}
    assert [share[2] for share in shares] == prices[allocation]


@pytest.mark.parametrize("allocation", ALLOCATIONS)
def test_who_did_not_bid_for_a_module_does_not_get_it(allocation: str) -> None:
    bids, sizes = lot(3, modules=6)
    for module in list(bids)[:3]:
        bids[module] = {"s/1": bids[module]["s/1"]}
    for module, surveyor, _ in shared_out(allocation, bids, sizes):
        assert surveyor in bids[module]
    assert shared_out(allocation, {}, {}) == []


def survey(tree: Path, *settings: str) -> dict[str, Any]:
    experiment = load_experiment(FILE, [f"input={tree}", *settings])

    async def run() -> dict[str, Any]:
        plan = plan_of(completed(experiment.of_trial(experiment.trials[1])), run_id="survey", journal=None)
        async with Swarm.local(plan) as swarm:
            return (await swarm.run()).results

    return asyncio.run(run())


@pytest.mark.parametrize("allocation", ALLOCATIONS)
def test_a_survey_finds_the_same_by_any_allocation(allocation: str, tmp_path: Path) -> None:
    for number in range(60):
        (tmp_path / f"m{number}.py").write_text(f"import m{number * 7 % 60}\n" + "x = 1\n" * (number % 13))
    found, usual = survey(tmp_path, f"allocation={allocation}"), survey(tmp_path)
    for name in ("modules", "lines", "bytes", "failed", "most_depended_upon"):
        assert found[name] == usual[name]
    paid = sum(row["paid"] for row in found["surveyors"])
    assert (paid > 0) == (allocation in IN_TURN[1:])


def test_a_wrong_allocation_is_told_before_anything_runs() -> None:
    with pytest.raises(ConfigurationError, match=r"allocation: there is no 'vikrey'"):
        completed(load_experiment(FILE, ["allocation=vikrey"]))
