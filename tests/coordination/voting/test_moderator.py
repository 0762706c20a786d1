"""Deliberations by agents over messages: the same result on any number of cells, and with panellists that misbehave."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from actors import ConfigurationError, JournalSettings, Plan, Role, RunResult, Swarm
from actors.faults import FaultPlan, fault_from
from actors.replay import replay_run
from coordination.voting import Abstention, Choice, ModelPanellist, Moderator, Number, Question
from tests.coordination.voting import cast

PANEL = [f"follower/{number}" for number in range(5)]
FOLLOWERS = Role(cast.Follower, 5, {"favourites": ["x", "y", "y", "z", "y"]})


def plan_of(moderator: dict[str, Any], panel: dict[str, Role], **settings: Any) -> Plan:
    asked = Role(Moderator, parameters={"timeout_s": 10, **moderator})
    return Plan(roles=panel | {"moderator": asked, "client": Role(cast.Client)}, **{"seed": 1, **settings})


async def run(plan: Plan) -> RunResult:
    async with Swarm.local(plan) as swarm:
        await swarm.send("client", None)
        return await swarm.run(rounds=500)


def held(moderator: dict[str, Any], panel: dict[str, Role], **settings: Any) -> RunResult:
    return asyncio.run(run(plan_of(moderator, panel, **settings)))


def told(result: RunResult) -> dict[str, Any]:
    assert not result.failures
    assert result.results["heard"] == result.results["moderator"]
    answer: dict[str, Any] = result.results["moderator"]
    return answer


def test_agents_debate_and_the_asker_gets_the_result_with_the_plain_vote() -> None:
    answer = told(held({"panellists": PANEL, "rounds": 3}, {"follower": FOLLOWERS}))
    assert answer["outcome"]["winner"] == "y"
    assert answer["by_round"][0]["scores"] == {"x": 1, "y": 3, "z": 1}
    assert answer["plain"]["tokens"] <= answer["tokens"]
    assert answer["plain"]["samples"] > 5


def test_no_deadline_keeps_a_run_open_that_is_over() -> None:
    result = held({"panellists": PANEL, "timeout_s": 400}, {"follower": FOLLOWERS})
    assert result.quiet
    assert result.now < 40


def test_the_number_of_cells_changes_nothing() -> None:
    moderator = {"panellists": PANEL, "rounds": 3}
    one, three = (held(moderator, {"follower": FOLLOWERS}, cells=cells) for cells in (1, 3))
    assert one.fingerprint == three.fingerprint


def test_a_moderator_whose_cell_is_killed_goes_on(tmp_path: Path) -> None:
    moderator = {"panellists": PANEL, "rounds": 3}
    calm = held(moderator, {"follower": FOLLOWERS})
    killed = held(
        moderator,
        {"follower": FOLLOWERS},
        faults=FaultPlan((fault_from({"cell_crash": 0, "at": 4}),)),
        journal=JournalSettings(tmp_path, checkpoint_every=2),
    )
    assert killed.recoveries
    assert killed.fingerprint == calm.fingerprint


@pytest.mark.parametrize("bad", [cast.Mute, cast.Nonsense])
def test_a_panellist_that_misbehaves_costs_a_deadline_and_no_more(bad: type) -> None:
    answer = told(held({"panellists": [*PANEL, "bad"]}, {"follower": FOLLOWERS, "bad": Role(bad)}))
    assert answer["outcome"]["winner"] == "y"
    assert "forged" not in str(answer)


def test_lost_and_repeated_messages_delay_and_do_not_stop() -> None:
    lossy = [{"drop": 0.2, "between": ["moderator", "follower"]}, {"duplicate": 0.3}]
    faults = FaultPlan(tuple(map(fault_from, lossy)))
    for seed in range(5):
        result = held({"panellists": PANEL}, {"follower": FOLLOWERS}, faults=faults, seed=seed)
        answer = result.results["moderator"]
        assert answer["plain"]["tokens"] <= answer["tokens"], f"seed {seed}"


def test_delphi_is_run_with_a_function_for_answers() -> None:
    moderator = {"panellists": [f"expert/{n}" for n in range(7)], "kind": "delphi", "rounds": 2}
    answer = told(held(moderator, {"expert": Role(cast.Estimator, 7)}))
    assert answer["outcome"]["value"] == 3
    assert answer["rounds"] == 2


MODELS = {"model": Role(ModelPanellist, 3, {"instruction": "Be brief."}), "judge": Role(ModelPanellist)}
DEBATE = {"panellists": [f"model/{n}" for n in range(3)], "topic": "Tea or milk?", "rounds": 1}
SEATS = {"llm": cast.model_of}


def test_models_debate_and_are_judged() -> None:
    answer = told(held(DEBATE, MODELS, seats=SEATS))
    assert answer["by_round"][0]["scores"] == {"milk": 1, "tea": 2}
    assert answer["outcome"]["winner"] == "milk"  # one stubborn voice turned the others
    assert answer["plain"]["winner"] == "tea"
    judged = told(held({**DEBATE, "kind": "judging", "judges": ["judge"]}, MODELS, seats=SEATS))
    assert judged["outcome"]["winner"] == "milk"


def test_a_run_with_models_is_replayed_without_them(tmp_path: Path) -> None:
    journal = JournalSettings(tmp_path, checkpoint_every=2)
    first = held(DEBATE, MODELS, seats=SEATS, journal=journal)
    assert told(first)["outcome"]["winner"] == "milk"
    without = plan_of(DEBATE, MODELS, seats={"llm": cast.no_model})
    assert asyncio.run(replay_run(tmp_path, without)).fingerprint == first.fingerprint


def test_a_moderator_says_at_once_what_is_wrong_with_its_parameters() -> None:
    for wrong, text in (
        ({"kind": "duel"}, "There are: debate, delphi, judging"),
        ({"rule": "bodra"}, "there is no rule"),
        ({"rounds": -2}, "Give 0 to"),
        ({"kind": "judging"}, "there is no judge"),
    ):
        with pytest.raises(ConfigurationError, match=text):
            Moderator(PANEL, **wrong)  # type: ignore[arg-type]  # wrong on purpose


def test_a_model_is_asked_in_words_and_its_last_line_counts() -> None:
    panellist = ModelPanellist("You are a chemist.")
    prompt = panellist.prompt(Question("m", "judge", 1, "Which?", options=("tea", "milk")))
    assert prompt.splitlines()[:4] == [
        "You are a chemist.",
        "Which?",
        "Choose one of these answers, word for word:",
        "- tea",
    ]
    assert panellist.vote_in("ANSWER: a\nno, wait\n**Answer:** *b*.") == Choice("b")
    assert panellist.vote_in("I do not know.") == Abstention()
    numeric = ModelPanellist(numeric=True)
    assert numeric.vote_in("ANSWER: about 1,250.5 m") == Number(1250.5)
    assert numeric.vote_in("ANSWER: many") == Abstention()
    assert numeric.vote_in("ANSWER: 1e999") == Abstention()
