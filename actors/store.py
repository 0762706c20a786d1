"""Agents' states by address, as of the last checkpoint, in SQLite.

Rules:
* There is one transaction from each commit to the next. What was put is seen at once by `get`, and becomes
  durable, all of it and the cell's `meta` together, by `commit`. A process that dies before leaves the last
  commit, whatever it had put.
* A commit survives the death of the machine (WAL with synchronous=FULL; then the log is written back, so that
  between commits the state is in one file).
* Each row carries a CRC-32 of address and state, checked when it is read, and the whole file is checked when
  it is opened: damage is raised, never returned.
* After a refusal of the disk nothing more is taken: what was put since the last commit is gone, and must be
  recovered from that commit and the journal.
* A store is used by the thread that made it, and by one process at a time. Others get an error.

SQLite's atomic commit is described at https://sqlite.org/atomiccommit.html and https://sqlite.org/wal.html.

Costs, measured on one core of CPython 3.11 with states of 100 bytes: 2 to 3 us a row in `put_many`, 3 us a
`put`, 2.6 us a `get`; a commit of 100,000 rows 0.05 s, of one row 1.3 ms; opening checks a row in 1 us.
"""

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, NoReturn, Self
from zlib import crc32

from actors.errors import InvalidContent, SwarmError

VERSION = 1
_APPLICATION = 0x72617977
"""Marks the file as ours, in SQLite's header ("rayw")."""
_PAGE_BYTES = 8192
_CACHE_KIB = 32 * 1024
_LOCK_TIMEOUT_S = 1.0
_PAGE_ADDRESSES = 1000
_SCHEMA = (
    "CREATE TABLE agents (address TEXT PRIMARY KEY, checksum INTEGER NOT NULL, state BLOB NOT NULL) WITHOUT ROWID",
    "CREATE TABLE checkpoint (id INTEGER PRIMARY KEY CHECK (id = 1), checksum INTEGER NOT NULL, meta BLOB NOT NULL)",
    f"PRAGMA application_id = {_APPLICATION}",
    f"PRAGMA user_version = {VERSION}",
)
_DISK = frozenset(
    {
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_NOMEM,
        sqlite3.SQLITE_PERM,
        sqlite3.SQLITE_READONLY,
    }
)
_PUT = "INSERT OR REPLACE INTO agents VALUES (?, ?, ?)"
_GET = "SELECT checksum, state FROM agents WHERE address = ?"
_MEND_DAMAGE = (
    "Restore the file from a copy, or remove it with its -wal and -shm to recover from the whole journal."
)


class CheckpointDamaged(SwarmError):
    """The checkpoint is not what was written. The text names the file, the fault and the mend."""

    reason = "checkpoint damaged"


class CheckpointLocked(SwarmError):
    """Another process has the checkpoint open."""

    reason = "checkpoint locked"


class CheckpointFailed(SwarmError):
    """The disk refused a read or write: it is full or failed. The last commit stands, what was put since is "
    "gone."""

    reason = "checkpoint failed"


