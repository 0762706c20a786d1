"""The durable truth of a shard: one SQLite file.

Rules:
* WAL with `synchronous=FULL`: a commit that returned is on the disk. One connection writes, in one thread
  (`memory/writer.py`); readers have connections of their own, at most `_READERS`, and never wait for it.
* One process has the folder (`memory/folder.py`).
* The store knows the embedder of its vectors. Another one is refused: its vectors would be compared with these.
* What SQLite reports is told as a `MemoryFault`, with the file and the mend.
* Deleted content is overwritten with zeros (`secure_delete`).
"""

import json
import secrets
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from inference.embedder import EmbedderIdentity
from memory.errors import (
    EmbedderMismatch,
    MemoryFault,
    StoreClosed,
    StoreCorrupt,
    StoreFull,
    WriteUncertain,
)
from memory.folder import FolderLock, sync_folder
from memory.item import Item
from memory.schema import FORMAT, TABLES, WHOLE, Row, check_row, to_item
from memory.scope import Scope

DATABASE: Final = "memory.sqlite"
_APPLICATION_ID: Final = 0x52535731  # "RSW1"
_READERS: Final = 8
_PAGE_BYTES: Final = 4096
_BUSY_S: Final = 10.0
_IDS_A_QUERY: Final = 500


class Store:
    """Opens, checks and reads a shard's database. `writing` is the one connection that may write."""

    def __init__(self, folder: Path, identity: EmbedderIdentity | None, *, max_bytes: int = 1 << 40) -> None:
        """Opens or makes it. Without an identity, a store that is there is opened as what it is."""
        self.folder = folder
        self.path = folder / DATABASE
        self._wanted = identity
        self._lock = FolderLock(folder)
        self._readers: list[sqlite3.Connection] = []
        self._room = threading.Semaphore(_READERS)
        self._closed = False
        self.scopes: dict[int, Scope] = {}
        """Every scope that was ever written to, by number. The writer adds to it before its rows can be seen."""
        self.numbers: dict[Scope, int] = {}
        try:
            with told(self.path):
                self.writing = self._connect()
                self._prepare(max_bytes)
                for number, path in self.writing.execute("SELECT number, path FROM scope"):
                    self.learn_scope(number, Scope.parse(path))
        except BaseException:
            if hasattr(self, "writing"):
                self.writing.close()
            self._lock.close()
            raise

    def learn_scope(self, number: int, scope: Scope) -> None:
        """Notes a scope that is in the table."""
        self.scopes[number] = scope
        self.numbers[scope] = number

    def forget_scopes(self, numbers: Sequence[int]) -> None:
        """Takes back what was learnt of a write that did not become durable: the numbers will be others'."""
        for number in numbers:
            del self.numbers[self.scopes.pop(number)]

    def meta(self, name: str, default: Any = None) -> Any:
        """A value of the table `meta`, as the writer sees it."""
        row = self.writing.execute("SELECT value FROM meta WHERE name = ?", (name,)).fetchone()
        return default if row is None else row[0]

    @contextmanager
    def reading(self, *, alone: bool = False) -> Iterator[sqlite3.Connection]:
        """A connection that reads one state of the store until it is given back; `alone`: one state a statement."""
        with self._room:
            self._check_open()
            try:
                connection = self._readers.pop()
            except IndexError:
                connection = self._connect()
                connection.execute("PRAGMA query_only = ON")
            try:
                with told(self.path):
                    if not alone:
                        connection.execute("BEGIN")
                    yield connection
            finally:
                if connection.in_transaction:
                    connection.rollback()
                if self._closed:
                    connection.close()
                else:
                    self._readers.append(connection)

    def _check_open(self) -> None:
        if self._closed:
            raise StoreClosed(f"the memory in {self.folder} was closed: open it again")

    def rows(self, sql: str, values: Sequence[Any] = ()) -> list[Row]:
        """The rows of one query."""
        with self.reading() as connection:
            return connection.execute(sql, values).fetchall()

    def items(self, ids: Sequence[int]) -> dict[int, Item]:
        """The items that exist, by id, whatever their scope: the caller checks who sees them."""
        found: dict[int, Item] = {}
        with self.reading(alone=True) as connection:
            for start in range(0, len(ids), _IDS_A_QUERY):
                some = ids[start : start + _IDS_A_QUERY]
                marks = ",".join("?" * len(some))
                for row in connection.execute(f"SELECT {WHOLE} FROM item WHERE id IN ({marks})", some):  # noqa: S608 (marks are question marks)
                    check_row(row, self.identity.dimension, str(self.path))
                    found[row[0]] = self.item(row)
        return found

    def item(self, row: Row) -> Item:
        """The item in the columns `READ`."""
        try:
            return to_item(row, self.scopes[row[1]])
        except (KeyError, TypeError, ValueError, MemoryFault) as error:
            raise StoreCorrupt(
                f"item {row[0]} in {self.path} cannot be read ({error!r}). Call Memory.check for a list."
            ) from error

    def row(self, connection: sqlite3.Connection, item_id: int) -> Row | None:
        """A row with its vector, sound or not; None if there is none."""
        row: Row | None = connection.execute(f"SELECT {WHOLE} FROM item WHERE id = ?", (item_id,)).fetchone()  # noqa: S608 (constant columns)
        return row

    def checkpoint(self) -> bool:
        """Moves the log into the database and empties it; False if a reader kept it from that."""
        with self.reading(alone=True) as connection:
            return bool(connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0] == 0)

    def whole_rows(
        self, connection: sqlite3.Connection, after: int = 0, many: int = 1_000
    ) -> Iterator[list[Row]]:
        """Rows with their vectors whose sequence is greater, in no order, so many at a time."""
        where = f"WHERE sequence > {after:d}" if after else ""
        cursor = connection.execute(f"SELECT {WHOLE} FROM item {where}")  # noqa: S608 (constant columns, a number)
        while rows := cursor.fetchmany(many):
            yield rows

    def close(self) -> None:
        """Closes the file and frees the folder. May be called again."""
        if self._closed:
            return
        self._closed = True
        for _ in range(_READERS):
            self._room.acquire(timeout=_BUSY_S)
        while self._readers:
            self._readers.pop().close()
        self.writing.close()
        self._lock.close()
        self._room.release(_READERS)

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(
            self.path, timeout=_BUSY_S, isolation_level=None, check_same_thread=False, cached_statements=256
        )
        connection.execute("PRAGMA cache_size = -32000")
        return connection

    def _prepare(self, max_bytes: int) -> None:
        write = self.writing
        write.execute(f"PRAGMA page_size = {_PAGE_BYTES}")
        application = write.execute("PRAGMA application_id").fetchone()[0]
        version = write.execute("PRAGMA user_version").fetchone()[0]
        fresh = (
            application == 0 and version == 0 and not write.execute("SELECT 1 FROM sqlite_master").fetchone()
        )
        if not fresh and (application != _APPLICATION_ID or version != FORMAT):
            raise StoreCorrupt(
                f"{self.path} is no memory of format {FORMAT} (application {application:#x}, format {version}). "
                "Give another folder, or the version of rayswarm that wrote it."
            )
        mode = write.execute("PRAGMA journal_mode = WAL").fetchone()[0]
        if mode != "wal":
            raise StoreCorrupt(f"{self.path} cannot be written ahead (journal mode {mode}): use a local disk")
        write.execute("PRAGMA synchronous = FULL")
        write.execute("PRAGMA secure_delete = ON")
        write.execute("PRAGMA temp_store = MEMORY")
        write.execute("PRAGMA journal_size_limit = 67108864")
        write.execute(f"PRAGMA max_page_count = {max(16, max_bytes // _PAGE_BYTES)}")
        if fresh:
            self._create()
        self.identity = self._checked_identity()

    def _create(self) -> None:
        if self._wanted is None:
            raise StoreCorrupt(f"there is no memory in {self.folder}")
        write = self.writing
        write.execute("BEGIN IMMEDIATE")
        for statement in TABLES.split(";\n"):
            write.execute(statement)
        write.executemany(
            "INSERT INTO meta VALUES(?, ?)",
            [
                ("sequence", 0),
                ("counter", 0),
                ("recorded_at", 0.0),
                ("epoch", 0),
                ("embedder", identity_text(self._wanted)),
                ("name", secrets.token_hex(8)),
            ],
        )
        write.execute(f"PRAGMA application_id = {_APPLICATION_ID}")
        write.execute(f"PRAGMA user_version = {FORMAT}")
        write.execute("COMMIT")
        sync_folder(self.folder)
        sync_folder(self.folder.parent)

    def _checked_identity(self) -> EmbedderIdentity:
        kept = EmbedderIdentity(**json.loads(self.meta("embedder")))
        if self._wanted not in (None, kept):
            raise EmbedderMismatch(
                f"{self.path} holds vectors of the embedder {kept}, and {self._wanted} was given. Open it with that "
                "embedder, or make all vectors anew with Memory.reembed(path, embedder)."
            )
        return kept


