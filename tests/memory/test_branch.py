"""A branch holds what the kept turns alone would have written, whatever the others did."""

import random
from pathlib import Path

import pytest

from memory.branch import Branch, branch
from memory.errors import InvalidItem, NotBranchable, StoreLocked
from memory.item import Draft
from memory.memory import Memory
from memory.scope import Scope
from tests.memory.embedding import TinyEmbedder

SWARM = Scope("t", swarm="s")
AGENTS = [Scope("t", swarm="s", agent=name) for name in ("ann", "ben", "cat")]


def said(memory: Memory, text: str, origin: str, by: Scope = AGENTS[0], into: Scope = SWARM) -> int:
    return memory.remember_all([Draft(into, text)], scope=by, origin=origin)[0].id


def test_a_branch_is_what_the_kept_turns_alone_would_have_left(tmp_path: Path) -> None:
    """Against an oracle: a memory to which only the kept turns wrote, each what it wrote in the whole run."""
    for seed in range(6):
        rng = random.Random(seed)
        place = tmp_path / str(seed)
        turns = [f"worker/{number}#{rng.randrange(99)}" for number in range(40)]
        kept = {turn for turn in turns if rng.random() < 0.6}
        believed: dict[str, set[str]] = {}
        with Memory.open(place / "whole", TinyEmbedder()) as memory:
            ids: dict[str, int] = {}
            for turn in turns:
                for _ in range(rng.randrange(4)):
                    text = f"text {rng.randrange(60)}"
                    ids[text] = said(memory, text, turn, rng.choice(AGENTS))
                    believed.setdefault(text, set()).add(turn)
        assert branch(place / "whole", place / "branch", kept).kept == sum(
            bool(by & kept) for by in believed.values()
        )
        with Memory.open(place / "branch", TinyEmbedder()) as memory:
            wanted = {ids[text] for text, by in believed.items() if by & kept}
            assert {item.id for item in memory.items(scope=SWARM)} == wanted, seed
            assert memory.check().sound, seed
            found = memory.recall("text 7", scope=SWARM, k=100)
            assert {each.item.id for each in found} == wanted, seed
            fresh = memory.remember("after the fork", scope=SWARM)
            assert fresh.id > max(ids.values())


def test_a_correction_after_the_fork_is_undone_and_one_before_it_stands(tmp_path: Path) -> None:
    with Memory.open(tmp_path / "whole", TinyEmbedder()) as memory:
        old = said(memory, "opens at six", "a#1")
        new = memory.correct(old, "opens at seven", scope=SWARM, origin="a#2").id
        last = memory.correct(new, "opens at eight", scope=SWARM, origin="a#3").id
        shared = memory.share(
            said(memory, "mine", "a#2", into=AGENTS[0]), scope=AGENTS[0], into=SWARM, origin="a#3"
        )
    assert branch(tmp_path / "whole", tmp_path / "one", {"a#1", "a#2"}) == Branch(3, 2, 1)
    with Memory.open(tmp_path / "one", TinyEmbedder()) as memory:
        assert memory.get(old, scope=SWARM).superseded_by == new
        assert memory.get(new, scope=SWARM).current
        assert [found.item.id for found in memory.recall("opens", scope=SWARM)] == [new]
        assert not {last, shared.id} & {item.id for item in memory.items(scope=AGENTS[0], retired=True)}
        assert memory.check().sound
    with Memory.open(tmp_path / "whole", TinyEmbedder()) as memory:
        assert memory.get(last, scope=SWARM).current, "the other memory is left as it was"


def test_what_is_said_again_after_its_retirement_is_believed_once(tmp_path: Path) -> None:
    """The retirement is undone, and the same text was said again by a turn that is kept."""
    with Memory.open(tmp_path / "whole", TinyEmbedder()) as memory:
        old = said(memory, "opens at six", "a#1")
        memory.correct(old, "opens at seven", scope=SWARM, origin="a#2")
        again = said(memory, "opens at six", "b#1")
    branch(tmp_path / "whole", tmp_path / "branch", {"a#1", "b#1"})
    with Memory.open(tmp_path / "branch", TinyEmbedder()) as memory:
        assert [item.id for item in memory.items(scope=SWARM)] == [again]
        assert memory.get(old, scope=SWARM).superseded_by == again
        assert memory.check().sound


def test_what_was_erased_or_written_by_nobody_is_no_branch(tmp_path: Path) -> None:
    with Memory.open(tmp_path / "whole", TinyEmbedder()) as memory:
        gone = said(memory, "a secret", "a#1", into=AGENTS[0])
        memory.forget(gone, scope=AGENTS[0], origin="a#2")
        with pytest.raises(StoreLocked):
            branch(tmp_path / "whole", tmp_path / "open", set())
    with pytest.raises(NotBranchable, match=f"item {gone}: erased after the fork"):
        branch(tmp_path / "whole", tmp_path / "one", {"a#1"})
    assert not (tmp_path / "one").exists()
    assert branch(tmp_path / "whole", tmp_path / "two", {"a#1", "a#2"}) == Branch(0, 0, 0)
    assert branch(tmp_path / "whole", tmp_path / "three", set()) == Branch(0, 0, 0)
    with Memory.open(tmp_path / "whole", TinyEmbedder()) as memory:
        stray = memory.remember("by hand", scope=SWARM).id
    with pytest.raises(NotBranchable, match=f"item {stray}: written"):
        branch(tmp_path / "whole", tmp_path / "four", {"a#1", "a#2"})


def test_keys_are_forgotten_and_notes_of_kept_turns_are_not(tmp_path: Path) -> None:
    with Memory.open(tmp_path / "whole", TinyEmbedder()) as memory:
        memory.remember_all([Draft(SWARM, "one")], scope=SWARM, key="k", origin="a#1")
        memory.remember_all([Draft(SWARM, "two")], scope=SWARM, key="l", origin="a#2")
        with pytest.raises(InvalidItem):
            memory.remember("three", scope=SWARM, key="\x1fk")
    branch(tmp_path / "whole", tmp_path / "branch", {"a#1"})
    with Memory.open(tmp_path / "branch", TinyEmbedder()) as memory:
        assert not memory.remember_all([Draft(SWARM, "two, better")], scope=SWARM, key="l", origin="a#2")[
            0
        ].duplicate
    assert branch(tmp_path / "branch", tmp_path / "again", {"a#1"}) == Branch(1, 1, 0)
