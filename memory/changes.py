"""What one shard lacks of another: rows as they are, after a sequence number.

Rules:
* Changes are states, not commands: taking the same ones twice, or old ones again, changes nothing.
* They are read in one transaction of the source and taken in one of the receiver, whole writes at a time.
* A source has an *epoch*. Who takes over has a greater one, and nothing is taken from a smaller one: two that both
  think that they lead cannot both be followed (fencing, as in Chubby: Burrows, OSDI 2006).
* What was erased, and which requests were answered, travels too: a follower that takes over neither brings back what
  was deleted nor does a repeated request twice.
"""

import json
import sqlite3
from dataclasses import dataclass
from typing import Final

import msgspec

from memory.errors import Conflict
from memory.schema import FIXED_COUNT, WHOLE, Row, check_row, slot_of
from memory.scope import Scope
from memory.store import Store
from memory.transaction import Transaction

PAGE_ROWS: Final = 5_000
_CHANGED: Final = f"SELECT {WHOLE} FROM item WHERE sequence > ? AND sequence <= ? ORDER BY sequence, id"  # noqa: S608 (constant columns)
_SEQUENCE: Final = FIXED_COUNT + 3


@dataclass(frozen=True, slots=True)
class Changes:
    """The changes after one sequence number, up to another."""

    after: int
    upto: int
    epoch: int
    counter: int
    recorded_at: float
    rows: list[tuple[str, Row]]
    """(path of the scope, row)."""
    erased: list[tuple[int, int]]
    """(id, sequence)."""
    requests: list[tuple[str, str, bytes, bytes, int]]
    """(path of the scope that acted, key, digest, answer, sequence)."""
    complete: bool
    """False if the source has more."""


def changes_after(
    store: Store, after: int, limit: int = PAGE_ROWS, slots: frozenset[int] | None = None
) -> Changes:
    """What the store has after a sequence number: whole writes of about `limit` rows; of some slots only, if given.

    Raises `StoreCorrupt` for a row that is not as it was written: it must not spread.
    """
    with store.reading() as connection:
        meta = dict(connection.execute("SELECT name, value FROM meta"))
        last = int(meta["sequence"])
        upto = _cut(connection, after, last, limit)
        within = (after, upto)
        rows = connection.execute(_CHANGED, within).fetchall()
        erased = connection.execute(
            "SELECT id, sequence FROM erased WHERE sequence > ? AND sequence <= ? ORDER BY sequence, id",
            within,
        ).fetchall()
        requests = connection.execute(
            "SELECT path, key, digest, answer, sequence FROM request JOIN scope ON number = scope "
            "WHERE sequence > ? AND sequence <= ? ORDER BY sequence", within
        ).fetchall()  # fmt: skip
    if slots is not None:
        rows = [row for row in rows if slot_of(row[0]) in slots]
        erased = [pair for pair in erased if slot_of(pair[0]) in slots]
        requests = [request for request in requests if _concerns(request[3], slots)]
    for row in rows:
        check_row(row, store.identity.dimension, str(store.path))
    return Changes(
        after, upto, int(meta["epoch"]), int(meta["counter"]), float(meta["recorded_at"]),
        [(store.scopes[row[1]].path, row) for row in rows], erased, requests, upto == last,
    )  # fmt: skip


def take_changes(transaction: Transaction, changes: Changes, *, follow: bool) -> None:
    """Takes changes over. A follower takes the source's numbers as well; a new owner of some slots gives its own."""
    if follow and changes.after > transaction.sequence:
        raise Conflict(
            f"changes after {changes.after} do not join on to {transaction.sequence}: ask for those in between"
        )
    seen = transaction.sequence if follow else -1
    if not follow:
        transaction.touch()
    mine = transaction.sequence
    for each, sequence in changes.erased:
        if sequence > seen:
            transaction.remove(each, sequence if follow else mine)
    fresh = [(path, row) for path, row in changes.rows if row[_SEQUENCE] > seen]
    for _, row in fresh:
        transaction.remove(row[0], None)
    for path, row in fresh:
        transaction.put(row, Scope.parse(path), row[_SEQUENCE] if follow else mine)
    for path, key, digest, answer, sequence in changes.requests:
        if sequence > seen:
            transaction.put_request(Scope.parse(path), key, digest, answer, sequence if follow else mine)
    transaction.advance(changes.upto if follow else 0, changes.counter, changes.recorded_at)


def _cut(connection: sqlite3.Connection, after: int, last: int, limit: int) -> int:
    """The sequence number up to which there are about `limit` rows; at least one whole write."""
    row = connection.execute(
        "SELECT sequence FROM item WHERE sequence > ? ORDER BY sequence LIMIT 1 OFFSET ?", (after, limit)
    ).fetchone()
    return last if row is None else max(after + 1, row[0] - 1)


def _concerns(answer: bytes, slots: frozenset[int]) -> bool:
    return any(slot_of(receipt[0]) in slots for receipt in msgspec.msgpack.decode(answer))


def owned_elsewhere(store: Store) -> frozenset[int]:
    """The slots that the store gave away, as it noted them."""
    return frozenset(json.loads(store.meta("foreign", "[]")))
