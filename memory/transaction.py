"""What one write does to the rows. Runs in the writer's thread, inside a commit; knows nothing of threads or commits.

Rules:
* All rights are checked here, where nothing can change between the check and the write: by id too.
* (scope, content hash) is unique among what is believed: the same said again answers with the item that is there, and
  changes nothing.
* A request under an idempotency key that was answered is answered the same again, and changes nothing; with another
  content it is a `Conflict`. Keys are of the scope that acts, so no tenant can guess another's. The last
  `_REQUESTS_KEPT` sequence numbers' worth are kept.
* Each write that changes something has one sequence number, and an instant of its own: the clock never runs back.
* What is erased leaves its id alone, so that it is never used again and followers hear of it.
"""

import json
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from memory.errors import Conflict, InvalidItem, Moved, NotAllowed, UnknownItem
from memory.item import Draft, content_hash
from memory.schema import FIXED_COUNT, INSERT, Row, is_id, item_id, row_crc, slot_of
from memory.scope import Scope
from memory.store import Store

_REQUESTS_KEPT: Final = 1_000_000
_INDEX_WORDS: Final = "INSERT INTO words(rowid, text, scope) VALUES(?, ?, ?)"
_FORGET_WORDS: Final = (
    "INSERT INTO words(words, rowid, text, scope) SELECT 'delete', id, text, scope FROM item "
    "WHERE id = ? AND retired_at IS NULL"
)
_INSERT_NEW: Final = f"{INSERT} ON CONFLICT(scope, hash) WHERE retired_at IS NULL DO NOTHING"
_KEY_CHARACTERS: Final = 200
_ORIGIN_CHARACTERS: Final = 1_000
NOTE: Final = "\x1f"
"""Begins, and parts, the keys under which `request` notes the origins of writes: `NOTE origin NOTE mark id`."""
SAID, RETIRED, ERASED = "+", "-", "x"
_PURGED_AT_ONCE: Final = 100_000
_MANY: Final = 16


class Prepared(msgspec.Struct, frozen=True, gc=False):
    """A draft made ready by who writes, so that the writer's thread does little: its hash, its JSON, its vector."""

    draft: Draft
    hash: bytes
    attributes: str
    parents: str
    vector: bytes
    """Half precision, `schema.VECTOR_TYPE`."""


class Receipt(msgspec.Struct, frozen=True, gc=False):
    """What a write did."""

    id: int
    sequence: int
    """A token: a reader that waits for it sees the write."""
    duplicate: bool = False
    """True if it was there already, and nothing was changed."""


@dataclass(slots=True)
class Effect:
    """What a commit means for the index, in order."""

    added: list[Row] = field(default_factory=list)
    """Rows (`schema.WHOLE`) that are believed from now on."""
    removed: list[tuple[int, int]] = field(default_factory=list)
    """(scope's number, id) of what is no longer believed, or no longer there."""
    gone: list[int] = field(default_factory=list)
    """Ids whose item changed or went: copies of it are stale."""


def prepare(drafts: Sequence[Draft], vectors: NDArray[np.float16]) -> list[Prepared]:
    """Makes drafts ready to be written; `vectors` are as they will be stored, one a draft."""
    size = vectors.shape[1] * vectors.itemsize
    blob = vectors.tobytes()
    return [
        Prepared(
            draft,
            content_hash(draft),
            json.dumps(draft.attributes) if draft.attributes else "{}",
            json.dumps(draft.derived_from) if draft.derived_from else "[]",
            blob[at * size : (at + 1) * size],
        )
        for at, draft in enumerate(drafts)
    ]


