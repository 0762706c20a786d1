"""`python -m experiments.recall_measure`: how well does the memory that a survey leaves answer needs in plain words?

`recall_questions.yaml` holds needs, each with the module of the standard library that serves it. They were written
before recall was built, and nothing is fitted to them. The figures are the shares of needs whose module is the first
answer, and among the first five. The questions and the thesaurus have one author: others' needs may fare worse.
"""

import asyncio
import json
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final

import typer
import yaml

from actors.errors import ConfigurationError
from experiments.module_notes import read_and_remember
from experiments.python_source import source_files
from memory.memory import Memory
from memory.scope import Scope
from memory.seat import LocalDoor, Seat
from memory.subject import Subjects

QUESTIONS_FILE: Final = Path(__file__).with_name("recall_questions.yaml")
FIRST: Final = 5


@dataclass(frozen=True)
class Question:
    """A need, and the modules that serve it: any of them is right."""

    need: str
    right: tuple[str, ...]


@dataclass(frozen=True)
class Measured:
    """What came of the questions."""

    questions: int
    among_first: int
    """Needs whose module is among the first five answers."""
    first: int
    missed: dict[str, list[str]]
    """For each other need the answers that it got."""

    @property
    def share_among_first(self) -> float:
        """0 to 1."""
        return self.among_first / self.questions


def load_questions(file: Path = QUESTIONS_FILE) -> list[Question]:
    """The questions of a file. Raises `ConfigurationError` at one that is none."""
    rows = yaml.safe_load(file.read_text(encoding="utf-8"))
    if not isinstance(rows, list) or not rows:
        raise ConfigurationError(f"{file}: holds no questions. Give a list of {{need: ..., right: ...}}")
    return [_question(row, f"{file}, question {number}") for number, row in enumerate(rows, start=1)]


def _question(row: object, where: str) -> Question:
    if isinstance(row, dict) and set(row) == {"need", "right"} and isinstance(row["need"], str):
        right = row["right"] if isinstance(row["right"], list) else [row["right"]]
        if right and all(isinstance(name, str) for name in right):
            return Question(row["need"], tuple(right))
    raise ConfigurationError(
        f"{where}: {row!r} is no question. Give {{need: ..., right: a module or several}}"
    )


async def remember_library(memory: Memory, scope: Scope, root: str = "") -> int:
    """Remembers a tree of modules, by default the standard library, as the survey does; gives their number."""
    seat = Seat(LocalDoor(memory), scope)
    files = source_files(root)["files"]
    for file in files:
        await read_and_remember(root, file, seat)
    return len(files)


def measure(memory: Memory, scope: Scope, questions: list[Question]) -> Measured:
    """Asks the memory of a scope all the questions."""
    subjects = Subjects(memory, scope=scope)
    among = first = 0
    missed: dict[str, list[str]] = {}
    for question in questions:
        answers = [found.session for found in subjects.recall(question.need, FIRST)]
        first += answers[:1] != [] and answers[0] in question.right
        if set(answers).isdisjoint(question.right):
            missed[question.need] = answers
        else:
            among += 1
    return Measured(len(questions), among, first, missed)


def main(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Reads this interpreter's standard library into a memory, as the survey does, and asks it the questions."""
    scope = Scope("rayswarm", "library_survey")
    with tempfile.TemporaryDirectory() as folder, Memory.open(folder) as memory:
        modules = asyncio.run(remember_library(memory, scope))
        found = measure(memory, scope, load_questions())
        items = len(memory)
    if as_json:
        figures = {"modules": modules, "items": items, "questions": found.questions}
        typer.echo(json.dumps({**figures, "among_first_five": found.among_first, "first": found.first}))
        return
    typer.echo(
        f"{modules} modules, {items:,} items. Of {found.questions} needs the right module is among the first {FIRST} "
        f"for {found.among_first} ({found.share_among_first:.0%}), first for {found.first}."
    )
    for need, answers in found.missed.items():
        typer.echo(f"  missed: {need} ({', '.join(answers)})")


if __name__ == "__main__":
    typer.run(main)
