"""The benchmark of protocols: what it prints, what it compares, what it refuses."""

import json
from pathlib import Path

import pytest

from benchmarks import pysyncobj_peer, raft_speed
from benchmarks.consensus import app, compare, plots_of, raft_figures, table_of
from benchmarks.ray_session import own_ray
from coordination.simulation.trial import Trial
from tests.benchmarks.runs import told_by


def test_the_comparison_has_a_row_a_cell_with_intervals_and_theory() -> None:
    trials = [Trial(name, 4, clients=2, seconds=0.1, delay_s=0.1) for name in ("raft", "pbft")]
    raft, pbft = (cell.row() for cell in compare(trials, seeds=2))
    assert raft["messages_per_decision"] == pytest.approx(raft["messages_in_theory"], rel=0.05)
    assert pbft["authenticators_per_decision"] == pytest.approx(pbft["authenticators_in_theory"], rel=0.05)
    assert (raft["agreement"], raft["agreement_low"] < 1, raft["agreement_high"]) == (1.0, True, 1.0)
    assert (raft["f"], pbft["f"], raft["seeds"]) == (1, 1, 2)
    json.dumps([raft, pbft])


def test_the_pictures_hold_loads_costs_with_theory_and_the_time_line_of_a_fault() -> None:
    trials = [Trial("raft", 3, faults, clients=2, seconds=0.3) for faults in ("none", "crash:leader@0.1s")]
    cells = compare(trials, seeds=1)
    latency, cost, line = plots_of(cells)
    assert [curve.name for curve in cost.curves] == ["Raft", "Raft, theory"]
    assert len(latency.curves[0].points) == 1
    assert any(rate == 0 for _, rate in line.curves[0].points)
    assert all("<svg" in plot.svg() for plot in (latency, cost, line))
    assert table_of(cells).row_count == 2


def test_the_simulators_speeds_come_from_runs_that_decided_everything() -> None:
    figures = raft_figures(commands=1_000, repeats=1)
    assert set(figures) == {
        "raft_sim_commits_per_second",
        "raft_sim_batched_commits_per_second",
        "sim_events_per_second",
    }
    assert all(value > 0 for value in figures.values())
    assert raft_speed.measure(batch=100, commands=1_000).commits_per_second > 0


def test_the_command_ends_with_one_line_of_json_and_writes_a_page(tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    options = [
        "--protocol",
        "raft,hotstuff",
        "--n",
        "4",
        "--clients",
        "1",
        "--seconds",
        "0.1",
        "--seeds",
        "1",
    ]
    options += ["--driver", "sim", "--commands", "1000", "--repeats", "1", "--report", str(page)]
    found = told_by(app, *options)
    assert [row["protocol"] for row in found["rows"]] == ["raft", "hotstuff"]
    assert found["figures"]["raft_sim_commits_per_second"] > 0
    text = page.read_text()
    assert text.count("<svg") == 2
    assert "HotStuff" in text
    assert "http://" not in text.replace("http://www.w3.org", "")


@pytest.mark.ray
def test_on_ray_the_leader_keeps_a_window_in_flight() -> None:
    from benchmarks import log_on_ray  # noqa: PLC0415  # Ray takes a second to import

    with own_ray(2):
        rate = log_on_ray.measure("raft", replicas=3, window=100, batch=10, seconds=1.0, at_leader=True)
    assert rate.commands_per_second > 0
    assert 0 < rate.latency_p50_s < 5


@pytest.mark.skipif(not pysyncobj_peer.is_installed(), reason="the peer pysyncobj is not installed")
def test_the_peer_answers_with_its_own_processes() -> None:
    rate, latency_s = pysyncobj_peer.measure(tuned=True, window=10, seconds=1.0)
    assert rate > 0
    assert latency_s > 0
