"""Followers: shards that take another's changes, and may take its place.

Rules:
* The leader ships what a follower lacks (`memory/changes.py`), in order, as soon as it is committed, page by page;
  what arrives twice changes nothing. A follower that is away is caught up when it is back.
* A write is acknowledged when it is durable here. Who wants more waits for `confirm`: then as many followers as were
  asked for have it durable too, or `NotReplicated` says that it is not known.
* A follower takes no writes of its own until it is promoted. Promotion raises the epoch: what the old leader still
  sends is refused (`Conflict`), so its writes are confirmed no more.
* A token of the leader is good at a follower: who recalls with it waits until the follower has that write.
"""

import logging
import threading
from collections.abc import Callable, Sequence
from typing import Final

from memory.changes import Changes
from memory.errors import Conflict, InvalidItem, NotReplicated
from memory.shard import Shard

_logger = logging.getLogger("rayswarm.memory")
_AGAIN_S: Final = 0.5
_IDLE_S: Final = 1.0
Send = Callable[[Changes], int]
"""Hands changes to a follower and gives the sequence number that it has then; raises if it could not."""


class Follower:
    """The receiving side. Makes the shard a follower, if it is none yet and holds nothing."""

    def __init__(self, shard: Shard) -> None:
        self._shard = shard
        if not shard.following:
            if shard.sequence:
                raise InvalidItem(
                    f"{shard.store.path} has writes of its own and cannot follow: give an empty folder"
                )
            shard.set_following(following=True, epoch=shard.epoch)

    @property
    def sequence(self) -> int:
        """The last write of the leader that is durable here."""
        return self._shard.sequence

    def take(self, changes: Changes) -> int:
        """Takes changes; gives the sequence number that it has then. Raises `Conflict` for a leader that was replaced.

        Changes that do not join on are not taken: the number that is given says what is lacking.
        """
        shard = self._shard
        if not shard.following or changes.epoch < shard.epoch:
            raise Conflict(
                f"{shard.store.path} is of epoch {shard.epoch} and takes nothing from a leader of epoch "
                f"{changes.epoch}: that leader was replaced, and its last writes may be lost"
            )
        if changes.epoch > shard.epoch:
            shard.set_following(following=True, epoch=changes.epoch)
        if changes.after <= shard.sequence < changes.upto:
            shard.take(changes, follow=True)
        return shard.sequence

    def promote(self) -> int:
        """Makes the shard a leader; gives its epoch."""
        self._shard.set_following(following=False, epoch=self._shard.epoch + 1)
        return self._shard.epoch


class Replication:
    """The sending side: a thread for each follower."""

    def __init__(self, shard: Shard, followers: Sequence[Send], *, required: int = 1) -> None:
        """`required`: how many followers must have a write before it is confirmed."""
        if not 1 <= required <= len(followers):
            raise InvalidItem(f"{required} followers are required, and there are {len(followers)}")
        self._shard = shard
        self._required = required
        self._reached = [0] * len(followers)
        self._changed = threading.Condition()
        self._closing = threading.Event()
        self.problems: list[str] = [""] * len(followers)
        """The last problem with each follower; empty if it is well."""
        self._threads = [
            threading.Thread(target=self._ship, args=(number, send), name="memory-replication", daemon=True)
            for number, send in enumerate(followers)
        ]
        for thread in self._threads:
            thread.start()

    def confirm(self, sequence: int, timeout_s: float = 10.0) -> None:
        """Waits until enough followers have a write. Raises `NotReplicated` if they do not in time."""

        def enough() -> bool:
            return sum(reached >= sequence for reached in self._reached) >= self._required

        with self._changed:
            if not self._changed.wait_for(enough, timeout_s):
                told = "; ".join(problem for problem in self.problems if problem) or "no answer"
                raise NotReplicated(
                    f"write {sequence} is durable here, and {self._required} followers did not confirm it in "
                    f"{timeout_s:g} s ({told}). It was not undone."
                )

    def close(self) -> None:
        """Ends shipping."""
        self._closing.set()
        for thread in self._threads:
            thread.join()

    def _ship(self, number: int, send: Send) -> None:
        at = -1
        while not self._closing.is_set():
            try:
                if at >= self._shard.sequence:
                    self._shard.wait_for(at + 1, _IDLE_S)
                    continue
                at = send(self._shard.changes(max(at, 0)))
                self.problems[number] = ""
            except Exception as error:  # a follower that is away, in whatever way its transport says so
                self._trouble(number, error)
            with self._changed:
                self._reached[number] = at
                self._changed.notify_all()

    def _trouble(self, number: int, error: Exception) -> None:
        if not self.problems[number]:
            _logger.warning("follower %d of %s: %r", number, self._shard.store.path, error)
        self.problems[number] = repr(error)
        self._closing.wait(_AGAIN_S)
