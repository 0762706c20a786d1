"""The language model of a run: opened when a trial needs it, seated in its plan, its cost told, closed with the run.

Rules:
* The model is opened once for all trials that have the same one: an engine takes minutes to load. Each trial has a
  queue, a rate, a budget and books of its own before it (`cluster/accounted.py`): in this process, or on Ray in an
  actor (`cluster/ray_model.py`), so that all cells share them.
* A trial that goes on, or is tried again, goes on with its books: what was answered is not asked again, and what was
  spent is spent. Only `--fresh` begins without.
* In a replay agents have their seats, and nothing behind them: what the model said comes from the journal.
* A fork has the answers of its run, so what it asks as its run did is not paid for again. Its budget is its own.
* Every key is where it was: in no file of the run.
"""

import asyncio
import shutil
import socket
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec

from actors.context import Context
from actors.errors import ConfigurationError, SwarmError
from actors.llm_seat import LLMSeats
from actors.plan import Plan
from cluster.accounted import AccountedLLM, Bounds
from cluster.experiment import Experiment, canonical_json
from cluster.model_section import ModelSection, found_line
from cluster.results import RunFolder, write_json, written
from cluster.sweep import Trial
from inference.completion import Completion
from inference.errors import LLMError
from inference.limits import Rate
from inference.llm import BaseLLM
from inference.model_plan import ModelPlan
from inference.ollama import DEFAULT_URL
from inference.provider import RECORDING, ModelSpec, parse_model
from inference.request import Request
from inference.service import open_recorded
from inference.telemetry import ObservedLLM

_LISTENING_S = 5.0
CHECKED_HERE = ("scripted", "replay", "openai", "ollama")
"""Providers whose models open at once, so that a run can look before it begins."""


class ClosedLLM(BaseLLM):
    """Stands where a model would: in a plan that is replayed, or not yet run."""

    @property
    def identity(self) -> str:
        """None has been opened."""
        return "closed"

    async def complete(self, request: Request) -> Completion:
        """Nobody is there."""
        raise SwarmError("this swarm's model is not open: it is while a trial runs (`rayswarm run`)")


def needs_ray(experiment: Experiment) -> bool:
    """Whether an experiment takes Ray: it runs there, or its model is one that actors serve."""
    section = experiment.model
    return experiment.on == "ray" or (section is not None and parse_model(section.name).provider == "vllm")


def closed_model_seats(experiment: Experiment) -> dict[str, Callable[[Context], Any]]:
    """Seats for a plan that does not run; none if the experiment has no model."""
    return {} if experiment.model is None else {"llm": LLMSeats(ClosedLLM())}


class RunModels:
    """The models of a run, one open at a time: trials of one arm follow one another."""

    def __init__(self, folder: RunFolder, file: Path, note: Callable[[str], None] = print) -> None:
        """`file` is the experiment's: paths are looked for beside it. `note` hears what the user should know."""
        self._folder = folder
        self._note = note
        self._base = file.resolve().parent  # absolute: a process on Ray has a working folder of its own
        self._key = ""
        self._model: Any = None
        """The model; on Ray the actor that holds it, a `NamedService`."""

    def check_arms(self, experiment: Experiment, trials: Sequence[Trial]) -> None:
        """Looks whether the models of trials can be opened, where that is fast. Raises `ConfigurationError`."""
        if experiment.model is None and not any(path.startswith("model") for path in experiment.sweep):
            return
        sections: dict[str, ModelSection] = {}
        for trial in {canonical_json(trial.arm): trial for trial in trials}.values():
            section = experiment.of_trial(trial).model
            if section is not None:
                sections[section.model_dump_json()] = section
        for section in sections.values():
            plan = self._plan(section)
            if plan.spec.provider in CHECKED_HERE and plan.mode == "live":
                asyncio.run(_closed_again(plan))
            if plan.mode != "replay" and experiment.on == "local":
                _check_listening(plan.spec)

    async def opened(self, experiment: Experiment) -> tuple[Any, ModelPlan]:
        """The model of a trial's experiment, and its plan; a model that was open for other trials is closed."""
        section = experiment.model
        assert section is not None
        plan = self._plan(section)
        key = canonical_json([experiment.on, section.model_dump()])
        if self._model is not None and key == self._key:
            return self._model, plan
        await self.aclose()
        with _told():
            if experiment.on == "ray":
                self._model = await asyncio.to_thread(_started, plan)
            elif needs_ray(experiment):  # its engine starts in minutes
                self._model = ObservedLLM(await asyncio.to_thread(open_recorded, plan), plan.spec)
            else:
                self._model = ObservedLLM(open_recorded(plan), plan.spec)
        self._key = key
        described = await asyncio.to_thread(self._model.describe)
        self._write_down(section, plan, self._model.identity, described)
        return self._model, plan

    async def aclose(self) -> None:
        """Closes what is open. It may be called twice."""
        model, self._model = self._model, None
        if isinstance(model, BaseLLM):
            await model.aclose()
        elif model is not None:
            await asyncio.to_thread(model.stop)

    def _plan(self, section: ModelSection) -> ModelPlan:
        with _told():
            return section.plan(found_line(section, self._base, self._folder.path.parents[1]), self._base)

    def _write_down(
        self, section: ModelSection, plan: ModelPlan, identity: str, described: dict[str, Any]
    ) -> None:
        """Says in the manifest which model it was."""
        manifest = self._folder.manifest
        told = {
            "identity": identity,
            "price_known": plan.known_price is not None,
            "engine": {name: value for name, value in described.items() if name != "identity"},
            "plan": {name: value for name, value in plan.described().items() if name != "budget"},
        }
        before = manifest.get("models", {}).get(section.name)
        if before is not None and before.get("identity") != told["identity"]:
            self._note(f"The model {section.name} has changed since this run began; --fresh runs it anew.")
        models = {**manifest.get("models", {}), section.name: told}
        write_json(self._folder.path / "manifest.json", {**manifest, "models": models})


