"""What is remembered of a module: names, words, docstrings and imports; bounded, public, the same every time."""

import ast
import asyncio
from pathlib import Path

import pytest

from experiments import module_notes
from experiments.module_notes import drafts_of, in_words, notes_of, read_and_remember
from experiments.python_source import SourceFile, read_module, source_files
from memory.item import Kind
from memory.memory import Memory
from memory.scope import Scope
from memory.seat import LocalDoor, Seat

SOURCE = '''"""Reads HTML pages.

A page is read line by line, and nothing is fetched.

>>> PageReader()
"""
import json, re

class PageReader:
    """A reader of pages."""
    def feed_line(self, line):
        """Takes a line.

        Not more than one.
        """
    def close(self): ...
    def _hidden(self):
        """No."""

def fetch_page(url, *, timeout):
    "Fetch a web page."

def _private(): ...

try:
    import fast
except ImportError:
    def fallback():
        """Slower, but there."""
'''
SWARM = Scope("rayswarm", "survey")


def texts(source: str, module: str = "pages") -> list[str]:
    return [note["text"] for note in notes_of(ast.parse(source), module)]


def test_a_module_and_what_it_offers_are_told_in_names_words_and_docstrings() -> None:
    assert texts(SOURCE) == [
        "module pages (pages). Reads HTML pages.",
        "of pages (pages). A page is read line by line, and nothing is fetched.",
        "pages (pages) offers page reader, fallback, fetch page",
        "class PageReader (page reader) in pages. A reader of pages.",
        "method PageReader.feed_line(line) (page reader feed line) in pages. Takes a line.",
        "function fetch_page(url, timeout) (fetch page) in pages. Fetch a web page.",
        "function fallback() (fallback) in pages. Slower, but there.",
    ]


def test_importance_puts_a_module_before_its_parts_and_what_is_private_last() -> None:
    module, paragraph, _, reader, method, *_ = [
        note["importance"] for note in notes_of(ast.parse(SOURCE), "pages")
    ]
    assert module > paragraph == reader > method > 0
    weights = [notes_of(ast.parse(""), name)[0]["importance"] for name in ("a", "a.b", "a._b")]
    assert weights == sorted(weights, reverse=True)
    assert len(set(weights)) == 3


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("HTMLParser", "html parser"),
        ("parse_date", "parse date"),
        ("b64encode", "b 64 encode"),
        ("a.bCd", "a b cd"),
        ("_", ""),
    ],
)
def test_names_are_told_in_words(name: str, words: str) -> None:
    assert in_words(name) == words


def test_notes_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    many = "\n".join(f"def f{number}(): 'x{'y' * 900}'" for number in range(400))
    notes = texts(f'"""{"word " * 5000}"""\n{many}')
    assert len(notes) == 1 + -(-module_notes.NAMES_MAX // module_notes.NAMES_A_NOTE) + module_notes.OFFERS_MAX
    assert max(map(len, notes)) < 1_000
    assert texts("") == ["module pages (pages)."]


def file_of(root: Path) -> SourceFile:
    return source_files(str(root))["files"][0]


def test_imports_are_facts_and_lone_surrogates_are_escaped(tmp_path: Path) -> None:
    (tmp_path / "m.py").write_text("import json.decoder, re\ndef f():\n    '\\ud800 odd'\n")
    file = file_of(tmp_path)
    summary, tree = read_module(str(tmp_path), file)
    assert tree is not None
    drafts = drafts_of(tree, file, summary, SWARM)
    facts = [draft.attributes for draft in drafts if draft.kind is Kind.FACT]
    assert [(fact["subject"], fact["relation"], fact["object"]) for fact in facts] == [
        ("m", "imports", "json.decoder"),
        ("m", "imports", "re"),
    ]
    assert any("\\ud800" in draft.text for draft in drafts)


def test_a_module_read_twice_by_two_agents_is_remembered_once_for_all(tmp_path: Path) -> None:
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "pages.py").write_text(SOURCE)
    (tmp_path / "tree" / "wrong.py").write_text("def f(:\n")
    root = str(tmp_path / "tree")

    async def twice(memory: Memory) -> None:
        for agent in ("surveyor/1", "surveyor/2"):
            seat = Seat(LocalDoor(memory), Scope("rayswarm", "survey", "surveyor", agent))
            for file in source_files(root)["files"]:
                summary = await read_and_remember(root, file, seat)
                assert ("reason" in summary) == (file["name"] == "wrong")

    with Memory.open(tmp_path / "memory") as memory:
        asyncio.run(twice(memory))
        items = list(memory.items(scope=SWARM))
    assert sorted(item.text for item in items if item.kind is Kind.NOTE) == sorted(texts(SOURCE))
    assert {item.scope for item in items} == {SWARM}
