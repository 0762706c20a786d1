"""Subscriptions: who is told when something like what it waits for is written.

Rules:
* A subscriber is told only of what it sees, by the same rule as in a recall, and only of what is durable.
* It is told after the write was acknowledged, in a thread of its own: a slow subscriber never slows a writer. If it
  falls behind by more than `_WAITING` commits the oldest are let go, and counted: a subscription wakes, the store
  is the truth.
* It is told of an item once. A subscriber that raises is logged, and told of the next one all the same.
"""

import itertools
import logging
import queue
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from memory.errors import InvalidItem, Overloaded
from memory.item import Item, Kind
from memory.schema import FIXED_COUNT, Row, Vectors, from_half
from memory.scope import Scope, checked
from memory.store import Store

_logger = logging.getLogger("rayswarm.memory")
_WAITING: Final = 10_000
Told = Callable[[Item, float], None]
"""Called with the item and its likeness, an inner product."""


@dataclass(frozen=True, slots=True)
class Subscription:
    """What somebody waits for."""

    number: int
    reader: Scope
    vector: Vectors
    """Shape (d,), length 1."""
    likeness: float
    kinds: frozenset[Kind] | None
    told: Told


class Subscriptions:
    """The subscriptions of one shard, and the thread that tells."""

    def __init__(self, store: Store, limit: int) -> None:
        self._store = store
        self._limit = limit
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()
        self._by_number: dict[int, Subscription] = {}
        self._queue: queue.Queue[list[Row] | None] = queue.Queue(_WAITING)
        self._thread: threading.Thread | None = None
        self.missed = 0
        """Commits that were let go."""

    def add(
        self,
        reader: Scope,
        vector: Vectors,
        likeness: float,
        told: Told,
        kinds: frozenset[Kind] | None = None,
    ) -> int:
        """Subscribes; gives the number by which to end it."""
        if not -1 <= likeness <= 1:
            raise InvalidItem(f"likeness is {likeness!r}: give a cosine from -1 to 1")
        with self._lock:
            if len(self._by_number) >= self._limit:
                raise Overloaded(
                    f"there are {self._limit:,} subscriptions: end some, or raise MemorySettings.subscriptions"
                )
            number = next(self._numbers)
            self._by_number[number] = Subscription(number, checked(reader), vector, likeness, kinds, told)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="memory-subscriptions", daemon=True)
                self._thread.start()
        return number

    def end(self, number: int) -> bool:
        """Ends a subscription; False if there is none."""
        with self._lock:
            return self._by_number.pop(number, None) is not None

    def hear(self, rows: list[Row]) -> None:
        """Takes what a commit added; called in the writer's thread, returns at once."""
        if not self._by_number:
            return
        while True:
            try:
                self._queue.put_nowait(rows)
                return
            except queue.Full:
                try:
                    self._queue.get_nowait()
                    self.missed += 1
                except queue.Empty:
                    continue

    def close(self) -> None:
        """Tells what waits, then ends the thread."""
        if self._thread is not None:
            self._queue.put(None)
            self._thread.join()
            self._thread = None

    def _run(self) -> None:
        while (rows := self._queue.get()) is not None:
            with self._lock:
                waiting = list(self._by_number.values())
            if waiting:
                self._tell(rows, waiting)

    def _tell(self, rows: Sequence[Row], waiting: Sequence[Subscription]) -> None:
        dimension = self._store.identity.dimension
        likeness = from_half(b"".join([row[-1] for row in rows]), dimension) @ np.stack(
            [each.vector for each in waiting], axis=1
        )
        least = np.array([each.likeness for each in waiting], np.float32)
        for at, to in np.argwhere(likeness >= least).tolist():
            subscription = waiting[to]
            scope = self._store.scopes[rows[at][1]]
            if not subscription.reader.sees(scope):
                continue
            item = self._store.item(rows[at][: FIXED_COUNT + 4])
            if subscription.kinds is not None and item.kind not in subscription.kinds:
                continue
            try:
                subscription.told(item, float(likeness[at, to]))
            except Exception:
                _logger.exception("a subscriber of %s raised on item %s", self._store.folder, item.id)
