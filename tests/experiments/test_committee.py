"""A committee of language models: the same on any number of cells; malformed answers are measured; replayed."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from actors.errors import ConfigurationError
from cluster.cli import app
from cluster.experiment import load_experiment
from cluster.results import State
from cluster.runner import Request, Summary, run_experiment
from experiments.committee import confidence_in, name_of, vote_in
from tests.cluster.test_runner import Listener

FILE = Path(__file__).resolve().parents[2] / "experiments" / "committee.yaml"
SCRIPT = "model=scripted:committee_script.yaml"


def held(results: Path, *settings: str, model: str = SCRIPT) -> Summary:
    given = [model, "on=local", "repeats=1", *settings]
    return run_experiment(Request(load_experiment(FILE, given), str(FILE), given, results), Listener())


@pytest.fixture(scope="module")
def meeting(tmp_path_factory: pytest.TempPathFactory) -> Summary:
    return held(tmp_path_factory.mktemp("meeting"))


def test_all_proposals_are_voted_on_and_all_tickets_auctioned(meeting: Summary) -> None:
    assert meeting.state == State.DONE, meeting.errors
    result = meeting.results[0]
    assert not result["failures"]
    assert len(result["results"]["decisions"]) == 3
    assert len(result["results"]["awards"]) == 4
    for decision in result["results"]["decisions"]:
        assert decision["yes"] + decision["no"] + decision["abstained"] == 5
        if decision["decided"] != "nothing":
            assert 2 * decision[decision["decided"]] > decision["yes"] + decision["no"]
    winners = [award["to"] for award in result["results"]["awards"] if award["to"] != "nobody"]
    assert len(set(winners)) == len(winners)
    measures = meeting.measures
    assert 0.5 < measures["valid_json"] < 1
    assert 0.2 <= measures["agreement"] <= 1
    assert measures["model_calls"] >= 5 * (3 + 4)


@pytest.mark.parametrize(
    "settings", [["swarm.cells=2"], ["swarm.cells=3", "faults=[{cell_crash: 1, at: 5}]"]]
)
def test_cells_and_crashes_change_nothing(settings: list[str], meeting: Summary, tmp_path: Path) -> None:
    other = held(tmp_path, *settings)
    assert other.fingerprint == meeting.fingerprint
    assert other.measures == meeting.measures
    assert other.results[0]["results"] == meeting.results[0]["results"]


def test_it_is_replayed_without_its_model(meeting: Summary) -> None:
    told = CliRunner().invoke(app, ["replay", str(meeting.folder.path)])
    assert told.exit_code == 0, told.output


def script(folder: Path, answer: str) -> str:
    path = folder / "one.yaml"
    path.write_text(json.dumps({"rules": [{"pattern": "", "answers": answer}]}))
    return f"model=scripted:{path}"


def test_a_model_that_says_nothing_of_use_decides_nothing_and_stops_nobody(tmp_path: Path) -> None:
    summary = held(tmp_path, model=script(tmp_path, "I am only a language model."))
    assert summary.state == State.DONE
    assert not summary.results[0]["failures"]
    measures = summary.measures
    assert (measures["valid_json"], measures["right"], measures["decisions"]) == (0, 0, 0)
    assert (measures["agreement"], measures["assigned"]) == (0, 0)
    assert {decision["abstained"] for decision in summary.results[0]["results"]["decisions"]} == {5}


def test_members_of_one_mind_agree_at_once(tmp_path: Path) -> None:
    summary = held(tmp_path, model=script(tmp_path, '{"reason": "why not", "vote": "yes"}'))
    assert summary.measures["agreement"] == 1
    assert summary.measures["decisions"] == 3
    assert {decision["rounds"] for decision in summary.results[0]["results"]["decisions"]} == {0}


def test_when_its_tokens_are_spent_the_meeting_ends(tmp_path: Path) -> None:
    summary = held(tmp_path, "budget.tokens=500")
    assert summary.results[0]["ended"] == "budget.tokens"
    assert summary.measures["model_tokens"] <= 500
    assert summary.results[0]["model_cost"]["member"]["errors"]["budget exceeded"] > 0


def test_members_whose_calls_fail_abstain_and_the_meeting_goes_on(tmp_path: Path) -> None:
    summary = held(tmp_path, "budget.agents={member/0: {tokens: 0}}")
    assert summary.results[0]["ended"] == "quiet"
    assert summary.measures["failed_calls"] >= 3 + 4
    assert min(decision["abstained"] for decision in summary.results[0]["results"]["decisions"]) >= 1


@pytest.mark.parametrize("allocation", ["vickrey", "epsilon", "cbba"])
def test_tickets_may_go_by_other_mechanisms(allocation: str, tmp_path: Path) -> None:
    assert 1 <= held(tmp_path, f"allocation={allocation}").measures["assigned"] <= 4


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        (["input={members: 5}"], "is no committee"),
        (["input.members=0"], "1 member and 1 proposal"),
        (["allocation=lottery"], "there is no 'lottery'"),
    ],
)
def test_a_committee_that_cannot_be_is_told(settings: list[str], why: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=why):
        held(tmp_path, *settings)


@pytest.mark.parametrize(
    ("text", "vote"),
    [
        ('{"reason": "cost 3, budget 4: within", "vote": "yes"}', "yes"),
        (' {"vote": "no", "reason": ""} ', "no"),
        ('{"reason": "x", "vote": "Yes"}', None),
        ('{"reason": "x", "vote": true}', None),
        ('{"reason": 3, "vote": "yes"}', None),
        ('{"vote": "yes"}', None),
        ("yes", None),
        ("[1]", None),
        ("", None),
        ("[" * 10_000, None),
    ],
)
def test_a_vote_is_json_with_a_reason_or_none(text: str, vote: str | None) -> None:
    assert vote_in(text)[0] == vote


@pytest.mark.parametrize(
    ("text", "confidence"),
    [
        ('{"confidence": 0.7, "cost": 9}', 0.7),
        ('{"confidence": 1}', 1.0),
        ('{"confidence": 1.2}', None),
        ('{"confidence": true}', None),
        ('{"confidence": NaN}', None),
        ('{"confidence": "0.7"}', None),
        ("0.7", None),
    ],
)
def test_a_bid_is_json_with_a_confidence_or_none(text: str, confidence: Any) -> None:
    assert confidence_in(text) == confidence


def test_members_have_names_of_their_own() -> None:
    names = [name_of(f"member/{number}") for number in range(200)]
    assert len(set(names)) == 200
