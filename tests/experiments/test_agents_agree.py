"""Agents that talk until they agree: the game is judged rightly, reason agrees, and liars break what is only talk."""

import asyncio
from pathlib import Path
from random import Random
from typing import Any

import pytest

from actors import ConfigurationError, Plan, Progress, Role, RunResult, Swarm
from cluster.assembly import completed, plan_of
from cluster.experiment import load_experiment
from experiments.agents_agree import Opinionated, Referee, judged, report, revised, roles_for

FILE = Path(__file__).resolve().parents[2] / "experiments" / "agents_agree.yaml"
REASON: dict[str, Any] = {"heeds": None, "inertia": 0.0, "slip": 0.0}


async def played(agents: int, liars: int, seed: int, cells: int = 1, **manner: Any) -> RunResult:
    game = {"agents": agents, "liars": liars, "values": 50}
    roles = {
        "agent": Role(Opinionated, agents, {**game, **manner}),
        "referee": Role(Referee, parameters=game),
    }
    async with Swarm.local(Plan(roles, seed=seed, cells=cells)) as swarm:
        return await swarm.run(rounds=200, stop=judgement)


def judgement(progress: Progress) -> bool:
    return "rounds" in progress.measures


def verdict(result: RunResult) -> dict[str, float]:
    assert not result.failures
    return {row.measure: row.mean for row in result.measures}


def shares(agents: int, liars: int, **manner: Any) -> float:
    verdicts = [verdict(asyncio.run(played(agents, liars, seed, **manner))) for seed in range(20)]
    return sum(each["valid_agreement"] for each in verdicts) / len(verdicts)


@pytest.mark.parametrize("rule", ["mode", "median"])
def test_reasonable_agents_without_liars_always_agree(rule: str) -> None:
    assert shares(7, 0, rule=rule, **REASON) == 1


def test_with_liars_they_do_not() -> None:
    assert shares(10, 3) < 0.6
    assert shares(10, 3) < shares(10, 0)


def test_the_number_of_cells_changes_nothing() -> None:
    one, two = (asyncio.run(played(5, 1, 3, cells)) for cells in (1, 2))
    assert one.fingerprint == two.fingerprint


def test_talk_without_end_is_ended_and_judged() -> None:
    found = verdict(asyncio.run(played(6, 0, 1, inertia=1.0, slip=0.0, talk_rounds=5)))
    assert (found["termination"], found["valid_agreement"]) == (0, 0)
    assert found["rounds"] == 14  # they speak in rounds 3, 5, ... 13


@pytest.mark.parametrize(
    ("decided", "broken"),
    [
        ((4, 4, 4), set()),
        ((7, 7, 7), {"of_one"}),
        ((4, 4, None), {"termination", "valid_agreement", "of_one"}),
        ((4, 9, 4), {"agreement", "valid_agreement", "of_one"}),
        ((1, 1, 1), {"validity", "valid_agreement", "of_one"}),
    ],
)
def test_a_verdict_names_what_was_broken(decided: tuple[int | None, ...], broken: set[str]) -> None:
    found = judged([report(private, number) for private, number in zip((2, 4, 9), decided, strict=True)])
    assert {name for name, holds in found.items() if not holds} == broken


def test_an_opinion_is_revised_by_its_rule() -> None:
    heard = [3, 9, 9, 1, 3, 40]
    assert revised(heard, "median", Random(1)) == 3
    assert revised(heard, "mean", Random(1)) == 11
    assert {revised(heard, "mode", Random(seed)) for seed in range(20)} == {3, 9}


def test_a_game_that_cannot_be_played_is_refused() -> None:
    for wrong in ({"agents": 1}, {"agents": 4, "liars": 4}, {"agents": 4, "values": 0}):
        with pytest.raises(ConfigurationError, match="are no game"):
            Referee(**wrong)
    for manner in ({"rule": "mood"}, {"slip": 1.5}, {"heeds": 0}, {"talk_rounds": 0}):
        with pytest.raises(ConfigurationError, match=r"Give|There are"):
            Opinionated(4, **manner)  # type: ignore[arg-type]  # wrong on purpose


def test_the_file_describes_nine_arms_of_forty_games() -> None:
    experiment = load_experiment(FILE)
    assert len(experiment.trials) == 9 * 40
    liars = set()
    for trial in experiment.trials[::40]:
        each = completed(experiment.of_trial(trial))
        agents = each.input["agents"]
        plan = plan_of(each, run_id="agree", journal=None)
        assert plan.roles["agent"].count == agents
        liars.add((agents, plan.roles["agent"].parameters["liars"]))
    assert liars == {(4, 0), (4, 1), (8, 0), (8, 1), (8, 2), (16, 0), (16, 1), (16, 5)}


@pytest.mark.parametrize("game", [None, {"agents": 4}, {"agents": "all", "liars": 0, "values": 5}])
def test_an_input_that_is_no_game_is_refused(game: Any) -> None:
    experiment = load_experiment(FILE).model_copy(update={"input": game})
    with pytest.raises(ConfigurationError, match="is no game"):
        roles_for(experiment)
