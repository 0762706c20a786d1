"""Runs an experiment: its trials one after another, each into its folder, and then the tables and the report.

Rules:
* Nothing is computed twice: a trial with a result is skipped, one with a journal goes on from it.
* What is wrong with the experiment is found before anything is written.
* A trial that fails does not stop the others; the run has then failed. The next run of the same command tries it
  again: from its journal, unless an agent's error ended it, for the journal would lead to the same error.
* Status is on disk before a trial is dispatched and after it ends, whatever ends it.
"""

import asyncio
import math
import os
import platform
import shlex
import signal
import threading
import traceback
from asyncio import CancelledError
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path
from typing import Any, Protocol

import polars as pl

from actors.errors import HandlerFailed, SwarmError
from actors.plan import Plan
from cluster.assembly import completed, plan_of
from cluster.experiment import Experiment
from cluster.provenance import git_commit, machine, versions
from cluster.report import write_report
from cluster.results import RunFolder, State, TrialFolder, now, read_json, run_folder, write_json, written
from cluster.run_model import RunModels, join_recordings, needs_ray
from cluster.sweep import Trial
from cluster.tables import arm_key
from cluster.trial import TrialObserver, run_trial, save_state


@dataclass(frozen=True)
class Request:
    """What is to be run, and how it was asked for."""

    experiment: Experiment
    file: str
    """The experiment's file, as the user named it."""
    settings: Sequence[str] = ()
    """What was set over the file, as `path=value`."""
    results: Path = Path("results")
    address: str | None = None
    """Of a Ray cluster. Not part of the experiment: where it runs changes nothing in it."""
    fresh: bool = False


class Observer(TrialObserver, Protocol):
    """Somebody who watches a run."""

    def run_begins(self, folder: RunFolder, trials: int, done: int) -> None:
        """So many trials are planned, so many of them are done already."""

    def note(self, text: str) -> None:
        """Something that the user should know."""

    def trial_begins(self, trial: Trial, trials: int) -> None:
        """A trial is dispatched."""

    def trial_ended(self, trial: Trial, state: State) -> None:
        """A trial has ended, or was interrupted."""


@dataclass(frozen=True)
class Summary:
    """What a run has come to."""

    folder: RunFolder
    state: State
    results: Sequence[dict[str, Any]]
    """The `result.json` of each trial that is done, in order."""
    errors: dict[int, str] = field(default_factory=dict)
    """The trials that failed, and why."""

    @property
    def fingerprint(self) -> str:
        """That of the only trial; of several, the SHA-256 of theirs in order. Empty if one has none."""
        prints = [str(result["fingerprint"]) for result in self.results]
        if len(prints) == 1:
            return prints[0]
        return sha256("".join(prints).encode()).hexdigest() if prints and all(prints) else ""

    @property
    def seconds(self) -> float:
        """Wall time of all trials together."""
        return round(sum(float(result["seconds"]) for result in self.results), 3)

    @property
    def measures(self) -> dict[str, Any]:
        """For each measure its value, the mean over the replicates; with several arms, for each arm."""
        sums: dict[str, dict[str, list[float]]] = {}
        arms = {arm_key(result["arm"]) for result in self.results}
        for result in self.results:
            for measure, value in result["measures"].items():
                sums.setdefault(measure, {}).setdefault(arm_key(result["arm"]), []).append(value)
        means = {
            measure: {arm: sum(values) / len(values) for arm, values in by_arm.items()}
            for measure, by_arm in sums.items()
        }
        return means if len(arms) > 1 else {measure: next(iter(of.values())) for measure, of in means.items()}

    def to_json(self) -> dict[str, Any]:
        """The last line of `rayswarm run --json`."""
        return {
            "run": str(self.folder.path),
            "fingerprint": self.fingerprint,
            "measures": _finite(self.measures),
            "seconds": self.seconds,
        }


def run_experiment(request: Request, observer: Observer) -> Summary:
    """Runs what is missing of an experiment. Raises `ConfigurationError` if it cannot be run at all.

    Ctrl-C and SIGTERM end it in good order: the summary then says `interrupted`, and the same call goes on.
    """
    experiment = request.experiment
    folder = run_folder(request.results, experiment.name, experiment.hash, fresh=request.fresh)
    missing = [trial for trial in experiment.trials if folder.trial(trial.number).result is None]
    if missing:
        _prepared(experiment, missing[0], folder)
        RunModels(folder, Path(request.file)).check_arms(experiment, missing)
    folder.path.mkdir(parents=True, exist_ok=True)
    with folder.lock():
        _write_manifest(request, folder, observer)
        return run_missing(experiment, folder, request.address, observer)


