"""A branch: a memory beside another, as if of all turns that wrote to it only some had been. For forks of runs.

What agents write through their seats is noted with the turn in which it was written (its *origin*), so the past can be
put together from any set of turns; a moment of the clock would not do, for a fork cuts each cell at another one.

Rules:
* An item is there if a turn that is kept said it, also where another had said it before. It is believed unless a turn
  that is kept retired it. Ids and times of record stay.
* What was erased cannot come back, and what no turn wrote belongs to no side: then there is no branch, and the error
  says which item it is.
* A turn that had begun counts whole, as after a crash: it does again what it had not finished, and finds it done.
* Idempotency keys are forgotten: what was answered under them may not have happened here.
* The other memory must not be open, and is only read. The branch is there whole or not at all.
"""

import secrets
import shutil
import sqlite3
from collections.abc import Container, Iterable
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from memory.errors import NotBranchable
from memory.folder import sync_folder
from memory.store import DATABASE, Store, told
from memory.transaction import ERASED, NOTE, RETIRED, SAID

_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Branch:
    """What became of the items."""

    kept: int
    dropped: int
    """Said by turns that are not kept."""
    revived: int
    """Retired by turns that are not kept: believed again."""


@dataclass(slots=True)
class _Noted:
    """Ids that turns said, retired or erased."""

    said: set[int] = field(default_factory=set)
    retired: set[int] = field(default_factory=set)
    erased: set[int] = field(default_factory=set)


def branch(folder: Path, target: Path, turns: Container[str]) -> Branch:
    """Makes `target`, a folder that is not there yet, from the memory in `folder` and the turns that are kept.

    Raises `NotBranchable` where that past cannot be had, `StoreLocked` if the memory is open.
    """
    beside = target.with_name(f".{target.name}.new")
    shutil.rmtree(beside, ignore_errors=True)
    store = Store(folder, None)
    try:
        with told(store.path):
            every, kept = _noted(store.writing, turns)
            _check(store.writing, every, kept)
            beside.mkdir(parents=True)
            with closing(sqlite3.connect(beside / DATABASE)) as copy:
                store.writing.backup(copy)
    finally:
        store.close()
    made = Store(beside, None)
    try:
        with told(made.path, committing=True):
            made.writing.execute("BEGIN IMMEDIATE")
            done = _cut(made.writing, kept, turns)
            made.writing.execute("COMMIT")
    finally:
        made.close()
    sync_folder(beside)
    beside.rename(target)
    sync_folder(target.parent)
    return done


def _noted(read: sqlite3.Connection, turns: Container[str]) -> tuple[_Noted, _Noted]:
    """What all turns did, and what those did that are kept."""
    every, kept = _Noted(), _Noted()
    for (key,) in read.execute("SELECT key FROM request"):
        if key.startswith(NOTE):
            _, origin, what = key.split(NOTE)
            for noted in (every, kept) if origin in turns else (every,):
                ids = {SAID: noted.said, RETIRED: noted.retired, ERASED: noted.erased}[what[0]]
                ids.add(int(what[1:]))
    return every, kept


def _check(read: sqlite3.Connection, every: _Noted, kept: _Noted) -> None:
    rows = read.execute("SELECT id, retired_at FROM item").fetchall()
    erased = {row[0] for row in read.execute("SELECT id FROM erased")}
    unplaced = {each for each, _ in rows} - every.said
    unplaced |= {each for each, retired_at in rows if retired_at is not None} - every.retired
    unplaced |= erased - every.erased
    if unplaced:
        raise NotBranchable(
            f"{_listed(unplaced)}: written, retired or erased in no turn of an agent that is still noted, so nothing "
            "says on which side of the fork that was"
        )
    lost = (erased & kept.said) - kept.erased
    if lost:
        raise NotBranchable(
            f"{_listed(lost)}: erased after the fork, and what is erased is gone for good. Fork at a later message, or "
            "let agents correct what they believe no longer, and not forget it."
        )


def _cut(write: sqlite3.Connection, kept: _Noted, turns: Container[str]) -> Branch:
    rows = write.execute("SELECT id, retired_at FROM item ORDER BY id").fetchall()
    doomed = [(each,) for each, _ in rows if each not in kept.said]
    revived = [
        each for each, retired_at in rows
        if each in kept.said and retired_at is not None and each not in kept.retired
    ]  # fmt: skip
    forgotten = [
        (scope, key) for scope, key in write.execute("SELECT scope, key FROM request")
        if not key.startswith(NOTE) or key.split(NOTE)[1] not in turns
    ]  # fmt: skip
    write.execute("CREATE TEMP TABLE doomed(id INTEGER PRIMARY KEY)")
    write.executemany("INSERT INTO doomed VALUES(?)", doomed)
    write.execute("DELETE FROM item WHERE id IN doomed")
    write.execute("DELETE FROM derivation WHERE parent IN doomed OR child IN doomed")
    back = 0
    for each in revived:
        # Ignored where another item says the same and is believed: then that one is its successor.
        back += write.execute(
            "UPDATE OR IGNORE item SET retired_at = NULL, superseded_by = NULL WHERE id = ?", (each,)
        ).rowcount
        write.execute(
            "UPDATE item SET superseded_by = (SELECT other.id FROM item AS other WHERE other.scope = item.scope "
            "AND other.hash = item.hash AND other.retired_at IS NULL) WHERE id = ? AND retired_at IS NOT NULL",
            (each,),
        )
    write.executemany("DELETE FROM request WHERE scope = ? AND key = ?", forgotten)
    write.execute("INSERT INTO words(words) VALUES('rebuild')")
    write.execute("UPDATE meta SET value = ? WHERE name = 'name'", (secrets.token_hex(8),))
    return Branch(len(rows) - len(doomed), len(doomed), back)


def _listed(ids: Iterable[int]) -> str:
    some = sorted(ids)
    more = f" and {len(some) - _SHOWN:,} more" if len(some) > _SHOWN else ""
    return f"item {', '.join(map(str, some[:_SHOWN]))}{more}"
