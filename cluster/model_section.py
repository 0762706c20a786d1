"""The keys `model` and `budget` of an experiment: which language model its agents have, and what they may spend on it.

Rules:
* `model: LINE` is short for `model: {name: LINE}`. What is wrong with it is told with its key, before anything runs.
* A key of an endpoint is named by where it is kept, and what was given for one is never repeated in an error.
* A path in a line is looked for beside the experiment's file, then in the working folder; a `replay:` may also name a
  run. `vllm:MODULE:FUNCTION` stands for the folder that the function returns.
"""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Self

import msgspec
from pydantic import BaseModel, field_validator, model_validator

from actors.errors import ConfigurationError
from cluster.class_path import resolve, told
from cluster.located_yaml import Document, KeyPath, nearest
from cluster.problem import report
from cluster.results import find_run
from cluster.schema import STRICT, Amount, Count, Positive, Seconds
from inference import errors
from inference.limits import BudgetLimits, Ceiling, Rate, ServingLimits
from inference.model_plan import ModelPlan
from inference.price import FREE, Price
from inference.provider import ModelSpec, parse_model

_PARTS: dict[str, type[Any]] = {"limits": ServingLimits, "rate": Rate, "price": Price}


class _Section(BaseModel):
    model_config = STRICT


class ModelSection(_Section):
    """The language model that sits at `context.llm`; see `inference.model_plan.ModelPlan`."""

    name: str
    """One line, such as `ollama:qwen3:0.6b`; see `inference.provider`."""
    key: str | None = None
    """Where an endpoint's key is kept: `env:NAME` or `file:PATH`."""
    replicas: Positive = 1
    limits: dict[str, Any] = {}
    rate: dict[str, Any] = {}
    price: dict[str, Any] | Literal["free"] | None = None
    """US dollars for a million tokens: `prompt_usd`, `completion_usd`, `cached_usd`; or `free`. None: as published."""
    recording: str | None = None
    """A file of answers that outlives the run: what is in it is not asked again."""
    mode: Literal["record", "replay", "fill"] | None = None
    """How the recording is used; else `fill`."""
    seed: Count | None = None
    """Of the seeds of requests; else the trial's."""
    deterministic: bool = False
    timeout_s: Seconds = 300.0
    idle_s: Seconds = 60.0
    vllm: dict[str, Any] = {}

    @field_validator("name")
    @classmethod
    def _line_is_read(cls, name: str) -> str:
        try:
            parse_model(name)
        except errors.LLMError as error:
            report([((), str(error))])
        return name

    @model_validator(mode="after")
    def _plan_holds(self) -> Self:
        problems: list[tuple[KeyPath, str]] = []
        for field, kind in _PARTS.items():
            values = getattr(self, field)
            if isinstance(values, Mapping):
                problems += [((field, *path), text) for path, text in _faults(kind, values)]
        report(problems)
        if self.mode is not None and self.recording is None:
            report([(("mode",), "says how a recording is used, and there is none: give recording, a path")])
        try:
            self.plan()
        except errors.LLMError as error:
            words = str(error).split()
            report([(tuple(word for word in words[:2] if word in type(self).model_fields)[:1], str(error))])
        return self

    def plan(self, line: str | None = None, base: Path | None = None) -> ModelPlan:
        """The model as a plan to serve it, alive and without ceilings. `line`: the name with its path found."""
        recording = None if self.recording is None else Path(self.recording)
        if recording is not None and base is not None and not recording.is_absolute():
            recording = base / recording
        price = FREE if self.price == "free" else None if self.price is None else Price(**self.price)
        return ModelPlan(
            line or self.name,
            key=self.key,
            limits=ServingLimits(**self.limits),
            rate=Rate(**self.rate),
            price=price,
            mode="live" if recording is None else self.mode or "fill",
            recording=recording,
            replicas=self.replicas,
            deterministic=self.deterministic,
            timeout_s=self.timeout_s,
            idle_s=self.idle_s,
            vllm=self.vllm,
        )


class CeilingSection(_Section):
    """The most that may be spent on a model."""

    tokens: Count | None = None
    money_usd: Amount | None = None

    def ceiling(self) -> Ceiling:
        """As the budget of `inference` takes it."""
        return Ceiling(self.tokens, self.money_usd)


