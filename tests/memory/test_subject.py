"""Recall by subject: sessions whole, by their best notes, with reasons."""

from pathlib import Path

import pytest

from memory.errors import InvalidItem
from memory.item import Draft, Kind
from memory.memory import Memory
from memory.scope import Scope
from memory.subject import Subjects

HERE = Scope("acme", "s1")
NOTES = {
    "csv": [
        "module csv. Reads tables of comma separated values",
        "function reader. Gives the rows of a table",
    ],
    "zip": ["module zip. Packs files into archives", "function unpack. Takes files out of an archive"],
}


@pytest.fixture
def memory(tmp_path: Path) -> Memory:
    made = Memory.open(tmp_path)
    drafts = [
        Draft(HERE, text, Kind.NOTE, 0.9 if turn == 0 else 0.4, session=subject, turn=turn)
        for subject, texts in NOTES.items()
        for turn, text in enumerate(texts)
    ]
    made.remember_all(drafts, scope=HERE)
    return made


def test_the_subject_comes_first_whose_notes_answer_and_the_reasons_sum_to_the_score(memory: Memory) -> None:
    with memory:
        found = Subjects(memory, scope=HERE).recall("unpack an archive")
    assert [each.session for each in found] == ["zip", "csv"]
    best = found[0].best[0]
    assert best.item.text.startswith("function unpack")
    assert sum(best.parts.values()) == pytest.approx(best.score)
    assert found[0].score > found[1].score


def test_what_has_no_session_or_another_kind_or_scope_is_no_subject(memory: Memory) -> None:
    elsewhere = Scope("acme", "s1", "dock", "dock/1")
    with memory:
        memory.remember("unpack an archive", scope=HERE)
        memory.remember("unpack an archive", scope=HERE, kind=Kind.FACT, session="fact")
        memory.remember("unpack an archive", scope=elsewhere, session="private")
        found = Subjects(memory, scope=HERE).recall("unpack an archive", k=10)
        assert sorted(each.session for each in found) == ["csv", "zip"]
        facts = Subjects(memory, scope=HERE, kinds=[Kind.FACT]).recall("unpack an archive")
        assert [each.session for each in facts] == ["fact"]
        assert Subjects(memory, scope=Scope("acme", "none")).recall("archive") == []


def test_an_empty_need_is_refused(memory: Memory) -> None:
    with memory, pytest.raises(InvalidItem, match="empty"):
        Subjects(memory, scope=HERE).recall("  ")
