"""An experiment: a validated description of a swarm, its faults, its end, and the sweep over any of its values.

Rules:
* An experiment is checked whole before anything runs, and everything wrong with it is told at once. Each problem has
  its place (`file:line:column`, or the `--set` it came from), its path, the fault and the mend.
* An unknown key is an error: a misspelt factor must not become an experiment without it.
* Values are not coerced: `count: "3"` is text and an error (pydantic in strict mode, over JSON).
* Two experiments with the same `hash` are the same experiment: the hash covers every value that differs from its
  default, except the description.
"""

import dataclasses
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from actors.address import role_of
from actors.errors import ConfigurationError
from actors.faults import fault_from
from actors.plan import Limits
from actors.topology import topology_from
from cluster.class_path import resolve, resolve_agent, unknown_parameters
from cluster.located_yaml import Document, KeyPath, Problem, assigned, load, nearest, undotted
from cluster.model_section import BudgetSection, ModelSection, check_budget, name_model
from cluster.problem import as_problem, located, problem_in, report
from cluster.schema import STRICT, Amount, Count, Positive, Seconds
from cluster.sweep import Trial, arms_of, trials_of

MAXIMUM_TRIALS = 10_000
"""Trials in one run: the arms of the sweep times the repeats."""

_INPUT = re.compile(r"\$\{input((?:\.[\w-]+)*)\}")
_FIXED = ("name", "seed", "sweep", "repeats")
_ROLE_NAME = r"^[A-Za-z_][\w.-]*$"


class _Section(BaseModel):
    model_config = STRICT


class RoleSection(_Section):
    """Agents of one kind."""

    agent: str = Field(alias="class")
    """`module:name` of a class that extends `Agent`."""
    count: Count | None = None
    """How many. None: one agent, addressed by the bare name of the role."""
    parameters: dict[str, Any] = {}
    """The constructor's arguments. A value `${input}` or `${input.key}` stands for the experiment's input."""
    dedicated: bool | None = None
    num_cpus: Amount = 0.0
    num_gpus: Amount = 0.0
    resources: dict[str, Amount] = {}

    @field_validator("agent")
    @classmethod
    def _agent_exists(cls, path: str) -> str:
        with as_problem():
            resolve_agent(path)
        return path

    @field_validator("parameters")
    @classmethod
    def _parameters_are_taken(cls, parameters: dict[str, Any], info: ValidationInfo) -> dict[str, Any]:
        if "agent" in info.data:
            unknown = unknown_parameters(resolve_agent(info.data["agent"]), parameters)
            report([((name,), text) for name, text in unknown.items()], about_key=True)
        return parameters


class JournalSection(_Section):
    """How each trial is written down; see `actors.plan.JournalSettings`."""

    compress: bool = False
    sync: Literal["process", "disk"] = "process"
    checkpoint_every: Positive | None = 1000
    segment_bytes: Annotated[int, Field(ge=4096)] = 256 * 2**20


class SwarmSection(_Section):
    """The swarm; see `actors.plan.Plan`."""

    roles: Annotated[dict[Annotated[str, Field(pattern=_ROLE_NAME)], RoleSection], Field(min_length=1)]
    topology: dict[str, Any] | None = None
    schedule: Literal["rounds", "free"] = "rounds"
    cells: Positive | None = None
    limits: Limits = Limits()
    on_error: Literal["continue", "stop"] = "continue"
    journal: JournalSection | None = JournalSection()
    """`false` for none: then an interrupted trial starts again, and cannot be replayed."""
    traffic_sample: Annotated[float, Field(ge=0, le=1)] = 0.0
    fingerprint: bool | None = None

    @field_validator("topology", mode="before")
    @classmethod
    def _topology_may_be_a_name(cls, topology: Any) -> Any:
        return {"kind": topology} if isinstance(topology, str) else topology

    @field_validator("limits")
    @classmethod
    def _limits_are_positive(cls, limits: Limits) -> Limits:
        least = {"restarts": 0, "dedicated_agents": 0}
        problems: list[tuple[KeyPath, str]] = []
        for name, value in dataclasses.asdict(limits).items():
            bound = least.get(name, 1)
            if isinstance(value, float) and not value > 0:
                problems.append(((name,), f"must be above 0, got {value:g}"))
            elif isinstance(value, int) and value < bound:
                problems.append(((name,), f"must be at least {bound}, got {value}"))
        report(problems)
        return limits

    @field_validator("journal", mode="before")
    @classmethod
    def _journal_may_be_a_switch(cls, journal: Any) -> Any:
        return {True: {}, False: None}[journal] if isinstance(journal, bool) else journal


