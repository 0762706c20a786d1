"""The sixty needs: they are well formed, their modules exist, and the memory of the library answers them."""

import asyncio
from pathlib import Path

import pytest

from actors.errors import ConfigurationError
from experiments.python_source import source_files
from experiments.recall_measure import load_questions, measure, remember_library
from memory.memory import Memory
from memory.scope import Scope

SCOPE = Scope("rayswarm", "library_survey")


def test_there_are_sixty_needs_and_their_modules_are_in_the_library() -> None:
    questions = load_questions()
    assert len(questions) == 60
    assert len({question.need for question in questions}) == 60
    modules = {file["name"] for file in source_files("")["files"]}
    assert [question for question in questions if modules.isdisjoint(question.right)] == []


@pytest.mark.slow
def test_the_right_module_is_among_the_first_five_for_four_needs_in_five(tmp_path: Path) -> None:
    with Memory.open(tmp_path) as memory:
        asyncio.run(remember_library(memory, SCOPE))
        found = measure(memory, SCOPE, load_questions())
    assert found.share_among_first >= 0.8, found.missed
    assert found.questions == found.among_first + len(found.missed)
    assert found.first >= 30


@pytest.mark.parametrize(
    "text", ["", "{}", "- {need: x}", "- {need: x, right: []}", "- {need: 3, right: re}", "- text"]
)
def test_what_is_no_list_of_questions_is_told(text: str, tmp_path: Path) -> None:
    file = tmp_path / "questions.yaml"
    file.write_text(text)
    with pytest.raises(ConfigurationError, match="question"):
        load_questions(file)
