"""A run with a memory: the same on any number of cells, after a crash and on Ray; asked, replayed and drawn."""

import json
import pickle
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from actors import Agent, ConfigurationError, Context, Message
from actors.entry import Took
from actors.errors import SwarmError
from actors.ray_session import ray_session
from actors.replay import entries_of
from cluster.cli import app
from cluster.experiment import Experiment, load_experiment
from cluster.figures import knowledge_figure
from cluster.knowledge import knowledge_of
from cluster.results import RunFolder, State, find_run
from cluster.run_memory import ClosedDoor, MemorySeats, agent_scope, made_embedder
from cluster.runner import Request, Summary, run_experiment
from memory.item import Kind
from memory.memory import Memory
from memory.scope import Scope
from tests.actors.ray_here import RAY_OPTIONS
from tests.cluster.test_runner import Listener

FILE = Path(__file__).resolve().parents[2] / "experiments" / "library_survey.yaml"
SWARM = Scope("rayswarm", "library_survey")


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tree")
    for number in range(30):
        text = f'"""Module number {number}."""\nimport m{number * 7 % 30}\ndef f{number}(): "Do {number}."\n'
        (folder / f"m{number}.py").write_text(text)
    (folder / "dates.py").write_text(
        '"""Calendar days."""\ndef parse_date(text):\n    """Turn text into a date."""\n'
    )
    return folder


def survey(results: Path, tree: Path, *settings: str) -> Summary:
    given = [f"input={tree}", "on=local", *settings]
    return run_experiment(Request(load_experiment(FILE, given), str(FILE), given, results), Listener())


def remembered(summary: Summary, trial: int = 0) -> list[tuple[str, str]]:
    """(kind, text) of all that a trial's swarm remembers, sorted: a list, so that twice would show."""
    return memory_in(summary.folder, trial)


def memory_in(run: RunFolder, trial: int = 0) -> list[tuple[str, str]]:
    """The same, of a run's folder."""
    with Memory.open(run.trial(trial).path / "memory" / "shard-0") as memory:
        return sorted((str(item.kind), item.text) for item in memory.items(scope=SWARM))


def invoke(results: Path, *words: str) -> Result:
    return CliRunner().invoke(app, [*words, "--results", str(results)])


@pytest.fixture(scope="module")
def calm(tree: Path, tmp_path_factory: pytest.TempPathFactory) -> Summary:
    """Both arms of the survey, undisturbed and with a surveyor killed, in one cell."""
    return survey(tmp_path_factory.mktemp("calm"), tree)


def test_both_arms_remember_each_module_once(calm: Summary) -> None:
    assert calm.state == State.DONE
    rows = remembered(calm)
    assert rows == remembered(calm, 1)
    assert len(rows) == len(set(rows))
    assert ("note", "function parse_date(text) (parse date) in dates. Turn text into a date.") in rows
    assert ("fact", "m1 imports m7") in rows


@pytest.mark.parametrize("cells", [2, 4])
def test_cells_change_neither_the_fingerprint_nor_the_memory(
    cells: int, calm: Summary, tree: Path, tmp_path: Path
) -> None:
    other = survey(tmp_path, tree, f"swarm.cells={cells}")
    assert [one["fingerprint"] for one in other.results] == [one["fingerprint"] for one in calm.results]
    assert remembered(other) == remembered(calm)


def test_what_a_survey_finds_does_not_depend_on_its_memory(calm: Summary, tree: Path, tmp_path: Path) -> None:
    without = survey(tmp_path, tree, "memory=false")
    assert [one["results"] for one in without.results] == [one["results"] for one in calm.results]
    assert not (without.folder.trial(0).path / "memory").exists()


@pytest.mark.ray
@pytest.mark.slow
def test_on_ray_with_a_killed_cell_it_is_the_same_run_and_each_row_is_there_once(
    calm: Summary, tree: Path, tmp_path: Path
) -> None:
    with ray_session("local", RAY_OPTIONS):
        settings = ("on=ray", "swarm.cells=2", "sweep={}", "faults=[{cell_crash: 1, at: 30}]")
        other = survey(tmp_path, tree, *settings)
    assert other.state == State.DONE, other.errors
    assert other.results[0]["recoveries"]
    assert other.results[0]["fingerprint"] == calm.results[0]["fingerprint"]
    assert remembered(other) == remembered(calm)


