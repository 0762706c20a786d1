import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from cluster.cli import app

ROOT = Path(__file__).parents[2]

RUMOUR = ROOT / "tests" / "cluster" / "rumour.yaml"


def invoke(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def command(*arguments: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "cluster.cli", *map(str, arguments)],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def last_line(text: str) -> dict[str, Any]:
    value: dict[str, Any] = json.loads(text.splitlines()[-1])
    return value


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "rumour.yaml"
    path.write_text(RUMOUR.read_text())
    return path


def test_a_run_prints_its_results_and_the_report(file: Path, tmp_path: Path) -> None:
    done = command("run", file, "--results", tmp_path / "results")
    assert done.returncode == 0
    assert "stop.rounds" in done.stdout
    assert "report.html" in done.stdout
    assert "1 trial" in done.stderr


def test_json_is_the_last_line_and_all_of_standard_output(file: Path, tmp_path: Path) -> None:
    done = command("run", file, "--json", "--results", tmp_path / "results")
    told = last_line(done.stdout)
    assert done.stdout.count("\n") == 1
    assert list(told) == ["run", "fingerprint", "measures", "seconds"]
    assert Path(told["run"]).is_dir()
    again = command("run", file, "--json", "--results", tmp_path / "results")
    assert last_line(again.stdout) == told


@pytest.mark.parametrize(("name", "code"), [("SIGINT", 130), ("SIGTERM", 130), ("SIGKILL", -signal.SIGKILL)])
def test_a_run_that_was_ended_goes_on_to_the_same_end(
    file: Path, tmp_path: Path, name: str, code: int
) -> None:
    arguments = ("run", file, "--json", "--set", "swarm.cells=2", "--set", "repeats=2", "--results")
    whole = last_line(command(*arguments, tmp_path / "whole").stdout)
    mark = tmp_path / "mark"
    broken = command(*arguments, tmp_path / "broken", RUMOUR_SIGNAL=name, RUMOUR_MARK=str(mark))
    assert mark.exists()
    assert broken.returncode == code
    shown = invoke("show", "last", "--json", "--results", tmp_path / "broken")
    assert last_line(shown.stdout)["state"] == "interrupted"
    resumed = command(*arguments, tmp_path / "broken")
    assert resumed.returncode == 0
    assert "goes on from its journal" in resumed.stderr
    told = last_line(resumed.stdout)
    assert told["fingerprint"] == whole["fingerprint"]
    assert told["measures"] == whole["measures"]


def test_a_mistake_in_the_file_is_told_without_a_traceback(file: Path, tmp_path: Path) -> None:
    file.write_text(RUMOUR.read_text().replace("count", "cuont"))
    done = command("run", file, "--results", tmp_path / "results")
    assert done.returncode == 2
    assert done.stderr == f"{file}:4:48: swarm.roles.node.cuont: unknown key; did you mean 'count'?\n"
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["run", "nowhere.yaml"], "nowhere.yaml: no such file"),
        (["run", str(RUMOUR), "--address", "auto"], "add --on ray"),
        (["show", "last"], "there are no runs in"),
        (["compare", "a", "b"], "there are no runs in"),
        (["export", "a", "--to", "x"], "there are no runs in"),
    ],
)
def test_a_wrong_request_is_told_in_a_sentence(arguments: list[str], told: str, tmp_path: Path) -> None:
    result = invoke(*arguments, "--results", tmp_path / "results")
    assert result.exit_code == 2
    assert told in result.stderr
    assert "Traceback" not in result.output


def test_an_unknown_benchmark_is_told() -> None:
    result = invoke("bench", "mesaging")
    assert result.exit_code == 2
    assert "there is no benchmark 'mesaging'" in result.stderr


def test_a_failed_run_ends_with_code_1(file: Path, tmp_path: Path) -> None:
    settings = ["--set", "swarm.on_error=stop", "--set", "swarm.roles.node.parameters.fails_at=5"]
    result = invoke("run", file, *settings, "--results", tmp_path / "results")
    assert result.exit_code == 1
    assert "lost the thread" in result.stdout


def test_runs_are_listed_shown_compared_and_exported(file: Path, tmp_path: Path) -> None:
    to = ("--results", tmp_path / "results")
    assert "There are no runs" in invoke("list", *to).stdout
    for nodes in (4, 5):
        settings = ("--set", f"swarm.roles.node.parameters.nodes={nodes}", "--set", "repeats=3")
        assert invoke("run", file, *settings, *to).exit_code == 0
    listed = json.loads(invoke("list", "--json", *to).stdout)
    assert [run["state"] for run in listed] == ["done", "done"]
    assert "rumour/" in invoke("list", *to).stdout
    shown = invoke("show", "last", *to).stdout
    assert "nodes=5" in shown
    assert "fingerprint" in shown
    first, second = (Path(run["run"]).name for run in listed)
    assert invoke("compare", first, second, *to).exit_code == 0
    assert json.loads(invoke("compare", first, second, "--json", *to).stdout)
    assert invoke("export", first, "--to", tmp_path / "tables", *to).exit_code == 0
    assert (
        (tmp_path / "tables" / "metrics.csv").read_text().startswith("trial,arm,replicate,seed,now,measure")
    )
    assert (tmp_path / "tables" / "messages.csv").exists()
    assert invoke("export", first, "--to", tmp_path / "m.json", *to).exit_code == 0
    assert len(json.loads((tmp_path / "m.json").read_text())) == 180


def test_a_full_or_forbidden_disk_is_told_and_nothing_is_lost(file: Path, tmp_path: Path) -> None:
    (tmp_path / "results").touch()
    result = invoke("run", file, "--results", tmp_path / "results")
    assert result.exit_code == 1
    assert "cannot read or write" in result.stderr


@pytest.mark.parametrize("name", ["run", "list", "show", "compare", "export", "replay", "fork", "bench"])
def test_every_command_explains_itself_with_an_example(name: str) -> None:
    result = invoke(name, "--help")
    assert result.exit_code == 0
    assert f"rayswarm {name}" in result.stdout.replace("Usage: rayswarm", "", 1) or name == "bench"


def test_the_console_script_answers() -> None:
    # Beside the interpreter, where an installed environment has it; else as its entry point would call it.
    script = Path(sys.executable).with_name("rayswarm")
    command = (
        [str(script)] if script.exists() else [sys.executable, "-c", "from cluster.cli import main; main()"]
    )
    done = subprocess.run([*command, "--help"], capture_output=True, text=True, timeout=60, check=True)
    assert "experiment" in done.stdout


@pytest.mark.ray
def test_on_ray_the_dashboard_is_told_and_the_fingerprint_is_the_same(file: Path, tmp_path: Path) -> None:
    local = last_line(command("run", file, "--json", "--results", tmp_path / "results").stdout)
    arguments = (
        "run",
        file,
        "--json",
        "--on",
        "ray",
        "--address",
        "local",
        "--results",
        tmp_path / "results",
    )
    done = command(*arguments, RAY_AUTH_MODE="disabled")
    assert done.returncode == 0, done.stderr
    assert "Ray dashboard: http://" in done.stderr
    assert last_line(done.stdout)["fingerprint"] == local["fingerprint"]