class Condition(_Section):
    """Ends a trial when the latest mean of a measure passes a bound."""

    measure: str
    below: float | None = None
    above: float | None = None

    @model_validator(mode="after")
    def _one_bound(self) -> Self:
        if (self.below is None) == (self.above is None):
            report([((), "give either 'below' or 'above'")])
        return self

    def holds(self, value: float) -> bool:
        """Whether a value of the measure ends the trial."""
        return value < self.below if self.below is not None else value > (self.above or 0.0)


class StopSection(_Section):
    """When a trial has run long enough, whichever comes first. It always ends when nothing is left to do."""

    rounds: Positive | None = None
    seconds: Seconds | None = None
    when: list[Condition] = []


class MeasureSection(_Section):
    """A measure to keep, and which of its statistics stands for it in summaries."""

    measure: str
    show: Literal["mean", "sum", "count", "minimum", "maximum"] = "mean"


class SendSection(_Section):
    """A message from outside that starts the swarm. `to` is an address, or `role/*` for all agents of a role."""

    to: str
    content: Any = None


class MemorySection(_Section):
    """A memory that the swarm's agents share; see `cluster.run_memory`."""

    tenant: Annotated[str, Field(min_length=1, max_length=200)] = "rayswarm"
    """Whose memory it is: the first level of every scope."""
    embedder: str | None = None
    """`module:name` of a function that makes an `Embedder`; else the built-in one, which needs no model."""

    @field_validator("embedder")
    @classmethod
    def _embedder_exists(cls, path: str | None) -> str | None:
        if path is not None:
            with as_problem():
                if not callable(resolve(path)):
                    raise ConfigurationError(
                        f"{path} cannot be called. Name a function that makes an embedder"
                    )
        return path


