"""The thread that tends a shard's index: builds and merges graphs, and writes snapshots, when there is cause.

Rules:
* It runs when nothing else wants the cores (on Linux, with a lower priority), and holds no lock that a search takes.
* While writes go on, blocks may grow to `_PATIENCE` times what is searched exactly before graphs are built: in a burst
  the cores are the writers'.
* Writers are held up while more of a scope waits to be built than `unbuilt_items`: what waits is in memory, in full
  precision. It is a queue, and so it has a limit.
* A snapshot that cannot be written is logged and left for later: the rows are the truth.
"""

import logging
import os
import sys
import threading
from collections.abc import Callable, Sequence
from typing import Final

from memory.errors import MemoryFault, Overloaded
from memory.index import Index
from memory.settings import MemorySettings

_logger = logging.getLogger("rayswarm.memory")
_PERIOD_S: Final = 0.05
_NICE: Final = 10
_PATIENCE: Final = 2


class Keeper:
    """Tends one index until it is closed."""

    def __init__(self, index: Index, settings: MemorySettings, write: Callable[[], int]) -> None:
        """`write` writes a snapshot of the index and gives its sequence number."""
        self._index = index
        self._settings = settings
        self._write = write
        self.tending = threading.Lock()
        """Held by whoever changes graphs or writes a snapshot."""
        self._built = threading.Condition()
        self._closing = threading.Event()
        self._written = 0
        self._thread = threading.Thread(target=self._run, name="memory-keeper", daemon=True)
        self._thread.start()

    def snapshot(self) -> int:
        """Writes a snapshot now; gives its sequence number."""
        with self.tending:
            changes = self._index.changes
            sequence = self._write()
            self._written = changes
            return sequence

    def forget_snapshot(self) -> None:
        """There is none any more: one is due."""
        self._written = -1

    def settle(self) -> None:
        """Does at once what it would do in time: afterwards no graph is due."""
        while self._tend():
            pass

    def wait_for_room(self, numbers: Sequence[int]) -> None:
        """Waits while too much of these scopes is to be built yet. Raises `Overloaded` if it takes too long."""
        most = max(self._settings.unbuilt_items, self._settings.exact_items)

        def near() -> bool:
            return self._closing.is_set() or all(self._index.unbuilt(number) <= most for number in numbers)

        if near():
            return
        with self._built:
            if not self._built.wait_for(near, self._settings.write_timeout_s):
                raise Overloaded(
                    f"more than {most:,} items of a scope wait to be built into a graph: write more slowly, or raise "
                    "MemorySettings.unbuilt_items"
                )

    def close(self) -> None:
        """Ends the thread; what it does now it finishes."""
        self._closing.set()
        self._thread.join()

    @property
    def due(self) -> bool:
        """True if something changed since the last snapshot."""
        return self._index.changes > self._written

    def _tend(self, patience: int = 1) -> bool:
        with self.tending:
            busy = self._index.tend(patience)
        with self._built:
            self._built.notify_all()
        return busy

    def _run(self) -> None:
        if sys.platform == "linux":
            os.setpriority(
                os.PRIO_PROCESS, threading.get_native_id(), _NICE
            )  # those that it starts inherit it
        tended = seen = -1
        while not self._closing.wait(_PERIOD_S):
            changes = self._index.changes
            if changes == tended:
                continue
            writing, seen = changes != seen, changes
            while self._tend(_PATIENCE if writing else 1) and not self._closing.is_set():
                pass
            if not writing:
                tended = changes
            since = self._index.changes - self._written
            if since > max(self._settings.snapshot_changes, len(self._index) // 4):
                self._try_snapshot()

    def _try_snapshot(self) -> None:
        try:
            self.snapshot()
        except (OSError, MemoryFault) as error:  # a full disk, say
            _logger.warning("no snapshot: %s", error)
            self._written = self._index.changes
