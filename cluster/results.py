"""The folder of a run: what a run leaves, found again by the same command.

    results/<experiment>/<run id>/
        manifest.json      what was run: configuration, seeds, versions, commit, machine; written once
        status.json        planned, running, done, failed or interrupted; written before each dispatch
        metrics.parquet  messages.parquet  report.html
        trials/000/        status.json  setup.json  result.json  metrics.parquet  messages.parquet  journal/

Rules:
* The run id is the start of the experiment's hash: the same experiment has the same folder.
* A file is whole or absent: written beside its place, synced, renamed over it (POSIX rename is atomic).
* `result.json` is written last in a trial; a trial that has it is done and is never computed again.
* One process at a time writes to a run. The lock is the kernel's and ends with the process, however that dies; a run
  that says `running` and is not locked was interrupted.
"""

import fcntl
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any

from actors.errors import ConfigurationError
from cluster.located_yaml import nearest

RUN_ID_DIGITS = 12
LOCK_WAIT_S = 1.0


class State(StrEnum):
    """How far a run or a trial has come."""

    PLANNED = "planned"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    INTERRUPTED = "interrupted"


@dataclass(frozen=True)
class TrialFolder:
    """The folder of one trial."""

    path: Path

    @property
    def journal(self) -> Path:
        """Where the trial's cells write; there if the trial has begun."""
        return self.path / "journal"

    @property
    def status(self) -> dict[str, Any]:
        """The trial's status; `{"state": "planned"}` before it has one."""
        file = self.path / "status.json"
        return read_json(file) if file.exists() else {"state": State.PLANNED}

    @property
    def result(self) -> dict[str, Any] | None:
        """What the trial came to; None unless it is done."""
        file = self.path / "result.json"
        return read_json(file) if file.exists() else None


@dataclass(frozen=True)
class RunFolder:
    """The folder of one run."""

    path: Path

    @property
    def name(self) -> str:
        """`experiment/run id`."""
        return f"{self.path.parent.name}/{self.path.name}"

    @property
    def manifest(self) -> dict[str, Any]:
        """What was run."""
        return read_json(self.path / "manifest.json")

    @property
    def status(self) -> dict[str, Any]:
        """How far it has come; `interrupted` if it claims to run and no process holds it."""
        file = self.path / "status.json"
        status = read_json(file) if file.exists() else {"state": State.PLANNED, "updated": ""}
        if status["state"] == State.RUNNING and not self.locked:
            status["state"] = State.INTERRUPTED
        return status

    def trial(self, number: int) -> TrialFolder:
        """The folder of a trial, made or not."""
        return TrialFolder(self.path / "trials" / f"{number:03d}")

    @property
    def trials(self) -> list[TrialFolder]:
        """The folders of all planned trials, in order."""
        return [self.trial(trial["trial"]) for trial in self.manifest["trials"]]

    @property
    def locked(self) -> bool:
        """Whether a process is at work on the run."""
        try:
            with self.lock(wait_s=0.0):
                return False
        except ConfigurationError:
            return True

    @contextmanager
    def lock(self, wait_s: float = LOCK_WAIT_S) -> Iterator[None]:
        """Holds the run for this process. Raises `ConfigurationError` if another one does."""
        file = self.path / ".lock"
        descriptor = os.open(file, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            deadline = time.monotonic() + wait_s
            while not _try_lock(descriptor):
                if time.monotonic() >= deadline:
                    owner = file.read_text().strip() or "unknown"
                    raise ConfigurationError(
                        f"{self.path}: process {owner} is at work on this run. Wait for it, or end it."
                    )
                time.sleep(0.02)  # a reader that looks whether the run is held has it for an instant
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
            yield
        finally:
            os.close(descriptor)


def run_folder(results: Path, experiment: str, digest: str, *, fresh: bool = False) -> RunFolder:
    """The folder for an experiment with a hash: the latest, or with `fresh` a new one beside it (`-2`, `-3`)."""
    run_id = digest[:RUN_ID_DIGITS]
    parent = results / experiment
    suffixes = [path.name[len(run_id) + 1 :] for path in parent.glob(f"{run_id}-*")]
    numbers = [int(suffix) for suffix in suffixes if suffix.isdigit()]
    latest = max(numbers, default=1 if (parent / run_id).exists() else 0)
    number = max(latest + 1 if fresh else latest, 1)
    return RunFolder(parent / (run_id if number == 1 else f"{run_id}-{number}"))


def runs_in(results: Path) -> list[RunFolder]:
    """All runs below a folder, the last updated first."""
    runs = [RunFolder(file.parent) for file in results.glob("*/*/manifest.json")]
    return sorted(runs, key=lambda run: (_updated(run), run.name), reverse=True)


def find_run(text: str, results: Path) -> RunFolder:
    """The run that a text means: a path, an id or its start, `experiment/id`, an experiment (its last run), or `last`.

    Raises `ConfigurationError` if there is none, or more than one.
    """
    for path in (Path(text), results / text):
        if (path / "manifest.json").is_file():
            return RunFolder(path)
    runs = runs_in(results)
    if not runs:
        raise ConfigurationError(
            f"there are no runs in {results}. Run one, or name their folder with --results"
        )
    if text == "last":
        return runs[0]
    for run in runs:
        if text == run.path.parent.name:
            return run
    found = [run for run in runs if run.path.name.startswith(text) or run.name.startswith(text)]
    if len(found) > 1 and all(run.path.name != text for run in found):
        names = ", ".join(run.name for run in found)
        raise ConfigurationError(f"'{text}' may mean {names}. Give more of it")
    if not found:
        known = [word for run in runs for word in (run.path.name, run.name, run.path.parent.name)]
        raise ConfigurationError(
            f"no run '{text}' in {results}{nearest(text, known)}. `rayswarm list` shows them all"
        )
    return next((run for run in found if run.path.name == text), found[0])


def read_json(file: Path) -> dict[str, Any]:
    """The object in a file. Raises `ConfigurationError` if it cannot be read or holds none."""
    try:
        value = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ConfigurationError(f"{file}: no such file. Is this the folder of a run?") from error
    except (OSError, ValueError) as error:
        raise ConfigurationError(
            f"{file}: cannot be read: {error}. Restore it, or run with --fresh"
        ) from error
    if not isinstance(value, dict):
        raise ConfigurationError(f"{file}: holds no JSON object. Restore it, or run with --fresh")
    return value


def write_json(file: Path, value: dict[str, Any]) -> None:
    """Writes an object, whole or not at all, through to the disk."""
    with written(file) as beside:
        beside.write_text(json.dumps(value, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


@contextmanager
def written(file: Path) -> Iterator[Path]:
    """A path to write to; at the end of the block it becomes `file`, unless the block raised."""
    file.parent.mkdir(parents=True, exist_ok=True)
    beside = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        yield beside
        _sync(beside)
        beside.replace(file)
        _sync(file.parent)
    finally:
        beside.unlink(missing_ok=True)


def now() -> str:
    """The time, in UTC, as ISO 8601 to the millisecond."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def _updated(run: RunFolder) -> str:
    file = run.path / "status.json"
    return str(read_json(file).get("updated", "")) if file.exists() else ""


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
