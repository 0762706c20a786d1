"""Moving scopes between shards in use: no write is lost and none found twice, wherever the move breaks off."""

import threading
from pathlib import Path

import pytest

from memory.errors import InvalidItem, Moved, StoreCorrupt
from memory.item import Draft
from memory.memory import Memory
from memory.rebalance import Table, move
from memory.scope import SLOTS, Scope
from tests.memory.embedding import TinyEmbedder

SCOPES = [Scope("t", agent=f"a{number}") for number in range(20)]
STEPS = ("copy", "freeze", "rest", "commit", "assign", "drop")


def opened(folder: Path) -> tuple[Table, list[Memory]]:
    """A table and two shards, each with its slots: as a start, or a new start after a crash."""
    table = Table(folder, 2)
    memories = [Memory.open(folder / str(number), TinyEmbedder()) for number in range(2)]
    for number, memory in enumerate(memories):
        memory.shard.assign(table.slots_of(number))
    return table, memories


def holders(table: Table, memories: list[Memory], scope: Scope) -> list[list[str]]:
    """The texts of a scope, shard by shard, as they lie there."""
    return [
        sorted(
            row[0]
            for row in memory.shard.store.rows(
                "SELECT text FROM item JOIN scope ON number = scope WHERE path = ?", (scope.path,)
            )
        )
        for memory in memories
    ]


@pytest.mark.parametrize("broken_at", [*STEPS, "not at all"])
def test_a_move_that_breaks_off_anywhere_leaves_each_item_in_one_place(
    tmp_path: Path, broken_at: str
) -> None:
    table, memories = opened(tmp_path)
    for number, scope in enumerate(SCOPES):
        memories[table.owners[scope.slot]].remember(f"note {number}", scope=scope, key="k")
    leaving = frozenset(scope.slot for scope in SCOPES)

    def probe(step: str) -> None:
        if step == broken_at:
            raise KeyboardInterrupt

    if broken_at == "not at all":
        move(table, [memory.shard for memory in memories], leaving, 1, probe)
    else:
        with pytest.raises(KeyboardInterrupt):
            move(table, [memory.shard for memory in memories], leaving, 1, probe)
    for memory in memories:
        memory.close()
    table, memories = opened(tmp_path)
    for number, scope in enumerate(SCOPES):
        there = holders(table, memories, scope)
        owner = table.owners[scope.slot]
        assert there[owner] == [f"note {number}"]
        assert there[1 - owner] == []
        again = memories[owner].remember(f"note {number}", scope=scope, key="k")
        assert memories[owner].get(again.id, scope=scope).text == f"note {number}"
        assert not again.duplicate  # the request was answered before, and is answered the same
        with pytest.raises(Moved):
            memories[1 - owner].remember("elsewhere", scope=scope)
        with pytest.raises(Moved):
            memories[1 - owner].recall("note", scope=scope, within=[scope])
    for memory in memories:
        assert memory.check().sound
        memory.close()


def test_writes_go_on_while_scopes_move_to_and_fro(tmp_path: Path) -> None:
    table, memories = opened(tmp_path)
    done: dict[Scope, list[str]] = {scope: [] for scope in SCOPES}
    stop = threading.Event()
    problems: list[str] = []

    def write(scopes: list[Scope]) -> None:
        count = 0
        while not stop.is_set():
            count += 1
            for scope in scopes:
                while True:
                    try:
                        memories[table.owners[scope.slot]].remember_all(
                            [Draft(scope, f"n{count}")], scope=scope
                        )
                    except Moved:
                        continue
                    done[scope].append(f"n{count}")
                    break
                try:
                    found = memories[table.owners[scope.slot]].recall(
                        "n1", scope=scope, k=10_000, within=[scope]
                    )
                except Moved:
                    continue
                if len(found) != count:
                    problems.append(f"{scope.path}: {len(found)} of {count}")

    threads = [threading.Thread(target=write, args=(SCOPES[number::3],)) for number in range(3)]
    for thread in threads:
        thread.start()
    slots = sorted(scope.slot for scope in SCOPES)
    for turn in range(6):
        move(table, [memory.shard for memory in memories], frozenset(slots[turn::2]), turn % 2)
    stop.set()
    for thread in threads:
        thread.join()
    assert not problems, problems[:3]
    for scope in SCOPES:
        there = holders(table, memories, scope)
        assert there[table.owners[scope.slot]] == sorted(done[scope])
        assert there[1 - table.owners[scope.slot]] == []
    for memory in memories:
        assert memory.check().sound
        memory.close()


def test_what_is_written_between_copy_and_freeze_moves_too(tmp_path: Path) -> None:
    table, memories = opened(tmp_path)
    scope = SCOPES[0]
    owner = table.owners[scope.slot]
    early = memories[owner].remember("early", scope=scope).id

    def probe(step: str) -> None:
        if step == "freeze":
            memories[owner].remember("late", scope=scope)
            memories[owner].forget(early, scope=scope)
        if step == "rest":
            with pytest.raises(Moved):
                memories[owner].remember("too late", scope=scope)
            assert len(memories[owner].recall("late", scope=scope, within=[scope])) == 1

    move(table, [memory.shard for memory in memories], frozenset([scope.slot]), 1 - owner, probe)
    assert holders(table, memories, scope)[1 - owner] == ["late"]
    for memory in memories:
        assert memory.check().sound
        memory.close()


def test_a_move_that_fails_is_undone_and_both_go_on(tmp_path: Path) -> None:
    table, memories = opened(tmp_path)
    scope = SCOPES[0]
    owner = table.owners[scope.slot]
    memories[owner].remember("one", scope=scope)

    def fail(step: str) -> None:
        if step == "rest":
            raise ConnectionError

    with pytest.raises(ConnectionError):
        move(table, [memory.shard for memory in memories], frozenset([scope.slot]), 1 - owner, fail)
    memories[owner].remember("two", scope=scope)
    assert holders(table, memories, scope)[1 - owner] == []
    move(table, [memory.shard for memory in memories], frozenset([scope.slot]), 1 - owner)
    assert holders(table, memories, scope)[1 - owner] == ["one", "two"]
    for memory in memories:
        memory.close()


def test_ids_stay_and_are_never_given_again(tmp_path: Path) -> None:
    table, memories = opened(tmp_path)
    scope = SCOPES[0]
    owner = table.owners[scope.slot]
    ids = [memories[owner].remember(f"note {number}", scope=scope).id for number in range(20)]
    memories[owner].forget(ids[-1], scope=scope)
    move(table, [memory.shard for memory in memories], frozenset([scope.slot]), 1 - owner)
    fresh = [memories[1 - owner].remember(f"new {number}", scope=scope).id for number in range(20)]
    assert not set(fresh) & set(ids)
    assert memories[1 - owner].get(ids[0], scope=scope).text == "note 0"
    for memory in memories:
        memory.close()


def test_a_table_that_cannot_be_true_is_refused(tmp_path: Path) -> None:
    table = Table(tmp_path, 3)
    assert sorted(slot for shard in range(3) for slot in table.slots_of(shard)) == list(range(SLOTS))
    with pytest.raises(InvalidItem, match="3 shards"):
        Table(tmp_path, 2)
    (tmp_path / "table.json").write_text("[1, 2]")
    with pytest.raises(StoreCorrupt):
        Table(tmp_path, 3)
