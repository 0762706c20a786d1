"""One shard: rows, index and the threads that keep them in step. What it is asked is already embedded and checked.

Rules:
* Opening: the newest snapshot that is sound, then the rows after it; without one, all rows. What happened is told
  (`recovery`).
* A search is over scopes that the reader sees, taken from `Scope.seen`; by-id look-ups pass `Scope.sees`. A shard asked
  for a scope that it gave away answers `Moved`, never "nothing".
* A search gives exactly min(k, members that pass) items: one that is erased between search and look-up is looked for
  again, until the index has heard of it too.
* What is acknowledged is found by every search that begins after.
"""

import json
import logging
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from inference.embedder import EmbedderIdentity
from memory.block import Filter
from memory.changes import Changes, changes_after, owned_elsewhere, take_changes
from memory.errors import (
    InvalidItem,
    Moved,
    NotAllowed,
    SnapshotCorrupt,
    StoreClosed,
    StoreCorrupt,
    UnknownItem,
)
from memory.index import Index
from memory.item import Draft, Item
from memory.keeper import Keeper
from memory.probe import Probe, silent
from memory.schema import WHOLE, Row, Vectors, check_row, from_half, is_id, slot_of, to_half
from memory.scope import SLOTS, Scope, checked
from memory.settings import MemorySettings
from memory.snapshot import newest_snapshot, read_snapshot, remove_snapshots, write_snapshot
from memory.store import Store
from memory.transaction import ERASED, RETIRED, SAID, Effect, Receipt, Transaction, prepare
from memory.vector import checked_vectors
from memory.writer import Writer

_logger = logging.getLogger("rayswarm.memory")
_LOAD_ROWS: Final = 2_000
_CACHED_ITEMS: Final = 20_000
_AGAIN: Final = 200
_AGAIN_PAUSE_S: Final = 0.001
_LONGEST_K: Final = 10_000
_OPTIMISED_WHOLE: Final = 100_000
_ERASE_AT_ONCE: Final = 1_000


@dataclass(frozen=True, slots=True)
class Recovery:
    """How a shard was opened."""

    snapshot: int
    """The sequence number of the snapshot that was used; 0 if none."""
    rows: int
    """Rows that were read beside it."""
    seconds: float
    problem: str = ""
    """Why a snapshot that was there was not used."""
    corrupt: tuple[int, ...] = ()
    """Items whose rows are not as they were written: they are not found until they are mended."""