class BudgetSection(CeilingSection):
    """What a trial may use. One that reaches a bound is ended there, and its result says so.

    A role or an agent that reaches its own is refused further calls, and the trial goes on.
    """

    messages: Positive | None = None
    seconds: Seconds | None = None
    """Wall time."""
    each_role: CeilingSection = CeilingSection()
    roles: dict[str, CeilingSection] = {}
    """Of single roles, in place of `each_role`."""
    each_agent: CeilingSection = CeilingSection()
    agents: dict[str, CeilingSection] = {}
    """Of single agents, by address, in place of `each_agent`."""

    @property
    def sections(self) -> list[tuple[KeyPath, CeilingSection]]:
        """All ceilings with their paths."""
        return [
            ((), self),
            (("each_role",), self.each_role),
            *((("roles", name), one) for name, one in self.roles.items()),
            (("each_agent",), self.each_agent),
            *((("agents", name), one) for name, one in self.agents.items()),
        ]

    def limits(self) -> BudgetLimits:
        """The ceilings as the budget of `inference` takes them."""
        return BudgetLimits(
            self.ceiling(),
            self.each_role.ceiling(),
            {name: one.ceiling() for name, one in self.roles.items()},
            self.each_agent.ceiling(),
            {name: one.ceiling() for name, one in self.agents.items()},
        )


def name_model(document: Document) -> None:
    """Writes a model that is a line as a mapping, so that `--set model.price=free` finds one."""
    if isinstance(document.value, dict) and isinstance(document.value.get("model"), str):
        document.value = {**document.value, "model": {"name": document.value["model"]}}


def check_budget(budget: BudgetSection, model: ModelSection | None, roles: Mapping[str, Any]) -> None:
    """Ceilings need a model, those in money its price, and those of roles and agents such roles."""
    problems: list[tuple[KeyPath, str]] = []
    money = False
    for path, section in budget.sections:
        given = [key for key in ("tokens", "money_usd") if getattr(section, key) is not None]
        money = money or "money_usd" in given
        if given and model is None:
            problems.append(((*path, given[0]), "is spent on a model, and there is none: give model"))
        if len(path) == 2 and (role := str(path[1]).partition("/")[0]) not in roles:
            problems.append((path, f"there is no role '{role}'{nearest(role, list(roles))}"))
    if money and model is not None and model.plan().known_price is None:
        where = next(path for path, section in budget.sections if section.money_usd is not None)
        problems.append(
            (
                (*where, "money_usd"),
                f"the price of {model.name} is not known: give model.price (free if it costs nothing), "
                "or a ceiling in tokens",
            )
        )
    report(problems)


def found_line(section: ModelSection, base: Path, results: Path) -> str:
    """The model's line with its path found, for this machine. Raises `ConfigurationError` where it is not there."""
    spec = parse_model(section.name)
    match spec.provider:
        case "scripted":
            return str(msgspec.structs.replace(spec, place=str(_found(spec.place, base))))
        case "replay":
            return str(msgspec.structs.replace(spec, place=str(_recorded(spec.place, base, results))))
        case "vllm":
            return str(msgspec.structs.replace(spec, name=_vllm_name(spec, base)))
    return section.name


def _found(text: str, base: Path) -> Path:
    for place in (base / text, Path(text)):
        if place.exists():
            return place.resolve()
    raise ConfigurationError(
        f"model: there is no {text}, neither in {base} (where the experiment's file is) nor in the working folder"
    )


def _recorded(text: str, base: Path, results: Path) -> Path:
    try:
        return _found(text, base)
    except ConfigurationError as error:
        try:
            return find_run(text, results).path.resolve()
        except ConfigurationError as other:
            raise ConfigurationError(f"{error}; and {other}") from None


def _vllm_name(spec: ModelSpec, base: Path) -> str:
    if ":" in spec.name:
        try:
            made = resolve(spec.name)()
        except ConfigurationError:
            raise
        except errors.LLMError as error:
            raise ConfigurationError(f"model {spec}: {error}") from error
        except Exception as error:  # it may raise anything; it is told with its place
            raise ConfigurationError(f"model {spec}: {told(error)}") from error
        if not isinstance(made, str | Path) or not Path(made).is_dir():
            raise ConfigurationError(f"model {spec}: the function returned {made!r:.80}, which is no folder")
        return str(made)
    beside = base / spec.name
    return str(beside) if beside.is_dir() else spec.name


def _faults(kind: type[Any], values: Mapping[str, Any]) -> list[tuple[KeyPath, str]]:
    """What is wrong with values for a class of `inference`."""
    fields = dataclasses.fields(kind) if dataclasses.is_dataclass(kind) else msgspec.structs.fields(kind)
    known = {field.name: field.type for field in fields}
    problems: list[tuple[KeyPath, str]] = []
    for name, value in values.items():
        if name not in known:
            problems.append(
                ((name,), f"unknown key{nearest(name, list(known)) or '; known here: ' + ', '.join(known)}")
            )
        elif isinstance(value, bool) or not isinstance(value, int | float):
            problems.append(((name,), f"must be a number, got {value!r:.60}"))
        elif known[name] is int and not isinstance(value, int):
            problems.append(((name,), f"must be a whole number, got {value!r:.60}"))
    if problems:
        return problems
    try:
        kind(**values)
    except TypeError as error:
        return [((), str(error).partition("() ")[2] or str(error))]
    except errors.LLMError as error:
        return [((), str(error))]
    return []