def test_recall_answers_with_modules_and_functions_scored_and_explained(calm: Summary) -> None:
    results = calm.folder.path.parents[1]
    told = json.loads(invoke(results, "recall", "parse a date", "-k", "2", "--json").stdout)
    best, other = told["answers"]
    assert best["module"] == "dates"
    assert best["score"] > other["score"]
    assert best["because"][0]["name"] == "dates.parse_date"
    assert sum(best["because"][0]["parts"].values()) == pytest.approx(best["because"][0]["score"], abs=1e-4)
    shown = invoke(
        results, "recall", "parse a date", "--run", "library_survey", "--trial", "1", "-k", "1"
    ).stdout
    assert "dates.parse_date" in shown
    assert "lexical" in shown


def test_a_recall_that_cannot_be_is_told(calm: Summary, tree: Path, tmp_path: Path) -> None:
    results = calm.folder.path.parents[1]
    for words, why in (
        (["recall", "x", "--trial", "7"], "has no trial 7"),
        (["recall", " "], "empty"),
        (["recall", "x", "--run", "nothing"], "no run 'nothing'"),
    ):
        result = invoke(results, *words)
        assert result.exit_code == 2
        assert why in result.stderr
    survey(tmp_path, tree, "memory=false", "sweep={}")
    assert "left no memory" in invoke(tmp_path, "recall", "x").stderr


def test_a_replay_needs_no_memory_and_a_fork_does(calm: Summary, tmp_path: Path) -> None:
    results = tmp_path / "results"
    shutil.copytree(calm.folder.path.parents[1], results)
    for trial in (results / calm.folder.name / "trials").iterdir():
        shutil.rmtree(trial / "memory")
    result = invoke(results, "replay", "last", "--trial", "0")
    assert result.exit_code == 0, result.stderr
    result = invoke(results, "fork", "last", "--at", "surveyor/1#2")
    assert result.exit_code == 2
    assert "the run's memory is not in" in " ".join(result.stderr.split())


@pytest.mark.parametrize("share", [0.05, 0.15])
def test_a_fork_has_the_memory_of_its_past_and_ends_as_the_run_did(
    share: float, calm: Summary, tmp_path: Path
) -> None:
    results = tmp_path / "results"
    shutil.copytree(calm.folder.path.parents[1], results)
    run = RunFolder(results / calm.folder.name)
    taken = [line for line in entries_of(run.trial(0).journal, 0) if isinstance(line, Took)]
    at = next(line for line in taken[int(share * len(taken)) :] if line.address.startswith("surveyor"))
    words = ["fork", "last", "--at", at.message.message_id]
    assert invoke(results, *words, "--set", "memory={tenant: other}").exit_code == 2
    whole = invoke(results, *words)
    assert whole.exit_code == 0, whole.stderr
    fork = find_run("last", results)
    assert (fork.trial(0).result or {})["fingerprint"] == calm.results[0]["fingerprint"]
    assert memory_in(fork) == remembered(calm)
    now = int(fork.manifest["forked"]["now"])
    short = invoke(results, "fork", run.name, *words[2:], "--set", f"stop.rounds={now}")
    assert short.exit_code == 0, short.stderr
    past = memory_in(find_run("last", results))
    assert set(past) < set(remembered(calm))
    assert len(past) == len(set(past)) > 0


def test_names_in_the_graph_lie_free_of_one_another_and_within_it() -> None:
    edges = [(f"module.of.{n}", "imports", f"module.of.{n * 7 % 20}") for n in range(300)]
    drawn = knowledge_figure(edges, 300)
    assert drawn == knowledge_figure(edges, 300)
    found = re.findall(r'<text x="([-\d.]+)" y="([-\d.]+)">([^<]*)<', drawn)
    assert len(found) >= 10
    boxes = [(float(x), float(y), 5 * len(name) / 2) for x, y, name in found]
    for at, (x, y, half) in enumerate(boxes):
        assert half - 1 <= x <= 401 - half
        assert all(abs(x - other) > half + wide or abs(y - line) > 9 for other, line, wide in boxes[:at])


def test_the_report_shows_what_is_known_as_a_graph(calm: Summary) -> None:
    found = knowledge_of(calm.folder.path)
    assert found is not None
    assert (
        found.caption
        == "30 facts of 30 entities, as all of the swarm sees them; trial 000 of 2 that left one."
    )
    assert found.svg in (calm.folder.path / "report.html").read_text()


@pytest.mark.parametrize(
    "content",
    ["", "[]", "{", '{"edges": 3}', '{"edges": [["a"], ["a", 1, "b"], null]}', '{"edges": [["", "x", "y"]]}'],
)
def test_a_graph_that_is_none_is_left_out(content: str, tmp_path: Path) -> None:
    (tmp_path / "trials" / "000").mkdir(parents=True)
    (tmp_path / "trials" / "000" / "knowledge.json").write_text(content)
    assert knowledge_of(tmp_path) is None