class Shard:
    """Holds the items of some scopes. All methods may be called from any thread."""

    def __init__(
        self,
        folder: Path,
        identity: EmbedderIdentity,
        settings: MemorySettings | None = None,
        *,
        clock: Callable[[], float] = time.time,
        probe: Probe = silent,
        heard: Callable[[list[Row]], None] | None = None,
    ) -> None:
        """`heard` is told, in the writer's thread, of the rows that each commit added."""
        self.settings = settings or MemorySettings()
        self.identity = identity
        self._probe = probe
        self._heard = heard
        self.store = Store(folder, identity, max_bytes=self.settings.max_bytes)
        self.index = Index(identity.dimension, self.settings)
        self._items: dict[int, Item] = {}
        self._stale = 0
        self._elsewhere = frozenset[int]()
        self._corrupt: list[int] = []
        self._advanced = threading.Condition()
        self._closing = threading.Event()
        try:
            self.recovery = self._open()
        except BaseException:
            self.store.close()
            raise
        self.writer = Writer(self.store, self.settings, self._apply, clock, probe)
        self.writer.foreign = owned_elsewhere(self.store)
        self._elsewhere = self.writer.foreign
        self.following = bool(self.store.meta("following", 0))
        """True if it takes another shard's changes, and no writes of its own."""
        self.epoch = int(self.store.meta("epoch", 0))
        """Grows with each change of leader."""
        self.keeper = Keeper(self.index, self.settings, self._write_snapshot)

    @property
    def sequence(self) -> int:
        """The last write that searches find: a token."""
        return self.index.sequence

    def __len__(self) -> int:
        return len(self.index)

    def add(
        self, drafts: Sequence[Draft], vectors: Vectors, reader: Scope, key: str = "", origin: str = ""
    ) -> list[Receipt]:
        """Remembers drafts, together or not at all. `vectors`: (n, d), any length but 0."""
        return self.writer.answer(self.begin_add(drafts, vectors, reader, key, origin)) if drafts else []

    def begin_add(
        self, drafts: Sequence[Draft], vectors: Vectors, reader: Scope, key: str = "", origin: str = ""
    ) -> Future[list[Receipt]]:
        """As `add`, without waiting: many that are begun share a commit. `Writer.answer` has the receipts."""
        self._check_leading(reader)
        if len(drafts) > self.settings.batch_items:
            raise InvalidItem(
                f"{len(drafts):,} items in one call: {self.settings.batch_items:,} at most, write them in parts"
            )
        ready = prepare(drafts, to_half(checked_vectors(vectors, len(drafts), self.identity)))
        numbers = self.store.numbers
        self.keeper.wait_for_room([numbers[each] for each in {d.scope for d in drafts} if each in numbers])
        request = ["add", [each.hash for each in ready], [each.draft.scope.path for each in ready]]

        def work(transaction: Transaction) -> list[Receipt]:
            receipts = transaction.once(reader, key, request, lambda: transaction.add(ready, reader))
            transaction.note(reader, origin, SAID, [each.id for each in receipts])
            return receipts

        return self.writer.submit(work, len(ready))

    def supersede(
        self,
        old: Sequence[int],
        reader: Scope,
        new: tuple[Draft, Vectors] | None = None,
        *,
        successor: int | None = None,
        key: str = "",
        origin: str = "",
    ) -> list[Receipt]:
        """Retires items; a new one (its draft and vector (d,)), or the item `successor`, takes their place, or none."""
        self._check_leading(reader)
        ready = None
        if new is not None:
            half = to_half(checked_vectors(new[1][None], 1, self.identity))
            [ready] = prepare([new[0]], half)
        request = ["supersede", list(old), ready and ready.hash, successor]

        def work(transaction: Transaction) -> list[Receipt]:
            receipts = transaction.once(
                reader, key, request, lambda: transaction.supersede(old, ready, reader, successor)
            )
            transaction.note(reader, origin, RETIRED, old)
            if ready is not None:
                transaction.note(reader, origin, SAID, [each.id for each in receipts])
            return receipts

        return self.writer.wait(work, len(old) + 1)

    def erase(
        self,
        ids: Sequence[int],
        reader: Scope,
        *,
        derived: bool,
        key: str = "",
        owned: bool = False,
        origin: str = "",
    ) -> list[Receipt]:
        """Erases items for good; with `derived`, what hangs on them too. A receipt for each that went.

        `owned`: they were made of what the reader purges, and the right to that extends to them.
        """
        self._check_leading(reader)
        request = ["erase", list(ids), derived]

        def work(transaction: Transaction) -> list[Receipt]:
            receipts = transaction.once(
                reader, key, request, lambda: transaction.erase(ids, reader, derived=derived, owned=owned)
            )
            transaction.note(reader, origin, ERASED, [each.id for each in receipts])
            return receipts

        return self.writer.wait(work, len(ids))

    def erase_scope(self, scope: Scope, reader: Scope) -> list[Receipt]:
        """Erases all that lives in a scope, some at a time, with what was made of it."""
        self._check_leading(reader)
        receipts: list[Receipt] = []
        while True:
            some = self.writer.wait(
                lambda transaction: transaction.erase_scope(checked(scope), reader, _ERASE_AT_ONCE)
            )
            if not some:
                return receipts
            receipts += some

    def get(self, item_id: int, reader: Scope) -> Item:
        """The item, retired or not. Raises `UnknownItem` if the reader does not see it."""
        known = is_id(item_id)
        self._check_here([slot_of(item_id)] if known else [])
        found = self._look_up([item_id]).get(item_id) if known else None
        if found is None or not checked(reader).sees(found.scope):
            raise UnknownItem(
                f"no item {item_id!r} is seen from {reader.path}. It may never have been, may have been forgotten, or "
                "may be another's."
            )
        return found

    def numbers(self, reader: Scope, scopes: Sequence[Scope] | None = None) -> list[int]:
        """The numbers of the scopes that are searched for a reader: what it sees, or those of `scopes` that it sees.

        Raises `Moved` if one of `scopes` lives elsewhere.
        """
        if scopes is not None:
            self._check_here([scope.slot for scope in scopes])
        seen = checked(reader).seen()
        known = self.store.numbers
        if scopes is None and self._elsewhere:
            scopes = [scope for scope in seen if scope.slot not in self._elsewhere]
        return [known[scope] for scope in seen if scope in known and (scopes is None or scope in scopes)]

    def search(
        self,
        reader: Scope,
        vector: Vectors,
        k: int,
        filter_: Filter | None = None,
        scopes: Sequence[Scope] | None = None,
    ) -> list[tuple[Item, float]]:
        """The k items nearest to a vector of shape (d,), with their inner products, best first."""
        [query] = checked_vectors(vector[None], 1, self.identity)
        if not 1 <= k <= _LONGEST_K:
            raise InvalidItem(f"k is {k!r}: give 1 to {_LONGEST_K:,}")
        numbers = self.numbers(reader, scopes)
        pairs: list[tuple[Item, float]] = []
        for _ in range(_AGAIN):
            ids, scores = self.index.search(numbers, query, k, filter_)
            wanted = ids.tolist()
            items = self._look_up(wanted)
            pairs = [
                (items[each], score)
                for each, score in zip(wanted, scores.tolist(), strict=True)
                if each in items and items[each].retired_at is None
            ]
            if len(pairs) == len(wanted):
                break
            time.sleep(_AGAIN_PAUSE_S)  # a commit has been and the index hears of it in a moment
        return pairs

    def whole(self, ids: Sequence[int]) -> list[tuple[Item, Vectors]]:
        """Items with their vectors, in the order of ids; those that are gone are left out."""
        marks = ",".join("?" * len(ids))
        rows = self.store.rows(f"SELECT {WHOLE} FROM item WHERE id IN ({marks})", ids)  # noqa: S608 (marks are question marks)
        for row in rows:
            check_row(row, self.identity.dimension, str(self.store.path))
        if not rows:
            return []
        vectors = from_half(b"".join([row[-1] for row in rows]), self.identity.dimension)
        found = {row[0]: (self.store.item(row), vector) for row, vector in zip(rows, vectors, strict=True)}
        return [found[each] for each in ids if each in found]

    def whole_item(self, row: Row) -> tuple[Item, Vectors]:
        """A row (`schema.WHOLE`) as an item and its vector (d,). Raises `StoreCorrupt` if it is not as written."""
        check_row(row, self.identity.dimension, str(self.store.path))
        return self.store.item(row), from_half(row[-1], self.identity.dimension)[0]

    def made_of(self, ids: Sequence[int], reader: Scope) -> list[int]:
        """Items here that were made of these, of the reader's tenant."""
        marks = ",".join("?" * len(ids))
        rows = self.store.rows(
            f"SELECT child, scope FROM derivation JOIN item ON id = child WHERE parent IN ({marks})",  # noqa: S608 (marks are question marks)
            ids,
        )
        return [row[0] for row in rows if self.store.scopes[row[1]].tenant == reader.tenant]

    def wait_for(self, sequence: int, timeout_s: float) -> bool:
        """Waits until searches find that write; False if they do not in time."""
        with self._advanced:
            return self._advanced.wait_for(lambda: self.sequence >= sequence, timeout_s)

    def changes(self, after: int, slots: frozenset[int] | None = None) -> Changes:
        """What this shard has after a sequence number; of some slots only, if given."""
        return changes_after(self.store, after, slots=slots)

    def take(self, changes: Changes, *, follow: bool) -> None:
        """Takes another shard's changes over, durably."""
        self.writer.wait(
            lambda transaction: take_changes(transaction, changes, follow=follow), len(changes.rows) + 1
        )

    def set_following(self, *, following: bool, epoch: int) -> None:
        """Makes it a follower or a leader of an epoch, durably."""

        def work(transaction: Transaction) -> None:
            transaction.set_meta("following", int(following))
            transaction.set_meta("epoch", epoch)

        self.writer.wait(work)
        self.following, self.epoch = following, epoch

    def adopt(self, changes: Changes) -> None:
        """Takes copies of rows of slots that another shard has."""
        self.take(changes, follow=False)

    def freeze(self, slots: frozenset[int]) -> None:
        """Takes no more writes in these slots, from this moment on, after a new start too; they are still read."""

        def work(transaction: Transaction) -> None:
            frozen = self.writer.foreign | slots
            transaction.set_meta("foreign", json.dumps(sorted(frozen)))
            self.writer.foreign = frozen

        self.writer.wait(work)

    def assign(self, slots: frozenset[int]) -> None:
        """Answers for exactly these slots, durably, and drops what it has of others."""
        foreign = frozenset(range(SLOTS)) - slots

        def note(transaction: Transaction) -> None:
            transaction.set_meta("foreign", json.dumps(sorted(foreign)))
            self.writer.foreign = foreign

        self.writer.wait(note)
        self._elsewhere = foreign
        for scope, number in list(self.store.numbers.items()):
            while scope.slot in foreign and self.writer.wait(_dropping(number)):
                pass

    def scrub(self) -> None:
        """Takes what was erased off the disk: words in the text index, vectors in graphs and snapshots, the log.

        The log as far as no reader is in the way. A large text index is merged a part at a time: what is left goes
        with the next ones.
        """
        with self.keeper.tending:
            self.index.wipe()
            remove_snapshots(self.store.folder)
            self.keeper.forget_snapshot()

        def work(_: Transaction) -> None:
            command = "('optimize')" if len(self) < _OPTIMISED_WHOLE else "('merge', 1000)"
            columns = "words" if len(self) < _OPTIMISED_WHOLE else "words, rank"
            self.store.writing.execute(f"INSERT INTO words({columns}) VALUES{command}")

        self.writer.wait(work)
        self.store.checkpoint()

    def snapshot(self) -> int:
        """Writes a snapshot of the index; gives its sequence number."""
        return self.keeper.snapshot()

    def settle(self) -> None:
        """Does at once what the keeper would do in time: afterwards no graph is due."""
        self.keeper.settle()

    def _write_snapshot(self) -> int:
        name = self.store.rows("SELECT value FROM meta WHERE name = 'name'")[0][0]
        return write_snapshot(self.store.folder, self.index, name, self._embedder(), self._probe)

    def close(self, *, snapshot: bool = True) -> None:
        """Commits what waits, writes a snapshot if there is something new, frees the folder. May be called again."""
        if self._closing.is_set():
            return
        self._closing.set()
        self.keeper.close()
        self.writer.close()
        try:
            if snapshot and self.keeper.due:
                self.snapshot()
        finally:
            self.store.close()

    def _open(self) -> Recovery:
        began = time.perf_counter()
        latest, name = self.store.meta("sequence"), self.store.meta("name")
        at, problem = 0, ""
        path = newest_snapshot(self.store.folder)
        if path is not None:
            try:
                at = read_snapshot(path, self.index, name=name, embedder=self._embedder(), latest=latest)
            except SnapshotCorrupt as error:
                problem = str(error)
                # Not kept: were the store put back to an earlier state, it might fit one day, and be wrong.
                remove_snapshots(self.store.folder)
                _logger.warning("%s", problem)
        rows = self._load_rows(at)
        self.index.sequence = latest
        self.index.changes = rows
        return Recovery(at, rows, time.perf_counter() - began, problem, tuple(self._corrupt))

    def _load_rows(self, after: int) -> int:
        """Brings what was written after a sequence number into the index; gives how many rows that were."""
        write, where, dimension = self.store.writing, str(self.store.path), self.identity.dimension
        read = self._load_erased(after) if after else 0
        for rows in self.store.whole_rows(write, after, _LOAD_ROWS):
            read += len(rows)
            believed: list[Row] = []
            for row in rows:
                try:
                    check_row(row, dimension, where)
                except StoreCorrupt as error:
                    _logger.error("%s", error)
                    self._corrupt.append(row[0])
                    continue
                if row[-4] is None:
                    believed.append(row)
            self.index.load(believed, [(row[1], row[0]) for row in rows] if after else ())
        return read

    def _load_erased(self, after: int) -> int:
        erased = self.store.writing.execute("SELECT id FROM erased WHERE sequence > ?", (after,)).fetchall()
        by_slot: dict[int, list[int]] = {}  # an erased item has left its slot, and not its scope
        for number in self.index.scopes():
            by_slot.setdefault(self.store.scopes[number].slot, []).append(number)
        self.index.load(
            (), [(number, each) for (each,) in erased for number in by_slot.get(slot_of(each), ())]
        )
        return len(erased)

    def _apply(self, sequence: int, effects: list[Effect]) -> None:
        self.index.apply(sequence, effects)
        for effect in effects:
            if effect.gone:
                self._stale += 1
                for each in effect.gone:
                    self._items.pop(each, None)
        with self._advanced:
            self._advanced.notify_all()
        if self._heard is not None:
            added = [row for effect in effects for row in effect.added]
            if added:
                self._heard(added)

    def _look_up(self, ids: Sequence[int]) -> dict[int, Item]:
        cache = self._items
        found = {each: item for each in ids if (item := cache.get(each)) is not None}
        if len(found) < len(ids):
            stale = self._stale
            more = self.store.items([each for each in ids if each not in found])
            found |= more
            if stale == self._stale:  # nothing that was read can have changed since
                if len(cache) > _CACHED_ITEMS:
                    self._items = cache = {}
                cache.update(more)
        return found

    def _check_here(self, slots: Sequence[int]) -> None:
        if self._closing.is_set():
            raise StoreClosed(f"the memory in {self.store.folder} was closed: open it again")
        foreign = self._elsewhere
        if foreign and any(slot in foreign for slot in slots):
            raise Moved(f"what was asked of {self.store.path} lives on another shard now: ask there")

    def _check_leading(self, reader: Scope) -> None:
        checked(reader)
        if self.following:
            raise NotAllowed(f"{self.store.path} follows another shard: write there, or promote this one")

    def _embedder(self) -> str:
        return str(asdict(self.identity))


def _dropping(number: int) -> Callable[[Transaction], int]:
    return lambda transaction: transaction.drop_scope(number, _ERASE_AT_ONCE)
