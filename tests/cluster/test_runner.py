import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from actors.errors import ConfigurationError
from actors.run import Progress
from actors.swarm import Swarm
from cluster.experiment import Experiment
from cluster.results import RunFolder, State
from cluster.runner import Request, Summary, run_experiment, summary_of, trial_plan
from cluster.sweep import Trial

RUMOUR: dict[str, Any] = {
    "name": "rumour",
    "swarm": {"roles": {"node": {"class": "tests.cluster.rumour:Node", "count": 10}}, "traffic_sample": 1.0},
    "stop": {"rounds": 40},
    "send": [{"to": "node/3", "content": {"hops": 0}}],
}


class Listener:
    """Remembers what it was told."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.begun: list[int] = []
        self.ended: list[State] = []

    def run_begins(self, folder: RunFolder, trials: int, done: int) -> None:
        self.notes.append(f"{done} of {trials}")

    def note(self, text: str) -> None:
        self.notes.append(text)

    def trial_begins(self, trial: Trial, trials: int) -> None:
        self.begun.append(trial.number)

    def swarm_began(self, swarm: Swarm) -> None: ...

    def progressed(self, progress: Progress) -> None: ...

    def trial_ended(self, trial: Trial, state: State) -> None:
        self.ended.append(state)


def run(folder: Path, settings: dict[str, Any], *, fresh: bool = False) -> tuple[Summary, Listener]:
    listener = Listener()
    experiment = Experiment.of(RUMOUR).having(settings)
    request = Request(experiment, "rumour.yaml", [], folder / "results", fresh=fresh)
    return run_experiment(request, listener), listener


def results(summary: Summary, key: str) -> Sequence[Any]:
    return [result[key] for result in summary.results]


def test_a_run_leaves_its_folder(tmp_path: Path) -> None:
    summary, _ = run(tmp_path, {"measures": ["heard", {"measure": "hops", "show": "maximum"}]})
    folder = summary.folder
    assert summary.state == State.DONE
    names = {"manifest.json", "status.json", "metrics.parquet", "messages.parquet", "report.html", "trials"}
    assert names <= {path.name for path in folder.path.iterdir()}
    assert folder.manifest["configuration_hash"].startswith(folder.path.name)
    assert folder.manifest["trials"][0]["seed"] == summary.results[0]["seed"]
    assert folder.status["trials"] == {"done": 1}
    result = summary.results[0]
    assert result["ended"] == "stop.rounds"
    assert result["messages"] == 40
    assert result["results"] == {"hops": 39}
    assert ["node", "node", 39] in result["traffic"]
    assert summary.measures["hops"] == 39.0
    assert pl.read_parquet(folder.path / "metrics.parquet")["measure"].unique().sort().to_list() == [
        "heard",
        "hops",
    ]
    assert pl.read_parquet(folder.path / "messages.parquet").height == 40
    assert json.loads(json.dumps(summary.to_json())) == summary.to_json()


def test_a_measure_that_is_not_kept_is_not_in_the_tables(tmp_path: Path) -> None:
    summary, _ = run(tmp_path, {"measures": ["heard"]})
    assert set(summary.measures) == {"heard"}
    assert pl.read_parquet(summary.folder.path / "metrics.parquet")["measure"].unique().to_list() == ["heard"]


def test_the_same_run_again_computes_nothing(tmp_path: Path) -> None:
    first, listener = run(tmp_path, {"repeats": 2})
    file = first.folder.trial(0).path / "result.json"
    before = file.stat().st_mtime_ns
    second, again = run(tmp_path, {"repeats": 2})
    assert listener.begun == [0, 1]
    assert again.begun == []
    assert again.notes == ["2 of 2"]
    assert file.stat().st_mtime_ns == before
    assert second.to_json() == first.to_json()


def test_a_fresh_run_stands_beside_the_old_one_and_is_the_same(tmp_path: Path) -> None:
    first, _ = run(tmp_path, {})
    second, listener = run(tmp_path, {}, fresh=True)
    assert listener.begun == [0]
    assert second.folder.path == first.folder.path.with_name(first.folder.path.name + "-2")
    assert second.fingerprint == first.fingerprint
    assert first.folder.trial(0).result is not None


def test_a_sweep_pairs_its_seeds_and_a_fingerprint_does_not_depend_on_cells(tmp_path: Path) -> None:
    summary, _ = run(tmp_path, {"sweep": {"swarm.cells": [1, 2, 4]}, "repeats": 2})
    assert results(summary, "replicate") == [0, 1] * 3
    seeds, prints = results(summary, "seed"), results(summary, "fingerprint")
    assert seeds[:2] == seeds[2:4] == seeds[4:]
    assert prints[:2] == prints[2:4] == prints[4:]
    assert prints[0] != prints[1]
    assert set(summary.measures["heard"]) == {f'{{"swarm.cells":{cells}}}' for cells in (1, 2, 4)}
    table = pl.read_parquet(summary.folder.path / "metrics.parquet")
    assert table["trial"].unique().sort().to_list() == [0, 1, 2, 3, 4, 5]


def test_only_what_is_missing_of_a_sweep_runs(tmp_path: Path) -> None:
    settings = {"repeats": 3}
    summary, _ = run(tmp_path, settings)
    for name in ("result.json", "status.json"):
        (summary.folder.trial(1).path / name).unlink()
    again, listener = run(tmp_path, settings)
    assert listener.begun == [1]
    assert listener.notes[-1] == "2 of 3"
    assert again.fingerprint == summary.fingerprint


@pytest.mark.parametrize(
    ("settings", "ended", "messages"),
    [
        ({"stop.when": [{"measure": "hops", "above": 19.5}]}, "hops above 19.5", 21),
        ({"stop.when": [{"measure": "hops", "above": 19.5}], "swarm.cells": 3}, "hops above 19.5", 21),
        ({"budget.messages": 7}, "budget.messages", 7),
        ({"swarm.roles.node.parameters": {"fails_at": 5}}, "quiet", 6),
    ],
)
def test_a_trial_says_why_it_ended(
    tmp_path: Path, settings: dict[str, Any], ended: str, messages: int
) -> None:
    result = run(tmp_path, settings)[0].results[0]
    assert (result["ended"], result["messages"]) == (ended, messages)


def test_a_bound_on_time_ends_a_run_that_would_not(tmp_path: Path) -> None:
    result = run(tmp_path, {"stop": {"seconds": 0.2}, "swarm.schedule": "free"})[0].results[0]
    assert result["ended"] == "stop.seconds"


def test_a_failing_trial_fails_the_run_and_not_the_other_trials(tmp_path: Path) -> None:
    settings = {
        "swarm.on_error": "stop",
        "sweep": {"swarm.roles.node.parameters": [{"fails_at": 5}, {"fails_at": -1}]},
    }
    summary, listener = run(tmp_path, settings)
    assert summary.state == State.FAILED
    assert listener.ended == [State.FAILED, State.DONE]
    assert "lost the thread" in summary.errors[0]
    assert results(summary, "trial") == [1]
    assert (summary.folder.path / "report.html").exists()
    again, listener = run(tmp_path, settings)
    assert listener.begun == [0]
    assert again.state == State.FAILED
    assert summary_of(again.folder).errors.keys() == {0}


def test_handlers_that_fail_are_told_and_the_run_goes_on(tmp_path: Path) -> None:
    result = run(tmp_path, {"swarm.roles.node.parameters": {"fails_at": 5}})[0].results[0]
    assert len(result["failures"]) == 1
    assert "lost the thread" in result["failures"][0]["error"]


def test_what_cannot_run_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="no such library"):
        run(tmp_path, {"setup": "tests.cluster.rumour:broken"})
    assert not (tmp_path / "results").exists()


def test_a_trial_can_be_made_again_as_it_was(tmp_path: Path) -> None:
    settings = {"setup": "tests.cluster.rumour:as_many_as_input", "input": {"nodes": 12}}
    summary, _ = run(tmp_path, settings)
    experiment, plan = trial_plan(summary.folder, 0, journal=None)
    assert plan.roles["node"].count == 12
    assert plan.seed == experiment.seed == summary.results[0]["seed"]


def test_a_topology_is_left_for_the_report(tmp_path: Path) -> None:
    topology = run(tmp_path, {"swarm.topology": "ring"})[0].results[0]["topology"]
    assert topology["describe"].startswith("ring of 10 agents")
    assert ["node/0", "node/1"] in topology["edges"]
    assert len(topology["edges"]) == 10


def test_a_changed_version_is_noted(tmp_path: Path) -> None:
    folder = run(tmp_path, {})[0].folder
    manifest = folder.manifest
    manifest["versions"]["ray"] = "0.1"
    (folder.path / "manifest.json").write_text(json.dumps(manifest))
    assert "--fresh" in run(tmp_path, {})[1].notes[0]
