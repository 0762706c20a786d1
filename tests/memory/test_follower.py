"""Followers: caught up by sequence number, fenced by epoch, good for tokens."""

import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from memory.changes import Changes, changes_after
from memory.errors import Behind, Conflict, NotAllowed, NotReplicated, StoreCorrupt, UnknownItem
from memory.follower import Follower, Replication
from memory.item import Draft
from memory.memory import Memory
from memory.scope import Scope
from tests.memory.embedding import TinyEmbedder
from tests.memory.test_faults import change

HERE = Scope("t", agent="a")


def eventually(holds: Callable[[], bool]) -> bool:
    """True if it holds within ten seconds."""
    until = time.monotonic() + 10
    while not holds():
        if time.monotonic() > until:
            return False
        time.sleep(0.005)
    return True


def rows(memory: Memory) -> list[object]:
    """All rows, those of the past too, and what was erased."""
    return [
        memory.shard.store.rows(
            "SELECT id, text, retired_at, superseded_by, sequence, recorded_at, vector FROM item ORDER BY id"
        ),
        memory.shard.store.rows("SELECT id, sequence FROM erased ORDER BY id"),
        memory.shard.store.rows("SELECT key, answer FROM request ORDER BY key"),
    ]


def test_a_follower_has_what_the_leader_has_row_by_row(tmp_path: Path) -> None:
    leader, copy = Memory.open(tmp_path / "a", TinyEmbedder()), Memory.open(tmp_path / "b", TinyEmbedder())
    follower = Follower(copy.shard)
    early = leader.remember("before", scope=HERE, key="k")
    replication = Replication(leader.shard, [follower.take])
    for number in range(60):
        made = leader.remember(f"note {number}", scope=HERE)
        if number % 3 == 0:
            leader.correct(made.id, f"better {number}", scope=HERE)
        if number % 5 == 1:
            leader.forget(made.id, scope=HERE)
    last = leader.remember("the last", scope=HERE)
    replication.confirm(last.sequence)
    assert rows(leader) == rows(copy)
    assert copy.check().sound
    assert copy.recall("the last", scope=HERE, token=last.sequence)[0].item.id == last.id
    with pytest.raises(NotAllowed, match="promote"):
        copy.remember("own", scope=HERE)
    replication.close()
    leader.close()
    assert follower.promote() == 1
    assert (
        copy.remember("before", scope=HERE, key="k") == early
    )  # answered by the old leader, and still known
    assert copy.remember("new", scope=HERE).id > last.id
    copy.close()


def test_a_leader_that_was_replaced_is_not_followed_any_more(tmp_path: Path) -> None:
    with (
        Memory.open(tmp_path / "a", TinyEmbedder()) as leader,
        Memory.open(tmp_path / "b", TinyEmbedder()) as copy,
    ):
        follower = Follower(copy.shard)
        replication = Replication(leader.shard, [follower.take])
        replication.confirm(leader.remember("one", scope=HERE).sequence)
        follower.promote()
        late = leader.remember("late", scope=HERE)
        with pytest.raises(NotReplicated, match="epoch"):
            replication.confirm(late.sequence, timeout_s=1.0)
        replication.close()
        assert [item.text for item in copy.items(scope=HERE)] == ["one"]


def test_of_two_leaders_only_the_one_of_the_later_epoch_is_followed(tmp_path: Path) -> None:
    with (
        Memory.open(tmp_path / "a", TinyEmbedder()) as old,
        Memory.open(tmp_path / "b", TinyEmbedder()) as new,
        Memory.open(tmp_path / "c", TinyEmbedder()) as copy,
    ):
        heir, follower = Follower(new.shard), Follower(copy.shard)
        old.remember("one", scope=HERE)
        for each in (heir, follower):
            each.take(old.shard.changes(0))
        heir.promote()
        old.remember("of the old leader", scope=HERE)
        new.remember("of the new leader", scope=HERE)
        follower.take(new.shard.changes(follower.sequence))
        with pytest.raises(Conflict, match="epoch"):
            follower.take(old.shard.changes(1))
        assert [item.text for item in copy.items(scope=HERE)] == ["one", "of the new leader"]


def test_a_follower_that_was_away_is_caught_up(tmp_path: Path) -> None:
    with (
        Memory.open(tmp_path / "a", TinyEmbedder()) as leader,
        Memory.open(tmp_path / "b", TinyEmbedder()) as copy,
    ):
        follower = Follower(copy.shard)
        away = threading.Event()

        def send(changes: Changes) -> int:
            if away.is_set():
                raise ConnectionError("away")
            return follower.take(changes)

        replication = Replication(leader.shard, [send])
        replication.confirm(leader.remember("one", scope=HERE).sequence)
        away.set()
        two = leader.remember("two", scope=HERE)
        with pytest.raises(NotReplicated, match="away"):
            replication.confirm(two.sequence, timeout_s=0.2)
        away.clear()
        replication.confirm(two.sequence)
        assert replication.problems == [""]
        replication.close()


def test_pages_taken_twice_or_in_the_wrong_order_change_nothing(tmp_path: Path) -> None:
    with (
        Memory.open(tmp_path / "a", TinyEmbedder()) as leader,
        Memory.open(tmp_path / "b", TinyEmbedder()) as copy,
    ):
        follower = Follower(copy.shard)
        for number in range(30):
            made = leader.remember(f"note {number}", scope=HERE)
            if number % 2:
                leader.correct(made.id, f"better {number}", scope=HERE)
        pages = []
        at = 0
        while not pages or not pages[-1].complete:
            pages.append(changes_after(leader.shard.store, at, limit=4))
            at = pages[-1].upto
        assert len(pages) > 5
        assert follower.take(pages[3]) == 0  # does not join on
        for page in pages:
            follower.take(pages[0])
            follower.take(page)
            follower.take(page)
        assert rows(leader) == rows(copy)
        assert copy.check().sound


def test_a_row_that_went_bad_is_not_spread(tmp_path: Path) -> None:
    leader = Memory.open(tmp_path, TinyEmbedder())
    made = leader.remember("text", scope=HERE)
    leader.close()
    change(tmp_path, "UPDATE item SET text = 'false' WHERE id = ?", made.id)
    with Memory.open(tmp_path, TinyEmbedder()) as leader, pytest.raises(StoreCorrupt, match=str(made.id)):
        leader.shard.changes(0)


def test_a_token_of_a_write_that_has_not_come_is_waited_for_and_then_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("memory.memory._TOKEN_WAIT_S", 0.05)
    with Memory.open(tmp_path, TinyEmbedder()) as memory:
        memory.remember("one", scope=HERE)
        with pytest.raises(Behind):
            memory.recall("one", scope=HERE, token=5)


def test_a_purge_reaches_the_follower(tmp_path: Path) -> None:
    with (
        Memory.open(tmp_path / "a", TinyEmbedder()) as leader,
        Memory.open(tmp_path / "b", TinyEmbedder()) as copy,
    ):
        follower = Follower(copy.shard)
        replication = Replication(leader.shard, [follower.take])
        ids = [each.id for each in leader.remember_all([Draft(HERE, "one"), Draft(HERE, "two")], scope=HERE)]
        replication.confirm(leader.token)
        leader.purge(ids, scope=HERE)
        replication.confirm(leader.token)
        with pytest.raises(UnknownItem):
            copy.get(ids[0], scope=HERE)
        assert eventually(lambda: len(copy) == 0)
        replication.close()