@asynccontextmanager
async def with_model(
    experiment: Experiment, plan: Plan, trial: Path, models: RunModels
) -> AsyncIterator[Plan]:
    """The plan with its model's seats, if the experiment has one; the trial's books are closed at the end."""
    section = experiment.model
    if section is None:
        yield plan
        return
    model, served = await models.opened(experiment)
    opened = _on_ray if experiment.on == "ray" else _here
    async with opened(model, served, experiment, trial) as accounted:
        yield _seated(plan, LLMSeats(accounted, section.seed))


def _seated(plan: Plan, seats: LLMSeats) -> Plan:
    """The plan with these seats; a fork's past too, whose last calls had not ended when it was cut."""
    before = plan.before
    if before is not None and "llm" in before.seats:
        before = replace(before, seats={**before.seats, "llm": seats})
    return replace(plan, seats={**plan.seats, "llm": seats}, before=before)


@asynccontextmanager
async def _here(
    model: BaseLLM, served: ModelPlan, experiment: Experiment, trial: Path
) -> AsyncIterator[BaseLLM]:
    with _told():
        accounted = AccountedLLM(model, trial, _bounds(experiment, served))
    try:
        yield accounted
    finally:
        await accounted.aclose()


@asynccontextmanager
async def _on_ray(
    model: Any, served: ModelPlan, experiment: Experiment, trial: Path
) -> AsyncIterator[BaseLLM]:
    # Ray is imported by who runs on it: it takes half a second.
    from cluster.ray_model import door_of, start_accounts  # noqa: PLC0415 - the reason is above

    with _told():
        accounts = await asyncio.to_thread(start_accounts, model, trial, _bounds(experiment, served))
    try:
        yield door_of(accounts)
    finally:
        await asyncio.to_thread(accounts.stop)


def _bounds(experiment: Experiment, served: ModelPlan) -> Bounds:
    """What holds a trial's calls back."""
    rate = Rate() if served.mode == "replay" else served.rate
    return Bounds(experiment.budget.limits(), served.known_price, served.limits, rate)


def _started(plan: ModelPlan) -> Any:
    from cluster.ray_model import start_model  # noqa: PLC0415 - it imports Ray: see `_on_ray`

    return start_model(plan)


async def _closed_again(plan: ModelPlan) -> None:
    with _told():
        model = open_recorded(plan)
    await model.aclose()


def _check_listening(spec: ModelSpec) -> None:
    """Raises `ConfigurationError` if nobody listens at an address of this machine: calls would be tried for minutes."""
    url = urlsplit(spec.place or (DEFAULT_URL if spec.provider == "ollama" else ""))
    if spec.provider not in ("openai", "ollama") or url.hostname not in ("localhost", "127.0.0.1", "::1"):
        return
    port = url.port or (443 if url.scheme == "https" else 80)
    try:
        socket.create_connection((url.hostname, port), _LISTENING_S).close()
    except OSError as error:
        raise ConfigurationError(
            f"model: nobody listens at {url.hostname}:{port} for {spec} ({error.strerror or error}): start the server, "
            f"or mend the address"
        ) from None


@contextmanager
def _told() -> Iterator[None]:
    """What opening a model raises, as the command line's own error."""
    try:
        yield
    except LLMError as error:
        text = str(error)
        raise ConfigurationError(text if text.startswith("model") else f"model: {text}") from error


def join_recordings(folder: RunFolder) -> None:
    """Makes one recording of those of the trials, for `replay:RUN`. An answer that several have is there once."""
    files = [file for trial in folder.trials if (file := trial.path / RECORDING).exists()]
    if not files:
        return
    seen: set[tuple[str, int]] = set()
    with written(folder.path / RECORDING) as beside, beside.open("wb") as joined:
        for number, file in enumerate(files):
            for line in _lines(file, header=number == 0):
                place = msgspec.json.decode(line, type=_Place)
                if not place.key or (place.key, place.occurrence) not in seen:
                    seen.add((place.key, place.occurrence))
                    joined.write(line)


class _Place(msgspec.Struct):
    key: str = ""
    occurrence: int = 0


def _lines(file: Path, *, header: bool) -> Iterator[bytes]:
    """The whole lines of a recording."""
    with file.open("rb") as lines:
        for number, line in enumerate(lines):
            if line.endswith(b"\n") and (number or header):
                yield line


def take_answers(parent: Path, trial: Path) -> None:
    """Gives a fork's trial the answers of its run."""
    if (parent / RECORDING).exists():
        shutil.copyfile(parent / RECORDING, trial / RECORDING)
