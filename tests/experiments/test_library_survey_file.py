"""The experiment file of the survey: it says what it should, takes a path, and kills its surveyor half way."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from actors import ConfigurationError, RunResult, Swarm
from cluster.assembly import completed, plan_of
from cluster.experiment import Experiment, load_experiment

FILE = Path(__file__).resolve().parents[2] / "experiments" / "library_survey.yaml"


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tree")
    for number in range(200):
        lines = f"import m{number * 3 % 200}\n" + "x = 1\n" * (number % 50)
        (folder / f"m{number}.py").write_text(lines)
    return folder


@pytest.fixture(scope="module")
def arms(tree: Path) -> list[RunResult]:
    """The results of both arms."""
    experiment = load_experiment(FILE, [f"input={tree}", "memory=false"])
    return [asyncio.run(run(experiment.of_trial(trial))) for trial in experiment.trials]


async def run(experiment: Experiment) -> RunResult:
    async with Swarm.local(plan_of(completed(experiment), run_id="survey", journal=None)) as swarm:
        return await swarm.run()


def row_of_the_killed(result: RunResult) -> dict[str, Any]:
    row: dict[str, Any] = next(row for row in result.results["surveyors"] if row["surveyor"] == "surveyor/1")
    return row


def test_both_arms_find_the_same(arms: list[RunResult]) -> None:
    calm, disturbed = arms
    assert calm.results["modules"] == 200
    for name in ("modules", "lines", "bytes", "failed", "import_edges", "most_depended_upon"):
        assert disturbed.results[name] == calm.results[name]


def test_the_killed_surveyor_takes_work_with_it_half_way(arms: list[RunResult]) -> None:
    calm, disturbed = (row_of_the_killed(result) for result in arms)
    assert calm["lost"] == 0
    assert disturbed["lost"] > 0
    assert disturbed["bytes"] == pytest.approx(calm["bytes"] / 2, rel=0.1)
    share = {row.now: row.mean for row in arms[1].measures if row.measure == "share_read"}
    assert share[34] == pytest.approx(0.5, abs=0.05)


def test_without_a_path_the_agents_keep_to_the_standard_library() -> None:
    experiment = completed(load_experiment(FILE))
    assert all("root" not in role.parameters for role in experiment.swarm.roles.values())


@pytest.mark.parametrize(
    ("given", "told"), [("nowhere", "does not exist"), (".", "holds no Python"), ("7", "is not a path")]
)
def test_a_wrong_path_is_told_before_anything_runs(
    given: str, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigurationError, match=told):
        completed(load_experiment(FILE, [f"input={given}"]))
