"""The one thread that writes, and its group commit.

Rules:
* Writes wait in a queue with a limit. The thread takes what is there, up to `group_rows`, and commits it at once:
  while one commit waits for the disk the next group gathers, so a single write is never kept waiting and many share an
  fsync (as PostgreSQL with `commit_delay` 0). A `linger_ms` of at most 2 waits for more.
* Each write has a savepoint: one that fails is rolled back alone, and its caller gets the fault.
* The order is: rows, commit, index, acknowledgement. Who was answered will find its write, after any crash.
* A commit that fails for another reason than a full disk stops the writer for good: after a failed fsync nobody knows
  what the disk has (Rebello et al., "Can Applications Recover from fsync Failures?", USENIX ATC 2020). Reading goes on.
"""

import queue
import sqlite3
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Final, Generic, TypeVar

from memory.errors import MemoryFault, Overloaded, StoreClosed, StoreFull, WriteUncertain
from memory.probe import Probe, silent
from memory.settings import MemorySettings
from memory.store import Store, fault_of
from memory.transaction import Effect, Transaction

T = TypeVar("T")
_CLOSE_S: Final = 60.0


class _Write(Generic[T]):
    """A write that waits."""

    __slots__ = ("answer", "effect", "fault", "future", "rows", "work")

    def __init__(self, work: Callable[[Transaction], T], rows: int) -> None:
        self.work = work
        self.rows = rows
        self.future: Future[T] = Future()
        self.answer: T | None = None
        self.fault: BaseException | None = None
        self.effect: Effect | None = None