class Experiment(_Section):
    """All that fixes a run."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]*$")]
    description: str = ""
    seed: Count = 0
    on: Literal["local", "ray"] = "local"
    input: Any = None
    """Whatever the experiment works on; for `${input}` in parameters and for `setup`."""
    setup: str | None = None
    """`module:name` of a function from an `Experiment` to values for its roles: `{role: {count: 12, ...}}`."""
    allocation: str | None = None
    """How tasks are shared out, for `setup` to pass on: the name of a mechanism."""
    consensus: dict[str, Any] = {}
    """How agents agree, for `setup` to pass on."""
    memory: MemorySection | None = None
    """`true` for one with its defaults."""
    model: ModelSection | None = None
    """A line, or a mapping with the line as its `name`."""
    swarm: SwarmSection
    faults: list[dict[str, Any]] = []
    stop: StopSection = StopSection()
    budget: BudgetSection = BudgetSection()
    measures: list[MeasureSection] = []
    """Those to keep; all of them if empty."""
    send: list[SendSection] = []
    sweep: dict[str, Annotated[list[Any], Field(min_length=1)]] = {}
    """For a path (`swarm.cells`) the values that it takes; with several, all combinations."""
    repeats: Positive = 1
    """Replications of each arm of the sweep, each with its own seed."""

    @field_validator("setup")
    @classmethod
    def _setup_exists(cls, path: str | None) -> str | None:
        if path is not None:
            with as_problem():
                if not callable(resolve(path)):
                    raise ConfigurationError(f"{path} cannot be called. Name a function of an Experiment")
        return path

    @field_validator("memory", mode="before")
    @classmethod
    def _memory_may_be_a_switch(cls, memory: Any) -> Any:
        return {True: {}, False: None}[memory] if isinstance(memory, bool) else memory

    @field_validator("model", mode="before")
    @classmethod
    def _model_may_be_a_line(cls, model: Any) -> Any:
        return {"name": model} if isinstance(model, str) else None if model is False else model

    @field_validator("budget")
    @classmethod
    def _budget_can_be_kept(cls, budget: BudgetSection, info: ValidationInfo) -> BudgetSection:
        if "model" in info.data and "swarm" in info.data:
            check_budget(budget, info.data["model"], info.data["swarm"].roles)
        return budget

    @field_validator("faults")
    @classmethod
    def _faults_are_known(cls, faults: list[dict[str, Any]]) -> list[dict[str, Any]]:
        problems: list[tuple[KeyPath, str]] = []
        for index, fault in enumerate(faults):
            try:
                fault_from(fault, "fault")
            except ConfigurationError as error:
                path, text = located(error, "fault")
                problems.append(((index, *path), text))
        report(problems)
        return faults

    @field_validator("measures", mode="before")
    @classmethod
    def _measures_may_be_names(cls, measures: Any) -> Any:
        if not isinstance(measures, list):
            return measures
        return [{"measure": item} if isinstance(item, str) else item for item in measures]

    @field_validator("swarm")
    @classmethod
    def _references_hold(cls, swarm: SwarmSection, info: ValidationInfo) -> SwarmSection:
        report(
            (("roles", name, "parameters", *path), text)
            for name, role in swarm.roles.items()
            for path, text in _broken_references(role.parameters, info.data.get("input"))
        )
        if swarm.topology is not None and info.data.get("setup") is None:
            with as_problem("topology", ("topology",)):
                topology_from(swarm.topology, {name: role.count for name, role in swarm.roles.items()})
        return swarm

    @field_validator("stop")
    @classmethod
    def _rounds_need_rounds(cls, stop: StopSection, info: ValidationInfo) -> StopSection:
        if stop.rounds is not None and "swarm" in info.data and info.data["swarm"].schedule != "rounds":
            report([(("rounds",), "the schedule 'free' has no rounds. Give stop.seconds")])
        return stop

    @field_validator("send")
    @classmethod
    def _recipients_exist(cls, send: list[SendSection], info: ValidationInfo) -> list[SendSection]:
        roles = info.data["swarm"].roles if "swarm" in info.data else None
        if roles is not None:
            report(
                ((index, "to"), f"there is no role '{role_of(item.to)}'{nearest(role_of(item.to), roles)}")
                for index, item in enumerate(send)
                if role_of(item.to) not in roles
            )
        report(
            ((index, "content", *path), text)
            for index, item in enumerate(send)
            for path, text in _broken_references(item.content, info.data.get("input"))
        )
        return send

    def configuration(self) -> dict[str, Any]:
        """The values that differ from their defaults, as plain JSON; `Experiment.of` reads it back."""
        values: dict[str, Any] = json.loads(self.model_dump_json(by_alias=True, exclude_defaults=True))
        return {"name": self.name, **values}

    @property
    def hash(self) -> str:
        """SHA-256, in hex, of the configuration without the description, as canonical JSON."""
        values = {key: value for key, value in self.configuration().items() if key != "description"}
        return sha256(canonical_json(values).encode()).hexdigest()

    @classmethod
    def of(cls, configuration: Mapping[str, Any], source: str = "configuration") -> "Experiment":
        """The experiment with these values. Raises `ConfigurationError` naming all that is wrong."""
        return _checked(Document(dict(configuration), {}, source))

    @property
    def trials(self) -> list[Trial]:
        """The trials of the run, in order."""
        return trials_of(self.sweep, self.seed, self.repeats)

    def of_trial(self, trial: Trial) -> "Experiment":
        """This experiment as it is in one trial: its arm's values, its seed, nothing swept."""
        return self.having({**trial.arm, "seed": trial.seed, "sweep": {}, "repeats": 1})

    def having(self, settings: Mapping[str, Any]) -> "Experiment":
        """This experiment with other values at some paths, checked again."""
        values: Any = self.configuration()
        for path, value in settings.items():
            values = assigned(values, undotted(path), value, path)
        return Experiment.of(values, "configuration")


