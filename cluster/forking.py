"""Forks a run: a run of its own beside the old one, with the same past and other settings from a message on.

The fork's folder is named after the run, the trial, the message and the settings, so the same command finds it again
and goes on with it. Its only trial holds the configuration of the past too, in `before.json`. A memory is branched
(`memory/branch.py`): the fork's begins with what the turns in its journal had written.
"""

import asyncio
import shlex
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import msgspec

from actors.entry import Took
from actors.errors import ConfigurationError
from actors.fork import fork_journal
from actors.plan import Plan
from actors.replay import entries_of, placement_in
from cluster.experiment import Experiment, canonical_json
from cluster.located_yaml import Document
from cluster.model_section import name_model
from cluster.provenance import git_commit, machine, versions
from cluster.results import RunFolder, TrialFolder, now, read_json, write_json
from cluster.run_memory import FOLDER, SHARD, origin_of
from cluster.run_model import take_answers
from cluster.runner import Observer, Summary, run_missing, trial_plan
from memory.branch import branch
from memory.errors import MemoryFault


@dataclass(frozen=True)
class ForkRequest:
    """What to fork."""

    run: RunFolder
    trial: int
    at: str
    """The id of a message that some agent took."""
    settings: Sequence[str] = ()
    """`path=value`, as for a run."""


def fork_run(request: ForkRequest, observer: Observer) -> Summary:
    """Forks a run and runs the fork to its end, or goes on with it. Raises `ConfigurationError` for a bad request."""
    parent = request.run.trial(request.trial)
    old, old_plan = trial_plan(request.run, request.trial, journal=parent.journal)
    placement = placement_in(parent.journal, old_plan)
    document = Document(dict(old.configuration()), {}, "the run's configuration")
    for setting in request.settings:
        name_model(document)
        document.assign(setting)
    document.assign(f"swarm.cells={placement.packed}")
    document.assign("on=local")
    document.assign(f"swarm.limits.dedicated_agents={old.swarm.limits.dedicated_agents}")
    new = Experiment.of(document.value, "the fork's configuration")
    if new.swarm.schedule != old.swarm.schedule or new.swarm.roles.keys() != old.swarm.roles.keys():
        raise ConfigurationError("a fork keeps the schedule and the roles of its run: leave them as they are")
    if new.memory not in (None, old.memory):
        raise ConfigurationError("a fork keeps its run's memory, or has none (--set memory=false)")
    what = canonical_json([request.trial, request.at, list(request.settings)])
    name = f"{request.run.path.name}-fork-{sha256(what.encode()).hexdigest()[:6]}"
    folder = RunFolder(request.run.path.with_name(name))
    if not (folder.path / "manifest.json").exists():
        _begin(request, folder, old, new)
    with folder.lock():
        return run_missing(new, folder, None, observer)


def _branch_memory(request: ForkRequest, plan: Plan, parent: TrialFolder, trial: TrialFolder) -> None:
    """Puts the memory beside the fork's journal, as the turns in that had left it."""
    memory = parent.path / FOLDER / SHARD
    if not memory.is_dir():
        raise ConfigurationError(
            f"the run's memory is not in {memory}: removed, or on the disk of another node. Fork without one (--set "
            "memory=false) if the agents can do without."
        )
    if request.at not in {line.message.message_id for line in _turns_in(parent.journal, plan)}:
        raise ConfigurationError(
            f"{request.at} is an answer within a turn, and what that turn wrote into memory before it and after it is "
            "not told apart: fork at a message that begins a turn"
        )
    kept = {origin_of(line.address, line.message) for line in _turns_in(trial.journal, plan)}
    try:
        branch(memory, trial.path / FOLDER / SHARD, kept)
    except MemoryFault as error:
        raise ConfigurationError(
            f"the memory cannot be taken back to {request.at}: {error} Or fork without one (--set memory=false), if "
            "the agents can do without."
        ) from error


def _turns_in(journal: Path, plan: Plan) -> Iterator[Took]:
    """The beginnings of all turns."""
    for cell in range(placement_in(journal, plan).cells):
        for line in entries_of(journal, cell):
            if isinstance(line, Took):
                yield line


def _begin(request: ForkRequest, folder: RunFolder, old: Experiment, new: Experiment) -> None:
    """Writes the fork's folder beside its place and moves it there whole."""
    beside = folder.path.with_name(f".{folder.path.name}.new")
    shutil.rmtree(beside, ignore_errors=True)
    fresh = RunFolder(beside)
    trial = fresh.trial(0)
    trial.path.mkdir(parents=True)
    parent = request.run.trial(request.trial)
    _, plan = trial_plan(request.run, request.trial, journal=parent.journal)
    point = asyncio.run(fork_journal(parent.journal, plan, request.at, trial.journal))
    if new.memory is not None:
        _branch_memory(request, plan, parent, trial)
    write_json(trial.path / "configuration.json", new.configuration())
    write_json(trial.path / "before.json", old.configuration())
    take_answers(parent.path, trial.path)
    options = [word for setting in request.settings for word in ("--set", setting)]
    words = [
        "rayswarm",
        "fork",
        request.run.name,
        "--trial",
        str(request.trial),
        "--at",
        request.at,
        *options,
    ]
    manifest = read_json(request.run.path / "manifest.json")
    write_json(
        beside / "manifest.json",
        {
            **manifest,
            "run": folder.path.name,
            "configuration": new.configuration(),
            "configuration_hash": new.hash,
            "command": shlex.join(words),
            "settings": list(request.settings),
            "forked": {"run": request.run.name, "trial": request.trial, **msgspec.to_builtins(point)},
            "seed": new.seed,
            "seeds": [new.seed],
            "trials": [{"trial": 0, "arm": {}, "replicate": 0, "seed": new.seed}],
            "versions": versions(),
            "git": git_commit(Path(str(manifest["file"])).parent),
            "machine": machine(),
            "created": now(),
        },
    )
    beside.rename(folder.path)
