"""`rayswarm replay` and `rayswarm fork`, as a person uses them."""

import json
import sys
from io import StringIO
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cluster.cli import app
from cluster.results import RunFolder, find_run

FILE = str(Path(__file__).parent / "rumour.yaml")


@pytest.fixture
def results(tmp_path: Path) -> Path:
    ran = CliRunner().invoke(app, ["run", FILE, "--results", str(tmp_path)])
    assert ran.exit_code == 0, ran.output
    return tmp_path


def told(results: Path, *words: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, [*words, "--results", str(results)])
    return result.exit_code, result.output


def test_a_run_does_again_what_it_did(results: Path) -> None:
    code, output = told(results, "replay", "last", "--json")
    assert code == 0
    assert "the same fingerprint" in output
    last = json.loads(output.strip().splitlines()[-1])
    assert last["trials"][0]["turns"] == 60


def test_an_agent_alone_shows_its_state(results: Path) -> None:
    code, output = told(results, "replay", "last", "--agent", "node/5")
    assert code == 0
    assert "no difference" in output
    assert "heard = " in output


def test_a_result_that_was_changed_is_found_out(results: Path) -> None:
    file = find_run("last", results).trial(0).path / "result.json"
    result = json.loads(file.read_text())
    file.write_text(json.dumps({**result, "fingerprint": "00" * 16}))
    code, output = told(results, "replay", "last")
    assert code == 1
    assert f"expected fingerprint {'00' * 16}" in output


def first_taken(run: RunFolder, address: str) -> str:
    from actors.replay import entries_of  # noqa: PLC0415 - the one test that reads a journal

    lines = entries_of(run.trial(0).journal, 0)
    return next(line.message.message_id for line in lines if getattr(line, "address", "") == address)


def test_the_debugger_stops_at_the_message(results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    message = first_taken(find_run("last", results), "node/5")
    seen = StringIO()
    monkeypatch.setattr(sys, "stdin", StringIO("p 'data is', message.data\ncontinue\n"))
    monkeypatch.setattr(sys, "stdout", seen)
    from cluster.replay_cli import replay  # noqa: PLC0415 - called directly: CliRunner would take the debugger's place

    replay("last", agent="node/5", until=message, debug=True, results=results)
    assert "('data is', {'hops'" in seen.getvalue()


def test_a_fork_is_a_run_of_its_own_and_is_found_again(results: Path) -> None:
    message = first_taken(find_run("last", results), "node/5")
    words = ["fork", "last", "--at", message, "--set", "seed=9", "--set", "stop.rounds=80"]
    code, output = told(results, *words)
    assert code == 0, output
    fork = find_run("last", results)
    result = fork.trial(0).result
    assert result is not None
    assert result["now"] == 80
    assert fork.manifest["forked"]["message"] == message
    assert told(results, "replay", "last")[0] == 0
    parent = fork.path.name.partition("-fork")[0]
    again = told(results, "fork", parent, *words[2:])
    assert again[0] == 0
    assert len(list((results / "rumour").glob("*-fork-*"))) == 1


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["replay", "last", "--until", "x"], "name it with --agent"),
        (["replay", "last", "--agent", "node/99"], "took no message in this run"),
        (["replay", "last", "--trial", "7"], "has no trial 7"),
        (["fork", "last", "--at", "nobody#1"], "no agent took a message 'nobody#1'"),
        (
            ["fork", "last", "--at", "node/3#1", "--set", "stop={}", "--set", "swarm.schedule=free"],
            "keeps the schedule",
        ),
        (["fork", "last", "--at", "node/3#1", "--set", "sed=1"], "sed: unknown key; did you mean"),
    ],
)
def test_a_wrong_request_says_how_to_mend_it(results: Path, words: list[str], problem: str) -> None:
    code, output = told(results, *words)
    assert code == 2
    assert problem in output
    assert "Traceback" not in output
