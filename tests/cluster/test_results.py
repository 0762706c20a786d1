import json
import subprocess
import sys
from pathlib import Path

import pytest

from actors.errors import ConfigurationError
from cluster.results import RunFolder, State, find_run, read_json, run_folder, runs_in, write_json, written


def make_run(results: Path, name: str, updated: str, state: State = State.DONE) -> RunFolder:
    folder = RunFolder(results / name)
    write_json(folder.path / "manifest.json", {"trials": [{"trial": 0}]})
    write_json(folder.path / "status.json", {"state": state, "updated": updated})
    return folder


def test_a_file_that_was_not_finished_leaves_the_old_one(tmp_path: Path) -> None:
    file = tmp_path / "status.json"
    write_json(file, {"n": 1})
    with pytest.raises(UnicodeEncodeError), written(file) as beside:
        beside.write_text("half \udcff", encoding="utf-8")
    assert read_json(file) == {"n": 1}
    assert [path.name for path in tmp_path.iterdir()] == ["status.json"]


@pytest.mark.parametrize("content", ["", "{", "[1]", "\ufeff{"])
def test_a_damaged_file_is_told_with_the_mend(tmp_path: Path, content: str) -> None:
    (tmp_path / "status.json").write_text(content)
    with pytest.raises(ConfigurationError, match=r"status\.json: .*--fresh"):
        read_json(tmp_path / "status.json")


def test_the_same_hash_has_the_same_folder_and_fresh_ones_stand_beside_it(tmp_path: Path) -> None:
    digest = "0123456789abcdef" * 4
    first = run_folder(tmp_path, "x", digest)
    assert first.path == tmp_path / "x" / "0123456789ab"
    first.path.mkdir(parents=True)
    assert run_folder(tmp_path, "x", digest) == first
    second = run_folder(tmp_path, "x", digest, fresh=True)
    assert second.path.name == "0123456789ab-2"
    second.path.mkdir()
    assert run_folder(tmp_path, "x", digest) == second
    assert run_folder(tmp_path, "x", digest, fresh=True).path.name == "0123456789ab-3"


def test_a_fresh_run_of_what_never_ran_has_the_plain_name(tmp_path: Path) -> None:
    assert run_folder(tmp_path, "x", "f" * 64, fresh=True).path.name == "f" * 12


def test_runs_are_listed_from_the_last_updated(tmp_path: Path) -> None:
    make_run(tmp_path, "x/aaa1", "2026-01-01")
    make_run(tmp_path, "y/bbb2", "2026-01-03")
    make_run(tmp_path, "x/ccc3", "2026-01-02")
    assert [run.name for run in runs_in(tmp_path)] == ["y/bbb2", "x/ccc3", "x/aaa1"]


def test_a_run_is_found_by_path_id_start_experiment_and_last(tmp_path: Path) -> None:
    older = make_run(tmp_path, "x/abc1", "2026-01-01")
    newer = make_run(tmp_path, "x/abd2", "2026-01-02")
    other = make_run(tmp_path, "y/abc1-2", "2025-01-01")
    assert find_run(str(older.path), tmp_path) == older
    assert find_run("x/abc1", tmp_path) == older
    assert find_run("abd", tmp_path) == newer
    assert find_run("abc1", tmp_path) == older
    assert find_run("y", tmp_path) == other
    assert find_run("last", tmp_path) == newer


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("ab", "may mean x/abd2, x/abc1. Give more"),
        ("abx1", "did you mean 'abc1'"),
        ("zzz", "`rayswarm list`"),
    ],
)
def test_a_run_that_is_not_found_or_not_one_is_told(tmp_path: Path, text: str, told: str) -> None:
    make_run(tmp_path, "x/abc1", "2026-01-01")
    make_run(tmp_path, "x/abd2", "2026-01-02")
    with pytest.raises(ConfigurationError) as raised:
        find_run(text, tmp_path)
    assert told in str(raised.value)


def test_without_runs_the_error_names_the_folder(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="there are no runs in"):
        find_run("last", tmp_path)


def test_two_processes_cannot_work_on_one_run(tmp_path: Path) -> None:
    folder = make_run(tmp_path, "x/abc1", "", State.RUNNING)
    program = (
        "import sys; from pathlib import Path; from cluster.results import RunFolder\n"
        "with RunFolder(Path(sys.argv[1])).lock(): print('held', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, str(folder.path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        assert folder.status["state"] == State.RUNNING
        with (
            pytest.raises(ConfigurationError, match=f"process {other.pid} is at work"),
            folder.lock(wait_s=0.0),
        ):
            pass
        other.kill()
        other.communicate()
    assert folder.status["state"] == State.INTERRUPTED
    with folder.lock():
        assert folder.locked


def test_a_status_is_plain_json(tmp_path: Path) -> None:
    folder = make_run(tmp_path, "x/abc1", "2026-01-01", State.FAILED)
    assert json.loads((folder.path / "status.json").read_text())["state"] == "failed"
