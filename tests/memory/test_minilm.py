"""A memory whose vectors come from the real all-MiniLM-L6-v2: it finds what means the same and shares no word."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cluster.cli import app
from memory.errors import EmbedderMismatch
from memory.memory import Memory
from memory.scope import Scope
from tests.inference.embedders import shared_minilm

pytestmark = pytest.mark.xdist_group("minilm")  # which is loaded once

ALL = Scope("acme")
NOTES = [
    "The kid has a fever.",
    "Bidders pay in euro.",
    "The north dock opens at six.",
    "Spaghetti was cooked for supper.",
]


def nearest(memory: Memory, text: str) -> str:
    return memory.recall(text, scope=ALL, k=1)[0].item.text


def test_meaning_is_recalled_where_no_word_is_shared(tmp_path: Path) -> None:
    embedder = shared_minilm()
    with Memory.open(tmp_path, embedder) as memory:
        for note in NOTES:
            memory.remember(note, scope=ALL)
        assert nearest(memory, "Whose child is ill?") == NOTES[0]
        assert nearest(memory, "What did they eat in the evening?") == NOTES[3]
    with Memory.open(tmp_path, embedder) as memory:
        assert nearest(memory, "Whose child is ill?") == NOTES[0]


def test_a_memory_moves_to_the_model_and_then_is_refused_to_the_built_in_embedder(tmp_path: Path) -> None:
    with Memory.open(tmp_path) as memory:
        for note in NOTES:
            memory.remember(note, scope=ALL)
    embedder = shared_minilm()
    with pytest.raises(EmbedderMismatch):
        Memory.open(tmp_path, embedder)
    assert Memory.reembed(tmp_path, embedder) == len(NOTES)
    with Memory.open(tmp_path, embedder) as memory:
        assert nearest(memory, "Whose child is ill?") == NOTES[0]
    with pytest.raises(EmbedderMismatch):
        Memory.open(tmp_path)


def test_the_command_line_takes_the_model_by_its_name(tmp_path: Path) -> None:
    with Memory.open(tmp_path, shared_minilm()) as memory:
        for note in NOTES:
            memory.remember(note, scope=ALL)
    words = [
        "memory",
        "recall",
        "Whose child is ill?",
        "--scope",
        "tenant=acme",
        "--at",
        str(tmp_path),
        "--json",
    ]
    result = CliRunner().invoke(app, [*words, "--embedder", "inference.minilm:minilm"])
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)[0]["item"]["text"] == NOTES[0]
    assert CliRunner().invoke(app, words).exit_code == 2