def run_missing(
    experiment: Experiment, folder: RunFolder, address: str | None, observer: Observer
) -> Summary:
    """Runs what is missing in a run's folder, which this process holds."""
    run = _Run(experiment, folder, observer)
    missing = [trial for trial in run.trials if folder.trial(trial.number).result is None]
    observer.run_begins(folder, len(run.trials), len(run.trials) - len(missing))
    try:
        with _ray_for(missing, experiment, address, observer):
            asyncio.run(run.trials_missing(missing))
    except (KeyboardInterrupt, CancelledError):
        run.interrupted = True
    return run.finish()


def summary_of(folder: RunFolder) -> Summary:
    """What a run has come to so far, from its folder."""
    trials = folder.trials
    results = [result for trial in trials if (result := trial.result) is not None]
    errors = {
        number: str(status.get("error", ""))
        for number, trial in enumerate(trials)
        if (status := trial.status)["state"] == State.FAILED
    }
    return Summary(folder, State(folder.status["state"]), results, errors)


def trial_plan(folder: RunFolder, number: int, *, journal: Path | None) -> tuple[Experiment, Plan]:
    """The experiment and the plan of a trial that has begun, as they were; for replay. Raises `ConfigurationError`."""
    configuration = read_json(folder.trial(number).path / "configuration.json")
    experiment = Experiment.of(configuration, str(folder.trial(number).path / "configuration.json"))
    plan = plan_of(experiment, run_id=_run_id(folder, number), journal=journal)
    before = folder.trial(number).path / "before.json"
    if before.exists():  # a fork: its past followed another configuration
        past = Experiment.of(read_json(before), str(before))
        plan = replace(plan, before=plan_of(past, run_id=_run_id(folder, number), journal=journal))
    return experiment, plan


class _Run:
    """A run in progress."""

    def __init__(self, experiment: Experiment, folder: RunFolder, observer: Observer) -> None:
        self.experiment = experiment
        self.folder = folder
        self.observer = observer
        self.trials = experiment.trials
        self.states = [State(folder.trial(trial.number).status["state"]) for trial in self.trials]
        self.interrupted = False
        self.fresh_results = False
        self.attempted = False

    async def trials_missing(self, missing: Sequence[Trial]) -> None:
        """Runs the trials that are not done."""
        self._save(State.RUNNING if missing else State.DONE)
        models = RunModels(self.folder, Path(str(self.folder.manifest["file"])), self.observer.note)
        try:
            with _sigterm_cancels():
                for trial in missing:
                    self.observer.trial_begins(trial, len(self.trials))
                    self.states[trial.number] = State.RUNNING
                    self._save(State.RUNNING)
                    try:
                        self.states[trial.number] = State.INTERRUPTED
                        self.states[trial.number] = await self._attempt(trial, models)
                    finally:
                        self.observer.trial_ended(trial, self.states[trial.number])
        finally:
            await models.aclose()

    async def _attempt(self, trial: Trial, models: RunModels) -> State:
        folder = self.folder.trial(trial.number)
        self.attempted = True
        try:
            experiment, plan = _prepared(self.experiment, trial, self.folder)
            write_json(folder.path / "configuration.json", experiment.configuration())
            await run_trial(trial, experiment, plan, folder, models, observer=self.observer)
            self.fresh_results = True
            return State.DONE
        except (KeyboardInterrupt, CancelledError):
            save_state(folder, trial, State.INTERRUPTED)
            raise
        except OSError:
            raise  # the disk: no further trial could be written either
        except SwarmError as error:
            save_state(folder, trial, State.FAILED, str(error))
            if isinstance(error, HandlerFailed):
                _set_aside(folder)
        except Exception:  # of Ray, or a fault of ours: it is told with its place, and the other trials go on
            save_state(folder, trial, State.FAILED, traceback.format_exc())
        return State.FAILED

    def finish(self) -> Summary:
        """Writes the tables, the status and the report of what there is."""
        summary = summary_of(self.folder)
        if self.interrupted:
            state = State.INTERRUPTED
        else:
            state = State.FAILED if len(summary.results) < len(self.trials) else State.DONE
        if summary.results and (self.fresh_results or not (self.folder.path / "report.html").exists()):
            for table in ("metrics.parquet", "messages.parquet"):
                _join(self.folder, table)
            self._save(state)
            write_report(self.folder.path)
        else:
            self._save(state)
        if self.attempted:
            join_recordings(self.folder)
        return Summary(self.folder, state, summary.results, summary.errors)

    def _save(self, state: State) -> None:
        counts = Counter(map(str, self.states))
        status = {"state": state, "updated": now(), "trials": dict(counts), "process": os.getpid()}
        write_json(self.folder.path / "status.json", status)