def identity_text(identity: EmbedderIdentity) -> str:
    """An embedder's identity as it is kept."""
    return json.dumps(asdict(identity), sort_keys=True)


@contextmanager
def told(path: Path, *, committing: bool = False) -> Iterator[None]:
    """Tells what SQLite reports as a `MemoryFault`. `committing`: a failure leaves it open whether it happened."""
    try:
        yield
    except sqlite3.Error as error:
        raise fault_of(error, path, committing=committing) from error


def fault_of(error: sqlite3.Error, path: Path, *, committing: bool) -> MemoryFault:
    """The fault that an error of SQLite means."""
    code = (getattr(error, "sqlite_errorcode", 0) or 0) & 0xFF
    if code == sqlite3.SQLITE_FULL:
        return StoreFull(
            f"{path} cannot grow: the disk, or MemorySettings.max_bytes, is full. Nothing of this write was kept, all "
            "that was acknowledged is safe, and reading goes on. Make room, then write again."
        )
    if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return StoreCorrupt(
            f"{path} is not as it was written ({error}). Take it from a follower or a backup; `sqlite3 {path.name} "
            ".recover` saves what can be read."
        )
    if committing:
        return WriteUncertain(
            f"the commit in {path} failed ({error}): the write may have happened. Open the memory again and repeat it "
            "under its idempotency key."
        )
    return StoreClosed(f"{path} cannot be used ({error}): check the disk and the rights, then open it again")