def test_names_in_the_graph_are_no_markup_and_its_size_is_bounded(tmp_path: Path) -> None:
    (tmp_path / "trials" / "000").mkdir(parents=True)
    edges = [
        ["<script>\"'&", "is", "\u202e\x07" + "x" * 500],
        *[[f"n{at}", "is", f"n{at + 1}"] for at in range(900)],
    ]
    told = {"edges": edges, "facts": 901, "entities": 903}
    (tmp_path / "trials" / "000" / "knowledge.json").write_text(json.dumps(told))
    found = knowledge_of(tmp_path)
    assert found is not None
    assert "<script" not in found.svg
    assert "\u202e" not in found.svg
    assert found.svg.count("<circle") == 300


class Diarist(Agent):
    """Keeps a secret of its own, tells all a fact, and asks for both."""

    async def on_start(self, context: Context) -> None:
        seat = context.memory
        await context.effect(remember_both, seat, context.address)
        context.result(context.address, await context.effect(recalled, seat))

    async def on_message(self, message: Message, context: Context) -> None: ...


async def remember_both(seat: Any, address: str) -> None:
    """Effects give plain data: receipts hold numbers that differ from run to run."""
    await seat.remember(f"the secret of {address}")
    await seat.remember("the notice for all", into=Scope(seat.scope.tenant, seat.scope.swarm), kind=Kind.NOTE)


async def recalled(seat: Any) -> list[str]:
    return sorted(found.item.text for found in await seat.recall("secret notice", k=10))


def diary(folder: Path, **memory: Any) -> Summary:
    roles = {"diarist": {"class": "tests.cluster.test_run_memory:Diarist", "count": 3}}
    values = {"name": "diary", "swarm": {"roles": roles, "cells": 2}, "memory": memory}
    return run_experiment(Request(Experiment.of(values), "diary.yaml", [], folder), Listener())


def test_an_agent_sees_its_own_memories_and_those_of_the_swarm(tmp_path: Path) -> None:
    found = diary(tmp_path).results[0]["results"]
    for number in range(3):
        assert found[f"diarist/{number}"] == ["the notice for all", f"the secret of diarist/{number}"]


def test_an_embedder_and_a_tenant_may_be_named(tmp_path: Path) -> None:
    summary = diary(tmp_path, tenant="acme", embedder="tests.memory.embedding:TinyEmbedder")
    assert summary.state == State.DONE
    folder: RunFolder = summary.folder
    words = ["memory", "recall", "secret", "--at", str(folder.trial(0).path / "memory")]
    words += ["--scope", "tenant=acme/swarm=diary/role=diarist/agent=diarist%2F1", "--json"]
    runner = CliRunner()
    assert "another embedder" in runner.invoke(app, words).stderr or runner.invoke(app, words).exit_code == 2
    found = runner.invoke(app, [*words, "--embedder", "tests.memory.embedding:TinyEmbedder"])
    assert {each["item"]["text"] for each in json.loads(found.stdout)} == {
        "the notice for all",
        "the secret of diarist/1",
    }


def test_a_memory_of_a_trial_that_begins_anew_is_empty(tmp_path: Path) -> None:
    summary = diary(tmp_path)
    trial = summary.folder.trial(0).path
    with Memory.open(trial / "memory" / "shard-0") as memory:
        memory.remember("left over", scope=agent_scope(Scope("rayswarm", "diary"), "diarist/0"))
    shutil.rmtree(trial / "journal")
    (trial / "result.json").unlink()
    assert "left over" not in diary(tmp_path).results[0]["results"]["diarist/0"]


@pytest.mark.parametrize(
    ("memory", "why"),
    [
        ({"tenant": ""}, "at least 1"),
        ({"embedder": "nowhere:make"}, "there is no module"),
        ({"embedder": "tests.memory.embedding:__name__"}, "cannot be called"),
        ({"shards": 2}, "unknown key"),
    ],
)
def test_a_wrong_memory_is_told_before_anything_runs(
    memory: dict[str, Any], why: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigurationError, match=why):
        diary(tmp_path, **memory)


def test_an_embedder_that_cannot_be_made_is_told() -> None:
    with pytest.raises(ConfigurationError, match="which is no embedder"):
        made_embedder("builtins:dict")
    with pytest.raises(ConfigurationError, match="no such model"):
        made_embedder("tests.cluster.test_run_memory:broken_embedder")


def broken_embedder() -> None:
    raise ValueError("no such model")


def test_seats_travel_and_a_closed_one_says_so() -> None:
    seats = pickle.loads(pickle.dumps(MemorySeats(ClosedDoor(), SWARM)))  # noqa: S301 - our own
    assert seats.swarm == SWARM
    with pytest.raises(SwarmError, match="is not open"):
        assert seats._door.recall