@contextmanager
def _ray_for(
    trials: Sequence[Trial], experiment: Experiment, address: str | None, observer: Observer
) -> Iterator[None]:
    """Holds Ray while the trials run, if any of them runs on it: to start it for each would take seconds of each."""
    if not any(needs_ray(experiment.of_trial(trial)) for trial in trials):
        yield
        return
    # Ray is imported by who runs on it: it takes half a second.
    from actors.ray_session import ray_session  # noqa: PLC0415 - the reason is above

    with ray_session(address) as session:
        if session.dashboard is not None:
            observer.note(f"Ray dashboard: {session.dashboard}")
        yield


def _prepared(experiment: Experiment, trial: Trial, folder: RunFolder) -> tuple[Experiment, Plan]:
    """A trial's own experiment, completed, and its plan: as kept if the trial has begun, else made now."""
    path = folder.trial(trial.number).path
    if (path / "journal").exists() and (path / "configuration.json").exists():
        return trial_plan(folder, trial.number, journal=path / "journal")
    own = completed(experiment.of_trial(trial))
    return own, plan_of(own, run_id=_run_id(folder, trial.number), journal=path / "journal")


def _finite(value: Any) -> Any:
    """JSON has no infinities and no not-a-number: they become null."""
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    return value if math.isfinite(value) else None


def _run_id(folder: RunFolder, number: int) -> str:
    """Of this folder alone: the same experiment may run from two folders, on one Ray cluster, at the same time."""
    place = sha256(f"{platform.node()}:{folder.path.resolve()}".encode()).hexdigest()[:6]
    return f"{folder.path.parent.name}-{folder.path.name}-{number:03d}-{place}"


def _write_manifest(request: Request, folder: RunFolder, observer: Observer) -> None:
    """Writes the manifest of a new run; of an old one, says where the code has changed since."""
    source = git_commit(Path(request.file).parent)
    file = folder.path / "manifest.json"
    if file.exists():
        before = read_json(file)
        if before.get("git") != source or before.get("versions") != versions():
            observer.note("The code or the packages have changed since this run began; --fresh runs it anew.")
        return
    experiment = request.experiment
    trials = experiment.trials
    options = [word for setting in request.settings for word in ("--set", setting)]
    write_json(
        file,
        {
            "experiment": experiment.name,
            "run": folder.path.name,
            "configuration_hash": experiment.hash,
            "description": experiment.description,
            "file": request.file,
            "settings": list(request.settings),
            "command": shlex.join(["rayswarm", "run", request.file, *options]),
            "seed": experiment.seed,
            "configuration": experiment.configuration(),
            "seeds": list(dict.fromkeys(trial.seed for trial in trials)),
            "trials": [
                {"trial": trial.number, "arm": trial.arm, "replicate": trial.replicate, "seed": trial.seed}
                for trial in trials
            ],
            "versions": versions(),
            "git": source,
            "machine": machine(),
            "created": now(),
        },
    )


def _join(folder: RunFolder, table: str) -> None:
    """Makes one table of those of the trials."""
    files = [trial.path / table for trial in folder.trials if trial.result is not None]
    with written(folder.path / table) as beside:
        pl.concat([pl.read_parquet(file) for file in files]).write_parquet(beside, compression="zstd")


def _set_aside(folder: TrialFolder) -> None:
    """Keeps the journal of a failed trial, for replay, out of the way of the next attempt."""
    if folder.journal.exists():
        kept = [
            int(path.suffix[1:]) for path in folder.path.glob("journal-failed.*") if path.suffix[1:].isdigit()
        ]
        folder.journal.rename(folder.path / f"journal-failed.{max(kept, default=0) + 1}")


@contextmanager
def _sigterm_cancels() -> Iterator[None]:
    """While inside, SIGTERM cancels the running task, as Ctrl-C does; where signals can be taken, the main thread."""
    task = asyncio.current_task()
    if task is None or threading.current_thread() is not threading.main_thread():
        yield
        return
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, task.cancel)
    try:
        yield
    finally:
        loop.remove_signal_handler(signal.SIGTERM)