class Writer:
    """Takes writes from any thread and commits them in groups.

    `apply(sequence, effects)` brings the index to the state that was committed; it is called in the writer's thread.
    """

    def __init__(
        self,
        store: Store,
        settings: MemorySettings,
        apply: Callable[[int, list[Effect]], None],
        clock: Callable[[], float],
        probe: Probe = silent,
    ) -> None:
        self._store = store
        self._settings = settings
        self._apply = apply
        self._clock = clock
        self._probe = probe
        self._queue: queue.Queue[_Write[object] | None] = queue.Queue(settings.queue_writes)
        self._held: _Write[object] | None = None
        self._stopped: MemoryFault | None = None
        self._broken: MemoryFault | None = None
        self._door = threading.Lock()
        self.foreign: frozenset[int] = frozenset()
        """Slots in which nothing is written here: they live on another shard, or are about to."""
        self.commits = 0
        self._thread = threading.Thread(target=self._run, name="memory-writer", daemon=True)
        self._thread.start()

    def submit(self, work: Callable[[Transaction], T], rows: int = 1) -> Future[T]:
        """Queues a write. The future has its answer once it is durable and in the index."""
        write = _Write(work, rows)
        write.future.set_running_or_notify_cancel()  # who no longer waits does not undo it
        with self._door:
            if self._stopped is not None:
                raise type(self._stopped)(str(self._stopped))
            try:
                self._queue.put_nowait(write)  # type: ignore[arg-type]  # the queue holds writes of any answer
            except queue.Full:
                raise Overloaded(
                    f"{self._settings.queue_writes:,} writes wait for {self._store.path}: ask again later, or write in "
                    "batches"
                ) from None
        return write.future

    def wait(self, work: Callable[[Transaction], T], rows: int = 1) -> T:
        """Does a write and gives its answer."""
        return self.answer(self.submit(work, rows))

    def answer(self, future: Future[T]) -> T:
        """Waits for a write that was queued. Raises what it came to, or `WriteUncertain` if it takes too long."""
        try:
            return future.result(self._settings.write_timeout_s)
        except TimeoutError:
            raise WriteUncertain(
                f"no answer from the writer of {self._store.path} in {self._settings.write_timeout_s} s: the write may "
                "yet happen. Repeat it under its idempotency key."
            ) from None

    def close(self) -> None:
        """Commits what waits and ends the thread. May be called again."""
        with self._door:
            if self._stopped is None:
                self._stopped = StoreClosed(f"the memory in {self._store.folder} was closed: open it again")
        while self._thread.is_alive():
            try:
                self._queue.put(None, timeout=_CLOSE_S)
            except queue.Full:
                continue
            self._thread.join(_CLOSE_S)

    def _run(self) -> None:
        while True:
            group, ending = self._gather()
            if self._broken is not None:
                self._fail(group, self._broken, self._store.writing)
            elif group:
                self._commit(group)
            if ending:
                return

    def _gather(self) -> tuple[list[_Write[object]], bool]:
        """The next group, and whether it is the last. Waits for the first write."""
        first, self._held = self._held or self._queue.get(), None
        if first is None:
            return [], True
        group, rows = [first], first.rows
        until = time.monotonic() + self._settings.linger_ms / 1000
        while rows < self._settings.group_rows:
            try:
                left = until - time.monotonic()
                write = self._queue.get(timeout=left) if left > 0 else self._queue.get_nowait()
            except queue.Empty:
                break
            if write is None:
                return group, True
            if rows + write.rows > self._settings.group_rows:
                self._held = write
                break
            group.append(write)
            rows += write.rows
        return group, False

    def _commit(self, group: list[_Write[object]]) -> None:
        fault: MemoryFault | None = None
        connection = self._store.writing
        transaction: Transaction | None = None
        try:
            connection.execute("BEGIN IMMEDIATE")
            transaction = Transaction(self._store, self._clock, self.foreign)
            for write in group:
                self._do(write, transaction, connection)
            transaction.finish()
        except sqlite3.Error as error:
            fault = fault_of(error, self._store.path, committing=False)
        if fault is None:
            assert transaction is not None
            learned = self._learn(transaction)
            fault = self._make_durable(connection)
            if isinstance(fault, StoreFull):
                self._store.forget_scopes(learned)
        if fault is not None:
            self._fail(group, fault, connection)
            return
        assert transaction is not None
        self._probe("index.apply.before")
        try:
            self._apply(transaction.sequence, [write.effect for write in group if write.effect is not None])
        except BaseException as error:
            self._fail(group, self._stop(error), connection)
            return
        self._probe("index.apply.after")
        self.commits += 1
        self._probe("acknowledge.before")
        for write in group:
            if write.fault is not None:
                write.future.set_exception(write.fault)
            else:
                write.future.set_result(write.answer)
        self._probe("acknowledge.after")

    def _do(self, write: _Write[object], transaction: Transaction, connection: sqlite3.Connection) -> None:
        before = transaction.begin_write()
        connection.execute("SAVEPOINT one")
        self._probe("row.write.before")
        try:
            write.answer = write.work(transaction)
        except sqlite3.Error as error:
            if not connection.in_transaction:  # a full disk rolls back the whole group
                raise
            write.fault = fault_of(error, self._store.path, committing=False)
        except Exception as error:  # whatever it is, it belongs to the caller, and the other writes go on
            write.fault = error
        self._probe("row.write.after")
        if write.fault is None:
            write.effect = transaction.effect
        else:
            connection.execute("ROLLBACK TO one")
            transaction.abandon(before)
        connection.execute("RELEASE one")

    def _make_durable(self, connection: sqlite3.Connection) -> MemoryFault | None:
        self._probe("commit.before")
        try:
            connection.execute("COMMIT")
        except sqlite3.Error as error:
            fault = fault_of(error, self._store.path, committing=True)
            return fault if isinstance(fault, StoreFull) else self._stop(error)
        self._probe("commit.after")
        return None

    def _learn(self, transaction: Transaction) -> list[int]:
        """Notes new scopes before the commit: a reader may see their rows from the moment that it is made."""
        learned = []
        for scope in transaction.new_scopes:
            row = self._store.writing.execute(
                "SELECT number FROM scope WHERE path = ?", (scope.path,)
            ).fetchone()
            if row is not None and row[0] not in self._store.scopes:
                self._store.learn_scope(row[0], scope)
                learned.append(row[0])
        return learned

    def _stop(self, error: BaseException) -> MemoryFault:
        fault = WriteUncertain(
            f"the writer of {self._store.path} stopped: {error!r}. What was acknowledged is safe; this write may have "
            "happened. Open the memory again and repeat it under its idempotency key."
        )
        fault.__cause__ = error
        self._broken = StoreClosed(f"{self._store.path} takes no writes since {error!r}: open it again")
        with self._door:
            self._stopped = self._broken
        return fault

    def _fail(self, group: list[_Write[object]], fault: MemoryFault, connection: sqlite3.Connection) -> None:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        for write in group:
            write.future.set_exception(write.fault or fault)
