"""Opening a memory from the command line, and telling what goes wrong there in the command line's own errors.

Rules:
* Whoever reads names a memory that exists: a misspelt folder must not become an empty memory.
* A wrong request (`InvalidItem`, `UnknownItem`, ...) is the user's and ends with exit code 2; a store that is locked,
  full or corrupt with 1. What the memory says of it is passed on whole.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from actors.errors import ConfigurationError, SwarmError
from cluster.experiment import Experiment
from cluster.results import RunFolder, read_json
from cluster.run_memory import FOLDER, made_embedder, swarm_scope
from inference.embedder import EmbedderError
from memory.errors import (
    Conflict,
    EmbedderMismatch,
    InvalidItem,
    InvalidScope,
    MemoryFault,
    NotAllowed,
    UnknownItem,
    UnknownScope,
)
from memory.memory import Memory
from memory.scope import Scope

DATABASE = "memory.sqlite"
_REQUESTS = (InvalidItem, InvalidScope, UnknownScope, UnknownItem, NotAllowed, Conflict, EmbedderMismatch)


@contextmanager
def opened_memory(folder: Path, embedder: str | None = None, *, new: bool = False) -> Iterator[Memory]:
    """The memory in a folder, closed at the end of the block; with `new` it is made if there is none.

    `embedder`: `module:name` of a function that makes it, else the built-in one. A folder of shards is opened if it has
    one. Raises `ConfigurationError` or `SwarmError` for all that goes wrong, in the block too.
    """
    place = _shard_of(folder)
    if not new and not (place / DATABASE).is_file():
        raise ConfigurationError(
            f"there is no memory in {folder}: name its folder (--at DIR), or make one with `rayswarm memory add`"
        )
    with told_faults(), Memory.open(place, None if embedder is None else made_embedder(embedder)) as memory:
        yield memory


@contextmanager
def told_faults() -> Iterator[None]:
    """Turns what a memory raises into the errors that the command line tells."""
    try:
        yield
    except _REQUESTS as error:
        raise ConfigurationError(str(error)) from error
    except (MemoryFault, EmbedderError) as error:
        raise SwarmError(str(error)) from error


@dataclass(frozen=True)
class TrialMemory:
    """Where a trial's memory lies, and as whom all of its swarm sees it."""

    folder: Path
    embedder: str | None
    swarm: Scope


def memory_of_trial(run: RunFolder, number: int | None) -> TrialMemory:
    """The memory that a trial left: the first that has one, or the one named. `ConfigurationError` if there is none."""
    trials = run.trials
    if number is not None and not 0 <= number < len(trials):
        raise ConfigurationError(f"{run.name} has no trial {number}: it has {len(trials)}, counted from 0")
    for trial in trials if number is None else [trials[number]]:
        folder = trial.path / FOLDER
        if (_shard_of(folder) / DATABASE).is_file():
            file = trial.path / "configuration.json"
            experiment = Experiment.of(read_json(file), str(file))
            if experiment.memory is not None:
                return TrialMemory(
                    folder, experiment.memory.embedder, swarm_scope(experiment.memory, experiment.name)
                )
    raise ConfigurationError(
        f"{run.name} left no memory: give its experiment one (`memory: true`), and run it anew"
    )


def _shard_of(folder: Path) -> Path:
    """The folder itself, or the one shard in it."""
    shards = sorted(folder.glob("shard-*/" + DATABASE))
    if (folder / DATABASE).exists() or not shards:
        return folder
    if len(shards) > 1:
        names = ", ".join(shard.parent.name for shard in shards)
        raise ConfigurationError(f"{folder} has several shards: name one of them: {names}")
    return shards[0].parent