class Transaction:
    """The writes of one commit, one after another."""

    def __init__(
        self, store: Store, clock: Callable[[], float], foreign: frozenset[int] = frozenset()
    ) -> None:
        self._store = store
        self._foreign = foreign
        """Slots that live on other shards: who writes has asked them for the parents."""
        self._write = store.writing
        self._clock = clock
        self.sequence: int = store.meta("sequence")
        self._counter: int = store.meta("counter")
        self._now: float = store.meta("recorded_at")
        self._fresh = True
        self.effect = Effect()
        self.new_scopes: list[Scope] = []
        self._last: tuple[Scope | None, int, int] = (None, 0, 0)
        """The scope that was last written to, its number and its slot."""

    def begin_write(self) -> tuple[int, int, float]:
        """To be called before each write of the group; what `abandon` takes back."""
        self._fresh = True
        self.effect = Effect()
        return (self.sequence, self._counter, self._now)

    def abandon(self, before: tuple[int, int, float]) -> None:
        """Forgets what a write that failed did here; its rows are rolled back by the caller."""
        self.sequence, self._counter, self._now = before
        self.effect = Effect()
        self._last = (None, 0, 0)  # the rows that were rolled back may be those that made its number

    def finish(self) -> None:
        """Writes the numbers that go on."""
        self._write.executemany(
            "UPDATE meta SET value = ? WHERE name = ?",
            [(self.sequence, "sequence"), (self._counter, "counter"), (self._now, "recorded_at")],
        )

    def once(
        self, reader: Scope, key: str, request: object, answer: Callable[[], list[Receipt]]
    ) -> list[Receipt]:
        """Does what `answer` does, unless this key was answered before: then that answer. No key: always does it."""
        if not key:
            return answer()
        if len(key) > _KEY_CHARACTERS or key.startswith(NOTE):
            raise InvalidItem(
                f"an idempotency key has up to {_KEY_CHARACTERS} characters, the first not {NOTE!r}: {key!r:.60}"
            )
        number = self.scope_number(reader)
        digest = blake2b(msgspec.msgpack.encode(request), digest_size=16).digest()
        known = self._write.execute(
            "SELECT digest, answer FROM request WHERE scope = ? AND key = ?", (number, key)
        ).fetchone()
        if known is not None:
            if known[0] != digest:
                raise Conflict(
                    f"the idempotency key {key!r} was used for another request: give each request a key of its own"
                )
            return [Receipt(*fields) for fields in msgspec.msgpack.decode(known[1])]
        receipts = answer()
        self.touch()
        answered = msgspec.msgpack.encode([(each.id, each.sequence, each.duplicate) for each in receipts])
        self.put_request(reader, key, digest, answered, self.sequence)
        self._write.execute("DELETE FROM request WHERE sequence <= ?", (self.sequence - _REQUESTS_KEPT,))
        return receipts

    def add(self, prepared: Sequence[Prepared], reader: Scope) -> list[Receipt]:
        """Adds items to scopes that the reader sees. What is there already is not added again."""
        allowed: Scope | None = None
        for ready in prepared:
            scope = ready.draft.scope
            if scope is not allowed:
                self._check_here(scope.slot)
                if not reader.sees(scope):
                    raise NotAllowed(
                        f"{reader.path} cannot write to {scope.path}: it writes to what it sees, its own scope and "
                        "those above it"
                    )
                allowed = scope
            for parent in ready.draft.derived_from:
                self._check_parent(parent, reader)
        first = len(self.effect.added)
        receipts = self._insert_fresh(prepared) if len(prepared) >= _MANY else None
        if receipts is None:
            ids = [self._insert(ready) for ready in prepared]
            receipts = [Receipt(new, self.sequence, not added) for new, added in ids]
        self._write.executemany(_INDEX_WORDS, [(row[0], row[3], row[1]) for row in self.effect.added[first:]])
        return receipts

    def supersede(
        self, old: Sequence[int], ready: Prepared | None, reader: Scope, successor: int | None = None
    ) -> list[Receipt]:
        """Retires items; `ready`, or the item `successor`, takes their place, or none does.

        Raises `Conflict` if one of them, or the successor, was retired before.
        """
        for each in (*old, successor) if successor is not None else old:
            self._check_current(each, reader)
        if successor in old:
            raise InvalidItem(f"item {successor} cannot take its own place")
        self.touch()
        for each in old:
            self._write.execute(_FORGET_WORDS, (each,))
            self._write.execute(
                "UPDATE item SET retired_at = ?, sequence = ? WHERE id = ?", (self._now, self.sequence, each)
            )
        receipts = [] if ready is None else self.add([ready], reader)
        if receipts:
            successor = receipts[0].id
        for each in old:
            scope = self._write.execute("SELECT scope FROM item WHERE id = ?", (each,)).fetchone()[0]
            self._write.execute("UPDATE item SET superseded_by = ? WHERE id = ?", (successor, each))
            self.effect.removed.append((scope, each))
            self.effect.gone.append(each)
        return receipts or [Receipt(each, self.sequence) for each in old]

    def erase(
        self, ids: Iterable[int], reader: Scope, *, derived: bool, owned: bool = False
    ) -> list[Receipt]:
        """Erases items for good; with `derived` also what was made of them, and their earlier versions.

        `owned`: they were made of what the reader purges, so it may; of its tenant they must be. Those gone are passed.
        """
        doomed: dict[int, int] = {}
        waiting: list[int] = []
        for each in ids:
            if owned:
                if self._is_of_tenant(each, reader):
                    waiting.append(each)
                continue
            scope = self._scope_of(each, reader)
            if not reader.may_erase(scope):
                raise NotAllowed(
                    f"item {each} is shared in {scope.path}: it is erased only by who acts at that very scope, and "
                    f"this was {reader.path}"
                )
            waiting.append(each)
        while waiting:
            each = waiting.pop()
            row = self._write.execute("SELECT scope FROM item WHERE id = ?", (each,)).fetchone()
            if row is None or each in doomed:
                continue
            doomed[each] = row[0]
            if len(doomed) > _PURGED_AT_ONCE:
                raise NotAllowed(
                    f"more than {_PURGED_AT_ONCE:,} items hang on these: purge them a part at a time"
                )
            if derived:
                waiting += self._family(each)
        return self._drop(doomed)

    def erase_scope(self, scope: Scope, reader: Scope, limit: int) -> list[Receipt]:
        """Erases up to `limit` items that live in the scope, with what was made of them."""
        self._check_here(scope.slot)
        if not reader.may_erase(scope):
            raise NotAllowed(f"{reader.path} cannot purge {scope.path}: act at that very scope")
        number = self._store.numbers.get(scope)
        rows = self._write.execute("SELECT id FROM item WHERE scope = ? LIMIT ?", (number, limit)).fetchall()
        return self.erase([row[0] for row in rows], reader, derived=True) if rows else []

    def scope_number(self, scope: Scope) -> int:
        """The number of a scope in this store; a new one if it was never written to."""
        number = self._store.numbers.get(scope)
        if number is None:
            self._write.execute("INSERT OR IGNORE INTO scope(path) VALUES(?)", (scope.path,))
            row = self._write.execute("SELECT number FROM scope WHERE path = ?", (scope.path,)).fetchone()
            number = int(row[0])
            self.new_scopes.append(scope)
        return number

    def set_meta(self, name: str, value: object) -> None:
        """Writes a value of the table `meta`."""
        self._write.execute("INSERT OR REPLACE INTO meta VALUES(?, ?)", (name, value))

    def put(self, row: Row, scope: Scope, sequence: int) -> None:
        """Writes a row of another shard as it is, or in place of the one with its id."""
        number = self.scope_number(scope)
        self._remove_row(row[0])
        fixed = (row[0], number, *row[2:FIXED_COUNT])
        vector, retired = row[-1], row[FIXED_COUNT + 1]
        mine = (*fixed, row_crc(fixed, vector), retired, row[FIXED_COUNT + 2], sequence, vector)
        self._write.execute(INSERT, mine)
        self._write.execute("DELETE FROM erased WHERE id = ?", (row[0],))  # it came back from another shard
        self._write.executemany(
            "INSERT OR IGNORE INTO derivation VALUES(?, ?)",
            [(parent, row[0]) for parent in json.loads(row[14])],
        )
        if retired is None:
            self._write.execute(_INDEX_WORDS, (row[0], row[3], number))
            self.effect.added.append(mine)
        self.effect.gone.append(row[0])

    def put_request(self, scope: Scope, key: str, digest: bytes, answer: bytes, sequence: int) -> None:
        """Notes that a request was answered."""
        row = (self.scope_number(scope), key, digest, answer, sequence)
        self._write.execute("INSERT OR REPLACE INTO request VALUES(?, ?, ?, ?, ?)", row)

    def note(self, reader: Scope, origin: str, mark: str, ids: Sequence[int]) -> None:
        """Notes in which turn items were said, retired or erased; nothing for a write that is of none."""
        if not origin:
            return
        if len(origin) > _ORIGIN_CHARACTERS or NOTE in origin:
            raise InvalidItem(f"an origin has up to {_ORIGIN_CHARACTERS} characters, none of them {NOTE!r}")
        number = self.scope_number(reader)
        rows = [(number, f"{NOTE}{origin}{NOTE}{mark}{each}", b"", b"", self.sequence) for each in ids]
        self._write.executemany("INSERT OR REPLACE INTO request VALUES(?, ?, ?, ?, ?)", rows)

    def drop_scope(self, number: int, limit: int) -> int:
        """Drops up to `limit` items of a scope that another shard has now; gives how many."""
        rows = self._write.execute("SELECT id FROM item WHERE scope = ? LIMIT ?", (number, limit)).fetchall()
        return len(self._drop({row[0]: number for row in rows}))

    def replace(self, row: Row) -> None:
        """Writes a row again, vector and all, in place of the one with its id; the text index is left alone."""
        self.touch()
        self._write.execute("DELETE FROM item WHERE id = ?", (row[0],))
        mine = (*row[: FIXED_COUNT + 3], self.sequence, row[-1])
        self._write.execute(INSERT, mine)
        self.effect.removed.append((row[1], row[0]))
        self.effect.gone.append(row[0])
        if row[FIXED_COUNT + 1] is None:
            self.effect.added.append(mine)

    def take_out(self, each: int) -> None:
        """Takes a row out that is not what was written; the text index is left alone."""
        self.touch()
        row = self._write.execute("SELECT scope FROM item WHERE id = ?", (each,)).fetchone()
        self._write.execute("DELETE FROM item WHERE id = ?", (each,))
        self._write.execute("INSERT OR REPLACE INTO erased VALUES(?, ?)", (each, self.sequence))
        self.effect.removed.append((row[0], each))
        self.effect.gone.append(each)

    def remove(self, each: int, sequence: int | None) -> None:
        """Removes a row that another shard erased (`sequence`), or took over (None)."""
        self._remove_row(each)
        if sequence is not None:
            self._write.execute("INSERT OR REPLACE INTO erased VALUES(?, ?)", (each, sequence))

    def advance(self, sequence: int, counter: int, recorded_at: float) -> None:
        """Goes at least so far: numbers and times of another shard are not given out again here."""
        self.sequence = max(self.sequence, sequence)
        self._counter = max(self._counter, counter)
        self._now = max(self._now, recorded_at)

    def touch(self) -> None:
        """The write changes something: it takes a sequence number and an instant."""
        if self._fresh:
            self._fresh = False
            self.sequence += 1
            now = self._clock()
            self._now = now if now > self._now else math.nextafter(self._now, math.inf)

    def _insert_fresh(self, prepared: Sequence[Prepared]) -> list[Receipt] | None:
        """Inserts many that are all new, at once; None, and nothing is done, if some are there already."""
        before = self._state()
        self._write.execute("SAVEPOINT many")
        self.touch()
        rows = [self._new_row(ready) for ready in prepared]
        if self._write.executemany(_INSERT_NEW, rows).rowcount < len(rows):
            self._write.execute("ROLLBACK TO many")
            self._write.execute("RELEASE many")
            self._go_back(before)
            self._last = (None, 0, 0)  # a scope that was new is so again
            return None
        self._write.execute("RELEASE many")
        for ready, row in zip(prepared, rows, strict=True):
            self._note_parents(ready.draft, row[0])
        self.effect.added += rows
        return [Receipt(row[0], self.sequence) for row in rows]

    def _insert(self, ready: Prepared) -> tuple[int, bool]:
        """Inserts one, if it is new; its id, and whether it was."""
        before = self._state()
        self.touch()
        row = self._new_row(ready)
        if self._write.execute(_INSERT_NEW, row).rowcount == 0:
            self._go_back(before)
            known = self._write.execute(
                "SELECT id FROM item WHERE scope = ? AND hash = ? AND retired_at IS NULL",
                (row[1], ready.hash),
            ).fetchone()
            return known[0], False
        self._note_parents(ready.draft, row[0])
        self.effect.added.append(row)
        return row[0], True

    def _new_row(self, ready: Prepared) -> Row:
        """The row of an item, with an id of its own."""
        draft = ready.draft
        if draft.scope is not self._last[0]:
            self._last = (draft.scope, self.scope_number(draft.scope), draft.scope.slot)
        _, number, slot = self._last
        self._counter += 1
        fixed = (
            item_id(self._counter, slot), number, str(draft.kind), draft.text, float(draft.importance), draft.source,
            float(draft.trust), draft.session, draft.turn, draft.speaker, _real(draft.valid_from),
            _real(draft.valid_to), self._now, ready.attributes, ready.parents, ready.hash,
        )  # fmt: skip
        return (*fixed, row_crc(fixed, ready.vector), None, None, self.sequence, ready.vector)

    def _note_parents(self, draft: Draft, new: int) -> None:
        for parent in draft.derived_from:
            self._write.execute("INSERT OR IGNORE INTO derivation VALUES(?, ?)", (parent, new))

    def _state(self) -> tuple[bool, int, int, float]:
        return (self._fresh, self.sequence, self._counter, self._now)

    def _go_back(self, state: tuple[bool, int, int, float]) -> None:
        self._fresh, self.sequence, self._counter, self._now = state

    def _scope_of(self, each: int, reader: Scope) -> Scope:
        if not is_id(each):
            raise UnknownItem(f"{each!r} is no item's id: nothing was changed")
        self._check_here(slot_of(each))
        row = self._write.execute("SELECT scope FROM item WHERE id = ?", (each,)).fetchone()
        scope = None if row is None else self._store.scopes.get(row[0])
        if scope is None or not reader.sees(scope):
            raise UnknownItem(f"no item {each!r} is seen from {reader.path}: nothing was changed")
        return scope

    def _is_of_tenant(self, each: int, reader: Scope) -> bool:
        row = self._write.execute("SELECT scope FROM item WHERE id = ?", (each,)).fetchone()
        scope = None if row is None else self._store.scopes.get(row[0])
        return scope is not None and scope.tenant == reader.tenant

    def _check_here(self, slot: int) -> None:
        if slot in self._foreign:
            raise Moved(
                f"slot {slot} lives on another shard than {self._store.path}: ask the one that has it"
            )

    def _check_parent(self, parent: int, reader: Scope) -> None:
        if slot_of(parent) in self._foreign:
            return
        self._scope_of(parent, reader)

    def _check_current(self, each: int, reader: Scope) -> None:
        self._scope_of(each, reader)
        retired, successor = self._write.execute(
            "SELECT retired_at, superseded_by FROM item WHERE id = ?", (each,)
        ).fetchone()
        if retired is not None:
            told = "retired" if successor is None else f"superseded by item {successor}"
            raise Conflict(f"item {each} was {told} already: correct the one that is believed now")

    def _family(self, each: int) -> list[int]:
        return [
            row[0]
            for row in self._write.execute(
                "SELECT child FROM derivation WHERE parent = ? UNION SELECT id FROM item WHERE superseded_by = ?",
                (each, each),
            )
        ]

    def _drop(self, doomed: dict[int, int]) -> list[Receipt]:
        if doomed:
            self.touch()
        for each in doomed:
            self._remove_row(each)
            self._write.execute("INSERT OR REPLACE INTO erased VALUES(?, ?)", (each, self.sequence))
        return [Receipt(each, self.sequence) for each in doomed]

    def _remove_row(self, each: int) -> None:
        row = self._write.execute("SELECT scope, parents FROM item WHERE id = ?", (each,)).fetchone()
        if row is None:
            return
        self._write.execute(_FORGET_WORDS, (each,))
        self._write.execute("DELETE FROM item WHERE id = ?", (each,))
        if row[1] != "[]":
            self._write.executemany(
                "DELETE FROM derivation WHERE parent = ? AND child = ?",
                [(parent, each) for parent in json.loads(row[1])],
            )
        self.effect.removed.append((row[0], each))
        self.effect.gone.append(each)


def _real(time: float | None) -> float | None:
    """As SQLite gives it back: a whole number of seconds would otherwise have two checksums."""
    return None if time is None else float(time)
