"""Procedures: workflows that worked, told with their particulars left open, and how often they worked since.

A run that succeeded becomes a procedure by *abstraction*: each value of the run's parameters is replaced, wherever it
stands in task, steps and outcome, by its name in braces. So the same workflow for another customer is the same
procedure, and *instantiating* it with new values gives steps that can be carried out.

Rules:
* Its record is of uses that were reported: successes and failures. The rate is the mean of Beta(1 + successes,
  1 + failures) (Laplace's rule), so a procedure that worked once is not taken for certain.
* It is *retired* when even the upper end of its rate's 95% Wilson interval is below `rate_min`: it fails, and not by
  bad luck. A retired one is kept, and is not offered.
* Retrieval is by words of the task (their idf among the procedures at hand), times the rate; one whose preconditions
  are known not to hold is not offered.
* It lives in an item of kind PROCEDURE: its text is for people and for search, its attributes are exact.
"""

import math
import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from memory.errors import InvalidItem
from memory.text import terms

STEPS_MAX = 200
PARAMETERS_MAX = 100
_Z = 1.959964
_HOLE = re.compile(r"\{(\w+)\}")


@dataclass(frozen=True)
class Step:
    """One action: the tool and what it is told; texts may hold {parameters}."""

    tool: str
    arguments: dict[str, str]


@dataclass(frozen=True)
class Procedure:
    """A workflow with its parameters left open."""

    task: str
    steps: tuple[Step, ...]
    preconditions: tuple[str, ...] = ()
    """What must hold before, as the caller names it."""
    outcome: str = ""
    successes: int = 1
    failures: int = 0

    def __post_init__(self) -> None:
        if not self.task.strip() or not 1 <= len(self.steps) <= STEPS_MAX:
            raise InvalidItem(
                f"a procedure has a task and 1 to {STEPS_MAX} steps, not {self.task!r} and {len(self.steps)}"
            )
        if self.successes < 0 or self.failures < 0:
            raise InvalidItem("successes and failures are counts from 0")

    @property
    def parameters(self) -> tuple[str, ...]:
        """The names left open, in the order of their first use."""
        texts = [self.task, *self.preconditions]
        texts += [text for step in self.steps for text in (step.tool, *step.arguments.values())]
        return tuple(dict.fromkeys(name for text in [*texts, self.outcome] for name in _HOLE.findall(text)))

    @property
    def rate(self) -> float:
        """How likely it is to work, from its record: 0 to 1."""
        return (self.successes + 1) / (self.successes + self.failures + 2)

    @property
    def text(self) -> str:
        """For people, and for search."""
        steps = "; ".join(
            f"{number}. {step.tool}({', '.join(f'{name}={value}' for name, value in step.arguments.items())})"
            for number, step in enumerate(self.steps, start=1)
        )
        needs = f" Needs: {', '.join(self.preconditions)}." if self.preconditions else ""
        return f"To {self.task}: {steps}.{needs}" + (f" Gives: {self.outcome}." if self.outcome else "")

    def reported(self, *, worked: bool) -> "Procedure":
        """With one more use on its record."""
        return replace(self, successes=self.successes + worked, failures=self.failures + (not worked))

    def is_retired(self, rate_min: float = 0.5) -> bool:
        """True if it fails, and not by bad luck."""
        return _upper(self.successes, self.successes + self.failures) < rate_min

    def instantiate(self, values: Mapping[str, str]) -> tuple[Step, ...]:
        """The steps with values in place of the parameters. Raises `InvalidItem` if one is missing."""
        missing = [name for name in self.parameters if name not in values]
        if missing:
            raise InvalidItem(f"the procedure {self.task!r} needs a value for {', '.join(missing)}")
        return tuple(
            Step(
                _filled(step.tool, values),
                {name: _filled(text, values) for name, text in step.arguments.items()},
            )
            for step in self.steps
        )

    def to_attributes(self) -> dict[str, Any]:
        """As plain JSON, for an item; `procedure_of` reads it."""
        return {
            "task": self.task,
            "steps": [{"tool": step.tool, "arguments": dict(step.arguments)} for step in self.steps],
            "preconditions": list(self.preconditions),
            "outcome": self.outcome,
            "successes": self.successes,
            "failures": self.failures,
        }