class CheckpointStore:
    """The store at `path`, made if need be; with None, a private one that is gone when it is closed.

    Raises `CheckpointDamaged` if the file is not a whole store, `CheckpointLocked` if another process has it.
    """

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self._lost: str | None = None
        try:
            # The empty name is a temporary file of SQLite's, in memory until it grows beyond the cache.
            self._connection = sqlite3.connect(path or "", timeout=_LOCK_TIMEOUT_S, isolation_level=None)
        except sqlite3.Error as error:
            self._refuse(error)
        try:
            self._open()
        except sqlite3.Error as error:
            self._connection.close()
            self._refuse(error)
        except BaseException:
            self._connection.close()
            raise

    def put(self, address: str, state: bytes) -> None:
        """Keeps the state of an agent, in place of an earlier one."""
        self._execute(_PUT, (address, _checksum(address, state), state))

    def put_many(self, states: Iterable[tuple[str, bytes]]) -> None:
        """Keeps the states of many agents."""
        rows = ((address, _checksum(address, state), state) for address, state in states)
        self._check_open()
        try:
            self._connection.executemany(_PUT, rows)
        except sqlite3.Error as error:
            self._refuse(error)

    def get(self, address: str) -> bytes | None:
        """The state last put for an agent, committed or not; None if there is none."""
        row = self._execute(_GET, (address,)).fetchone()
        if row is None:
            return None
        checksum, state = row
        self._check_row(address, checksum, state)
        found: bytes = state
        return found

    def delete(self, address: str) -> None:
        """Forgets an agent. Deleting one that is not there is harmless."""
        self._execute("DELETE FROM agents WHERE address = ?", (address,))

    def addresses(self) -> Iterator[str]:
        """All agents, in the order of their addresses. The store may be changed meanwhile."""
        last = ""
        query = f"SELECT address FROM agents WHERE address > ? ORDER BY address LIMIT {_PAGE_ADDRESSES}"  # noqa: S608  # a constant
        while page := [address for (address,) in self._execute(query, (last,))]:
            yield from page
            last = page[-1]

    def commit(self, meta: bytes) -> None:
        """Makes everything put and deleted since the last commit durable, and `meta` with it."""
        self._execute("INSERT OR REPLACE INTO checkpoint VALUES (1, ?, ?)", (crc32(meta), meta))
        self._execute("COMMIT")
        self._write_back()
        self._execute("BEGIN IMMEDIATE")

    def meta(self) -> bytes | None:
        """What the last commit was given; None if there was none."""
        row = self._execute("SELECT checksum, meta FROM checkpoint").fetchone()
        if row is None:
            return None
        checksum, meta = row
        if type(meta) is not bytes or crc32(meta) != checksum:
            raise CheckpointDamaged(f"{self.path}: the cell's part does not fit its checksum. {_MEND_DAMAGE}")
        found: bytes = meta
        return found

    def close(self) -> None:
        """Lets the store go. What was put since the last commit is forgotten. Closing twice is harmless."""
        self._connection.close()
        self._lost = f"{self.path}: the checkpoint is closed. Open a new CheckpointStore."

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _open(self) -> None:
        execute = self._connection.execute
        execute(f"PRAGMA page_size = {_PAGE_BYTES}")
        execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
        if self.path is None:
            execute(
                "PRAGMA journal_mode = OFF"
            )  # nothing outlives this process: there is nothing to roll back to
        else:
            # Exclusive: the index of the log is then in memory, not in a mapped file, which kills on a full disk.
            execute("PRAGMA locking_mode = EXCLUSIVE")
            self._check_header()
            execute("PRAGMA journal_mode = WAL")
            execute("PRAGMA synchronous = FULL")
            execute("PRAGMA wal_autocheckpoint = 0")  # commit() does it
        execute("BEGIN IMMEDIATE")
        if execute("PRAGMA user_version").fetchone()[0] == 0:
            for statement in _SCHEMA:
                execute(statement)
            execute("COMMIT")
            execute("BEGIN IMMEDIATE")
        else:
            self._check_content()

    def _check_header(self) -> None:
        """Refuses the file of another program or of a newer version."""
        execute = self._connection.execute
        (application,) = execute("PRAGMA application_id").fetchone()
        (version,) = execute("PRAGMA user_version").fetchone()
        (tables,) = execute("SELECT count(*) FROM sqlite_schema").fetchone()
        if application != (_APPLICATION if tables else 0):
            raise CheckpointDamaged(f"{self.path}: this is a database of another program. Name another file.")
        if version > VERSION:
            raise CheckpointDamaged(
                f"{self.path}: expected format version {VERSION} or lower, found {version}: a newer rayswarm wrote "
                "it. Upgrade rayswarm."
            )
        if (version == 0) != (tables == 0):
            raise CheckpointDamaged(
                f"{self.path}: found {tables} tables of version {version}. {_MEND_DAMAGE}"
            )

    def _check_content(self) -> None:
        """Refuses a file whose pages or rows are not as written: 1 us a row, and no agent is lost unseen."""
        ((verdict,), *_) = self._connection.execute("PRAGMA quick_check(1)")
        if verdict != "ok":
            raise CheckpointDamaged(f"{self.path}: {verdict.splitlines()[-1]}. {_MEND_DAMAGE}")
        for address, checksum, state in self._connection.execute(
            "SELECT address, checksum, state FROM agents"
        ):
            self._check_row(address, checksum, state)
        self.meta()

    def _check_row(self, address: str, checksum: int, state: bytes) -> None:
        if type(address) is not str or type(state) is not bytes or _checksum(address, state) != checksum:
            raise CheckpointDamaged(
                f"{self.path}: the state of {address!r} is not as written. {_MEND_DAMAGE}"
            )

    def _write_back(self) -> None:
        # If it fails, the commit is durable in the log all the same, which is written back after the next one.
        if self.path is not None:
            with suppress(sqlite3.OperationalError):
                self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def _execute(self, statement: str, values: tuple[Any, ...] = ()) -> sqlite3.Cursor:
        self._check_open()
        try:
            return self._connection.execute(statement, values)
        except sqlite3.Error as error:
            self._refuse(error)

    def _check_open(self) -> None:
        if self._lost is not None:
            raise CheckpointFailed(self._lost)

    def _refuse(self, error: sqlite3.Error) -> NoReturn:
        """Raises what `error` means. Unless it is the caller's fault, nothing more is taken."""
        if isinstance(error, sqlite3.ProgrammingError):
            raise error  # another thread's call, or a value of a wrong type
        code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT) & 0xFF
        if code == sqlite3.SQLITE_TOOBIG:
            raise InvalidContent(f"{self.path}: a state of over a billion bytes. Split the agent.") from error
        if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            raise CheckpointLocked(
                f"{self.path}: another process has this checkpoint open. Wait for it to end, or give this run a "
                "folder of its own."
            ) from error
        if code in _DISK:
            self._lost = (
                f"{self.path}: the disk refused ({error}); the last commit stands, what was put since is gone. Free "
                "space on this disk or make the folder writable, then open the checkpoint again and recover."
            )
            raise CheckpointFailed(self._lost) from error
        self._lost = f"{self.path}: {error}. {_MEND_DAMAGE}"
        raise CheckpointDamaged(self._lost) from error


def _checksum(address: str, state: bytes) -> int:
    return crc32(state, crc32(address.encode()))
