"""Moving slots of scopes from one shard to another while both are used.

    1. copy      pages of the source's changes go to the target, while the source is read and written
    2. freeze    the source takes no more writes in these slots (they get `Moved`, and are tried again); it still reads
    3. rest      what was written since goes to the target
    4. commit    the table of who has which slot is replaced, durably: this is the moment of the move
    5. assign    the target answers for the slots, the source drops them

A crash before 4 leaves the source as owner, after 4 the target: who starts again gives each shard the slots of the
table (`assign`), and copies that nobody owns are dropped. So no write is lost, and none is in two places to be found.
"""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, Protocol

from memory.changes import Changes
from memory.errors import InvalidItem, StoreCorrupt
from memory.folder import sync_file, sync_folder
from memory.scope import SLOTS

_TABLE: Final = "table.json"
_PAGES: Final = 1_000_000


class Movable(Protocol):
    """What a shard must do for a move; one in this process, or one behind an actor."""

    def changes(self, after: int, slots: frozenset[int] | None = None) -> Changes:
        """What it has after a sequence number, of these slots."""
        ...

    def adopt(self, changes: Changes) -> None:
        """Takes copies of another's rows."""
        ...

    def freeze(self, slots: frozenset[int]) -> None:
        """Takes no more writes in these slots."""
        ...

    def assign(self, slots: frozenset[int]) -> None:
        """Answers for exactly these slots from now on, and drops what it has of others."""
        ...


class Table:
    """Which shard has which slot. Kept in a file that is replaced whole."""

    def __init__(self, folder: Path, shards: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._path = folder / _TABLE
        if self._path.exists():
            self.owners = self._read()
            if max(self.owners) >= shards:
                raise InvalidItem(
                    f"{self._path} speaks of {max(self.owners) + 1} shards, and {shards} were asked for: start as many"
                )
        else:
            self._write([slot * shards // SLOTS for slot in range(SLOTS)])

    def slots_of(self, shard: int) -> frozenset[int]:
        """The slots of a shard."""
        return frozenset(slot for slot, owner in enumerate(self.owners) if owner == shard)

    def give(self, slots: frozenset[int], shard: int) -> None:
        """Makes a shard the owner of slots, durably."""
        self._write([shard if slot in slots else owner for slot, owner in enumerate(self.owners)])

    def _read(self) -> list[int]:
        try:
            owners = json.loads(self._path.read_text(encoding="utf-8"))
            if len(owners) == SLOTS and all(isinstance(owner, int) and owner >= 0 for owner in owners):
                return list(owners)
        except (OSError, ValueError, TypeError) as error:
            raise StoreCorrupt(f"{self._path} cannot be read: {error}") from error
        raise StoreCorrupt(f"{self._path} does not name an owner for each of {SLOTS} slots")

    def _write(self, owners: list[int]) -> None:
        new = self._path.with_suffix(".new")
        new.write_text(json.dumps(owners), encoding="utf-8")
        sync_file(new)
        new.replace(self._path)
        sync_folder(self._path.parent)
        self.owners = owners


def move(
    table: Table,
    shards: Sequence[Movable],
    slots: frozenset[int],
    target: int,
    probe: Callable[[str], None] = lambda _: None,
) -> None:
    """Moves slots, whoever has them, to the shard of that number. `probe` is told of each step before it is done."""
    for source in range(len(shards)):
        leaving = slots & table.slots_of(source)
        if not leaving or source == target:
            continue
        try:
            probe("copy")
            at = _copy(shards[source], shards[target], leaving, 0)
            probe("freeze")
            shards[source].freeze(leaving)
            probe("rest")
            _copy(shards[source], shards[target], leaving, at)
        except Exception:  # nothing has moved: the source goes on, and the copies are dropped
            shards[source].assign(table.slots_of(source))
            shards[target].assign(table.slots_of(target))
            raise
        probe("commit")
        table.give(leaving, target)
        probe("assign")
        shards[target].assign(table.slots_of(target))
        probe("drop")
        shards[source].assign(table.slots_of(source))


def _copy(source: Movable, target: Movable, slots: frozenset[int], at: int) -> int:
    for _ in range(_PAGES):
        page = source.changes(at, slots)
        if page.rows or page.erased or page.requests:
            target.adopt(page)
        at = page.upto
        if page.complete:
            break
    return at