def procedure_of(attributes: Mapping[str, Any]) -> Procedure:
    """The procedure that `to_attributes` wrote. Raises `InvalidItem` for anything else."""
    try:
        steps = tuple(
            Step(str(step["tool"]), {str(name): str(text) for name, text in step["arguments"].items()})
            for step in attributes["steps"]
        )
        return Procedure(
            str(attributes["task"]),
            steps,
            tuple(map(str, attributes["preconditions"])),
            str(attributes["outcome"]),
            int(attributes["successes"]),
            int(attributes["failures"]),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InvalidItem(
            f"not a procedure: {error!r} in {str(attributes)[:200]}. Give what Procedure.to_attributes wrote."
        ) from error


def abstract(
    task: str,
    steps: Sequence[Step],
    values: Mapping[str, str],
    *,
    preconditions: Sequence[str] = (),
    outcome: str = "",
) -> Procedure:
    """The procedure of a run: its parameters' values replaced by their names, the longest value first."""
    if len(values) > PARAMETERS_MAX or not all(re.fullmatch(r"\w+", name) for name in values):
        raise InvalidItem(f"parameters are up to {PARAMETERS_MAX} names of letters, digits and underscores")
    if not all(value.strip() for value in values.values()):
        raise InvalidItem("a parameter with an empty value would stand everywhere: leave it out")
    if len(set(values.values())) != len(values):
        raise InvalidItem("two parameters have one value: which of them stands where cannot be told")
    return Procedure(
        _opened(task, values),
        tuple(
            Step(
                _opened(step.tool, values),
                {name: _opened(text, values) for name, text in step.arguments.items()},
            )
            for step in steps
        ),
        tuple(_opened(condition, values) for condition in preconditions),
        _opened(outcome, values),
    )


def same_workflow(one: Procedure, other: Procedure) -> bool:
    """True if they take the same steps to the same task, whatever their records."""
    return (one.task, one.steps, one.preconditions) == (other.task, other.steps, other.preconditions)


def retrieve(
    task: str,
    procedures: Iterable[Procedure],
    *,
    false_conditions: Collection[str] = (),
    k: int = 5,
    rate_min: float = 0.5,
) -> list[tuple[Procedure, float]]:
    """Up to k procedures for a like task with their scores in (0, 1], the best first.

    The score is the share of the task's words found, each by its idf, times the procedure's rate.
    """
    usable = [
        procedure
        for procedure in procedures
        if not procedure.is_retired(rate_min)
        and not any(condition in false_conditions for condition in procedure.preconditions)
    ]
    words_of = [set(terms(_HOLE.sub(" ", f"{procedure.task} {procedure.outcome}"))) for procedure in usable]
    document_frequency = Counter(term for each in words_of for term in sorted(each))
    asked = list(dict.fromkeys(terms(task)))
    idf = {
        term: math.log(1 + (len(usable) - df + 0.5) / (df + 0.5))
        for term, df in ((term, document_frequency[term]) for term in asked)
    }
    total = sum(idf.values())
    scored = [
        (procedure, sum(idf[term] for term in asked if term in found) / total * procedure.rate)
        for procedure, found in zip(usable, words_of, strict=True)
        if total > 0
    ]
    ranked = sorted(scored, key=lambda pair: (-pair[1], pair[0].task, pair[0].text))
    return [pair for pair in ranked if pair[1] > 0][:k]


def _opened(text: str, values: Mapping[str, str]) -> str:
    """The text with each value, where it stands as a whole, replaced by {its name}."""
    if not values:
        return text
    names = {value: name for name, value in values.items()}
    longest_first = sorted(names, key=lambda value: (-len(value), value))
    pattern = "|".join(re.escape(value) for value in longest_first)
    return re.sub(rf"(?<!\w)(?:{pattern})(?!\w)", lambda found: "{" + names[found[0]] + "}", text)


def _filled(text: str, values: Mapping[str, str]) -> str:
    return _HOLE.sub(lambda found: values[found[1]], text)


def _upper(successes: int, uses: int) -> float:
    """The upper end of Wilson's interval for a share, at 95% (JASA 22, 1927); 1 without any use."""
    if uses == 0:
        return 1.0
    share, squared = successes / uses, _Z * _Z
    spread = _Z * math.sqrt(share * (1 - share) / uses + squared / (4 * uses * uses))
    return (share + squared / (2 * uses) + spread) / (1 + squared / uses)
