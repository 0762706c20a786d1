"""Two runs side by side."""

import json
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from actors.errors import ConfigurationError
from cluster.compare import Change, compare_runs
from cluster.tables import write_metrics
from tests.cluster.run_fixture import HOSTILE, make_metrics, make_run, make_sweep, make_trial


def run_of(folder: Path, gains: list[float], arm: dict[str, Any] | None = None, **manifest: Any) -> Path:
    """One arm with a replicate for each gain; `score` ends at 10 plus the gain."""
    trials = [make_trial(i, arm, i, results={"score": 10 + gain}) for i, gain in enumerate(gains)]
    rows = [row for trial in trials for row in make_metrics(trial, 2)]
    return make_run(folder, trials, rows, **manifest)


def rendered(run: Any) -> str:
    console = Console(file=StringIO(), width=220, color_system=None)
    console.print(run.render())
    file = console.file
    assert isinstance(file, StringIO)
    return file.getvalue()


def measure(comparison: Any, name: str) -> Any:
    return next(row for row in comparison.measures if row.measure == name)


def test_trials_are_paired_by_seed_and_every_common_measure_is_tested(tmp_path: Path) -> None:
    a = run_of(tmp_path / "a", [0.0] * 7)
    b = run_of(tmp_path / "b", [0.5, 0.6, 0.4, 0.7, 0.3, 0.5, 0.5])
    comparison = compare_runs(a, b)
    assert (comparison.pairing, comparison.pairs) == ("seed", 7)
    score = measure(comparison, "results.score")
    assert score.test.difference == pytest.approx(0.5)
    assert score.test.p_value == 2 / 2**7
    assert score.test.low < 0.5 < score.test.high
    assert score.p_adjusted == pytest.approx(4 * 2 / 2**7)
    assert measure(comparison, "load_imbalance").test.p_value == 1.0
    assert {row.measure for row in comparison.measures} == {
        "results.score", "load_imbalance", "tasks_done", "consensus_reached",
    }  # fmt: skip


def test_what_was_changed_is_told_by_its_path(tmp_path: Path) -> None:
    a = run_of(tmp_path / "a", [0, 1], configuration={"swarm": {"cells": 1}, "seed": 7, "old": True})
    b = run_of(tmp_path / "b", [0, 1], configuration={"swarm": {"cells": 4}, "seed": 7, "new": [1, 2]})
    assert compare_runs(a, b).changes == (
        Change("swarm.cells", "1", "4"),
        Change("old", "true", None),
        Change("new", None, "[1, 2]"),
    )


def test_fingerprints_are_equal_different_or_not_known(tmp_path: Path) -> None:
    a = run_of(tmp_path / "a", [0, 1])
    b = run_of(tmp_path / "b", [0, 1])
    assert compare_runs(a, b).fingerprints_equal is True
    result = b / "trials" / "001" / "result.json"
    trial = json.loads(result.read_text())
    result.write_text(json.dumps(trial | {"fingerprint": ""}))
    assert compare_runs(a, b).fingerprints_equal is None
    result.write_text(json.dumps(trial | {"fingerprint": "ff"}))
    assert compare_runs(a, b).fingerprints_equal is False


def test_equal_arms_are_compared_each_by_itself(tmp_path: Path) -> None:
    comparison = compare_runs(make_sweep(tmp_path / "a"), make_sweep(tmp_path / "b"))
    assert (comparison.pairing, comparison.pairs) == ("arm and seed", 15)
    loads = [row for row in comparison.measures if row.measure == "load_imbalance"]
    assert [row.arm for row in loads] == [f'{{"faults.drop.share":{loss}}}' for loss in ("0.0", "0.1", "0.3")]
    assert all(row.test.n == 5 for row in loads)


def test_runs_of_one_arm_each_are_paired_by_seed_though_their_arms_differ(tmp_path: Path) -> None:
    a, b = run_of(tmp_path / "a", [0, 1], {"x": 1}), run_of(tmp_path / "b", [1, 2], {"x": 2})
    assert compare_runs(a, b).pairing == "seed"


def test_one_pair_gives_a_difference_without_interval_or_p(tmp_path: Path) -> None:
    comparison = compare_runs(run_of(tmp_path / "a", [0]), run_of(tmp_path / "b", [2]))
    score = measure(comparison, "results.score")
    assert (score.test.difference, score.test.low, score.test.p_value, score.p_adjusted) == (
        2.0,
        None,
        None,
        None,
    )
    assert "one pair: no interval and no test" in rendered(comparison)


def test_what_has_no_partner_is_said(tmp_path: Path) -> None:
    a, b = run_of(tmp_path / "a", [0, 1, 2]), run_of(tmp_path / "b", [0, 1])
    write_metrics(b / "metrics.parquet", [])
    text = rendered(compare_runs(a, b))
    assert "left out: trials of a without a partner: 1" in text
    assert "left out: measures only in a: consensus_reached, load_imbalance, tasks_done" in text


def test_the_table_names_test_interval_and_what_p_can_be(tmp_path: Path) -> None:
    text = rendered(compare_runs(run_of(tmp_path / "a", [0] * 5), run_of(tmp_path / "b", [1, 2, 3, 4, 5])))
    for part in (
        "task_auction/a", "5 pairs, by seed; fingerprints equal", "The configurations are equal.",
        "results.score",
        "paired permutation test, exact (32 sign patterns)", "interval of the mean difference: bootstrap",
        "with 5 pairs p cannot be under 0.0625", "0.062",
    ):  # fmt: skip
        assert part in text


def test_the_comparison_is_plain_data_for_json(tmp_path: Path) -> None:
    comparison = compare_runs(run_of(tmp_path / "a", [0, 1]), run_of(tmp_path / "b", [1, 2]))
    data = json.loads(json.dumps(comparison.to_json(), allow_nan=False))
    assert data["pairs"] == 2
    assert {"measure", "arm", "test", "p_adjusted"} == set(data["measures"][0])


def test_markup_in_a_name_is_not_obeyed(tmp_path: Path) -> None:
    name = "[red]loud[/red]" + HOSTILE
    a = run_of(tmp_path / "a", [0, 1], configuration={name: name}, experiment="[bold]x[/bold]")
    b = run_of(tmp_path / "b", [0, 1], configuration={})
    text = rendered(compare_runs(a, b))
    assert "[red]loud[/red]<script>" in text
    assert "[bold]x[/bold]/a" in text


def test_runs_with_nothing_in_common_are_refused_with_the_reason(tmp_path: Path) -> None:
    a = run_of(tmp_path / "a", [0, 1])
    other_seeds = make_run(tmp_path / "s", [make_trial(0, seed=5)], [])
    with pytest.raises(ConfigurationError, match=r"no pair of ended trials .*\(seeds 1000, 1001 and 5\)"):
        compare_runs(a, other_seeds)
    no_measure = make_run(tmp_path / "m", [make_trial(0)])
    with pytest.raises(ConfigurationError, match=r"no measure in common \(.*results\.score and none\)"):
        compare_runs(a, no_measure)
    with pytest.raises(ConfigurationError, match="has 3 arms and shares none"):
        compare_runs(a, make_sweep(tmp_path / "sweep"))
    twice = make_run(tmp_path / "t", [make_trial(0), make_trial(1)], [])
    with pytest.raises(ConfigurationError, match="two trials with seed 1000"):
        compare_runs(a, twice)
    with pytest.raises(ConfigurationError, match=r"no manifest\.json"):
        compare_runs(a, tmp_path)
