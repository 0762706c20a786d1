"""A shard of a memory in a Ray actor.

Rules:
* The actor is a `Memory` whose methods are called from many threads at once; the store and the index stand that.
* A restart runs `__init__` only, and Ray makes calls again whose answers were lost: so every write carries an
  idempotency key, and an actor that starts waits for its predecessor's lock on the folder.
* Calls come in batches (`memory/batch.py`): texts of a batch are embedded together, and its writes share a commit. An
  answer of a batch that is an error is handed over as a value, to be raised by who asked.
* The folder is on the disk of the node where the actor runs; a follower's should be on another node.
"""

import queue
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec
import ray

from inference.embedder import Embedder, EmbedderIdentity
from inference.hashing_embedder import HashingEmbedder
from memory.changes import Changes
from memory.errors import InvalidItem, Overloaded, StoreLocked
from memory.follower import Follower, Replication
from memory.item import Draft, Item, Kind
from memory.memory import Memory
from memory.ranking import RankingSettings
from memory.scope import Scope
from memory.settings import MemorySettings
from memory.transaction import Receipt

_LOCK_WAIT_S: Final = 60.0
_LOCK_PAUSE_S: Final = 0.2
_CONFIRM_S: Final = 30.0
_WAITS: Final = 32


def default_embedder() -> Embedder:
    """The built-in embedder. It needs no cache: hashing a text costs as much as looking it up."""
    return HashingEmbedder()


class Tell(msgspec.Struct, frozen=True):
    """A write of a batch."""

    drafts: tuple[Draft, ...]
    scope: Scope
    key: str
    replicated: bool = False
    """True to answer when a follower has it too."""
    origin: str = ""


class MemoryActor(Memory):
    """A `Memory` as an actor: what it adds is batches, moving and following."""

    def __init__(
        self,
        folder: str,
        make_embedder: Callable[[], Embedder] = default_embedder,
        settings: MemorySettings | None = None,
        ranking: RankingSettings | None = None,
        *,
        followers: Sequence[Any] = (),
        follows: bool = False,
    ) -> None:
        until = time.monotonic() + _LOCK_WAIT_S
        embedder = make_embedder()
        while True:
            try:
                super().__init__(Path(folder), embedder, settings=settings, ranking=ranking)
                break
            except StoreLocked:
                if time.monotonic() > until:
                    raise
                time.sleep(_LOCK_PAUSE_S)
        self._door = threading.Lock()
        self._waits: dict[str, queue.SimpleQueue[Item | None]] = {}
        """Who waits in `next_like`: each has a thread of the actor's."""
        self._follower = Follower(self.shard) if follows else None
        self._replication: Replication | None = None
        if followers:
            self._replication = Replication(self.shard, [_sender(each) for each in followers])

    def identity(self) -> EmbedderIdentity:
        """Of the vectors here."""
        return self.embedder.identity

    def tell_all(self, tells: Sequence[Tell]) -> list[Any]:
        """Does writes, as far as they go in one commit; the receipts of each, or its error."""
        vectors = self.embedder.embed([draft.text for tell in tells for draft in tell.drafts])
        begun: list[Any] = []
        first = 0
        for tell in tells:
            after = first + len(tell.drafts)
            try:
                some = vectors[first:after]
                begun.append(self.shard.begin_add(tell.drafts, some, tell.scope, tell.key, tell.origin))
            except Exception as error:  # handed over to who asked
                begun.append(error)
            first = after
        return [self._finished(each, tell) for each, tell in zip(begun, tells, strict=True)]

    def _finished(self, begun: Any, tell: Tell) -> list[Receipt] | Exception:
        if isinstance(begun, Exception):
            return begun
        try:
            receipts: list[Receipt] = self.shard.writer.answer(begun)
            if tell.replicated:
                self.confirm(max(receipt.sequence for receipt in receipts))
        except Exception as error:  # handed over to who asked
            return error
        return receipts

    def next_like(
        self,
        wait: str,
        text: str,
        *,
        scope: Scope,
        likeness: float,
        kinds: frozenset[Kind] | None,
        timeout_s: float,
    ) -> Item | None:
        """Waits for the next item like a text, until `stop_waiting` with the same `wait`, or so long."""
        heard: queue.SimpleQueue[Item | None] = queue.SimpleQueue()
        with self._door:
            if len(self._waits) >= _WAITS:
                raise Overloaded(f"{_WAITS} wait for a like memory on this shard: give the others a turn")
            self._waits[wait] = heard
        try:
            number = self.subscribe(
                text, lambda item, _: heard.put(item), scope=scope, likeness=likeness, kinds=kinds
            )
            try:
                return heard.get(timeout=timeout_s)
            except queue.Empty:
                return None
            finally:
                self.unsubscribe(number)
        finally:
            del self._waits[wait]

    def stop_waiting(self, wait: str) -> None:
        """Ends a wait of `next_like`, if it is under way."""
        heard = self._waits.get(wait)
        if heard is not None:
            heard.put(None)

    def confirm(self, sequence: int) -> None:
        """Waits until a follower has a write. Raises `NotReplicated`."""
        if self._replication is None:
            raise InvalidItem("this memory was started without followers: start_memory(followers=1)")
        self._replication.confirm(sequence, _CONFIRM_S)

    def take(self, changes: Changes) -> int:
        """As a follower: see `Follower.take`."""
        if self._follower is None:
            raise InvalidItem("this shard leads")
        return self._follower.take(changes)

    def promote(self) -> int:
        """As a follower: see `Follower.promote`."""
        if self._follower is None:
            raise InvalidItem("this shard leads")
        return self._follower.promote()

    def changes(self, after: int, slots: frozenset[int] | None = None) -> Changes:
        """See `Shard.changes`."""
        return self.shard.changes(after, slots)

    def adopt(self, changes: Changes) -> None:
        """See `Shard.adopt`."""
        self.shard.adopt(changes)

    def freeze(self, slots: frozenset[int]) -> None:
        """See `Shard.freeze`."""
        self.shard.freeze(slots)

    def assign(self, slots: frozenset[int]) -> None:
        """See `Shard.assign`."""
        self.shard.assign(slots)

    def made_of(self, ids: Sequence[int], scope: Scope) -> list[int]:
        """Items here that were made of these, wherever in the reader's tenant they live."""
        return self.shard.made_of(ids, scope)

    def purge_made(self, ids: Sequence[int], scope: Scope) -> list[int]:
        """Erases items here that were made of what the reader purges, and what hangs on them."""
        return [receipt.id for receipt in self.shard.erase(ids, scope, derived=True, owned=True)]

    def stop(self) -> None:
        """Closes the memory, with a snapshot, before the actor is ended."""
        if self._replication is not None:
            self._replication.close()
        self.close()


def _sender(follower: Any) -> Callable[[Changes], int]:
    def send(changes: Changes) -> int:
        reached: int = ray.get(follower.take.remote(changes), timeout=_CONFIRM_S)
        return reached

    return send