def load_experiment(path: Path, settings: Sequence[str] = ()) -> Experiment:
    """The experiment in a file, with `path=value` settings over it.

    Raises `ConfigurationError` whose text has a line for each problem, with its place.
    """
    document = load(path)
    for setting in settings:
        name_model(document)
        _known_role(document.value, undotted(setting.partition("=")[0].strip()), f"--set {setting}")
        document.assign(setting)
    if isinstance(document.value, dict):
        document.value.setdefault("name", path.stem)
    experiment = _checked(document)
    _check_arms(experiment, document)
    if experiment.setup is None:
        problems = [
            Problem(
                (key,), "nothing reads it: name a 'setup' that passes it on, or leave it out", about_key=True
            )
            for key in ("allocation", "consensus")
            if key in experiment.model_fields_set
            or any(undotted(path)[0] == key for path in experiment.sweep)
        ]
        if problems:
            raise document.error(problems)
    return experiment


def substituted(value: Any, given: Any) -> Any:
    """`value` with each `${input...}` in it replaced by that part of the input."""
    if isinstance(value, str) and (match := _INPUT.fullmatch(value)):
        for key in match[1].split(".")[1:]:
            given = given[key]
        return given
    if isinstance(value, dict):
        return {key: substituted(item, given) for key, item in value.items()}
    if isinstance(value, list):
        return [substituted(item, given) for item in value]
    return value


def canonical_json(value: Any) -> str:
    """JSON with sorted keys and no spaces: equal values, equal text."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def _checked(document: Document) -> Experiment:
    if not isinstance(document.value, dict):
        raise document.error(
            [Problem((), f"an experiment is a mapping of keys to values, got {document.value!r}")]
        )
    try:
        return Experiment.model_validate_json(json.dumps(document.value))
    except ValidationError as error:
        raise document.error(
            [problem_in(details, Experiment) for details in error.errors(include_url=False)]
        ) from None


def _check_arms(experiment: Experiment, document: Document) -> None:
    """Every arm must be an experiment too: a sweep that fails at its last arm would waste the others."""
    count = experiment.repeats
    problems: list[Problem] = []
    for path, values in experiment.sweep.items():
        count *= len(values)
        if undotted(path)[0] in _FIXED:
            problems.append(
                Problem(("sweep", path), f"'{undotted(path)[0]}' cannot be swept", about_key=True)
            )
    if count > MAXIMUM_TRIALS:
        problems.append(
            Problem(("sweep",), f"{count} trials are over the limit of {MAXIMUM_TRIALS}", about_key=True)
        )
    if problems:
        raise document.error(problems)
    for arm in arms_of(experiment.sweep):
        for path in arm:
            _known_role(
                experiment.configuration(), undotted(path), document.place(("sweep", path), about_key=True)
            )
        try:
            experiment.having(arm)
        except ConfigurationError as error:
            told = [line.removeprefix("configuration: ") for line in str(error).splitlines()]
            problems += [_blamed(line, arm, experiment) for line in told]
    if problems:
        raise document.error(problems)


def _blamed(line: str, arm: Mapping[str, Any], experiment: Experiment) -> Problem:
    """A problem of an arm, laid to the value of the sweep that is nearest to it."""
    about = line.partition(": ")[0]
    path = next(
        (path for path in arm if f"{path}.".startswith(f"{about}.") or about.startswith(path)),
        next(iter(arm)),
    )
    where: KeyPath = ("sweep", path, experiment.sweep[path].index(arm[path]))
    return Problem(where, f"makes an experiment in which {line}")


def _known_role(values: Any, path: KeyPath, origin: str) -> None:
    """A setting below a role must name one that exists: it would make a role of one value instead."""
    if len(path) < 4 or path[:2] != ("swarm", "roles") or not isinstance(values, dict):
        return
    swarm = values.get("swarm")
    roles = swarm.get("roles") if isinstance(swarm, dict) else None
    if isinstance(roles, dict) and path[2] not in roles:
        raise ConfigurationError(
            f"{origin}: swarm.roles.{path[2]}: unknown role{nearest(str(path[2]), roles)}"
        )


def _broken_references(value: Any, given: Any, path: KeyPath = ()) -> Iterator[tuple[KeyPath, str]]:
    if isinstance(value, str) and (match := _INPUT.fullmatch(value)):
        for key in match[1].split(".")[1:]:
            if not isinstance(given, dict) or key not in given:
                known = given if isinstance(given, dict) else {}
                yield path, f"{value}: the input has no '{key}'{nearest(key, known)}"
                return
            given = given[key]
    elif isinstance(value, dict | list):
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _broken_references(item, given, (*path, key))
