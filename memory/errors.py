"""What can go wrong in a memory, each error saying whether what was asked for may have happened.

An error is *definite* when nothing was changed and asking again is safe, *indefinite* when the change may have happened
(the distinction is Maelstrom's, https://github.com/jepsen-io/maelstrom, doc/protocol.md). A write repeated under its
idempotency key is safe after either.

Every error is made of one string, which says what, where and how to mend it, and survives pickling.
"""

from typing import ClassVar


class MemoryFault(Exception):
    """Whatever goes wrong in a memory. `definite` is true if nothing was changed."""

    definite: ClassVar[bool] = True


class InvalidItem(MemoryFault):
    """What was to be remembered or asked cannot be taken: empty or too long text, NaN, a wrong number of dimensions."""


class InvalidScope(MemoryFault):
    """What was given is no scope, or one that does not name its tenant. Nothing was looked up."""


class UnknownScope(MemoryFault):
    """Nothing was ever remembered in this scope."""


class UnknownItem(MemoryFault):
    """No such item within the reader's sight. Whether it exists elsewhere is not told."""


class NotAllowed(MemoryFault):
    """The item or scope is seen but may not be changed by who asks."""


class Conflict(MemoryFault):
    """The item was already superseded, or an idempotency key came back with another request."""


class NotBranchable(MemoryFault):
    """The memory cannot be had as it was at a fork."""


class EmbedderMismatch(MemoryFault):
    """The store holds vectors of another embedder."""


class StoreLocked(MemoryFault):
    """Another process, or another `Memory` of this one, has the directory."""


class StoreClosed(MemoryFault):
    """The memory was closed, or stopped by an earlier fault."""


class StoreFull(MemoryFault):
    """The disk, or the store's limit, is full. What was acknowledged is safe; reading goes on."""


class StoreCorrupt(MemoryFault):
    """A file or a row is not as it was written."""


class SnapshotCorrupt(StoreCorrupt):
    """A snapshot of the index cannot be used. The index is rebuilt from the rows: nothing is lost."""


class Overloaded(MemoryFault):
    """More writes wait than may wait. Nothing was changed; ask again later."""


class Moved(MemoryFault):
    """The scope lives on another shard now. Nothing was changed; ask there."""


class WriteUncertain(MemoryFault):
    """The commit failed, or no answer came in time: the write may have happened."""

    definite = False


class NotReplicated(MemoryFault):
    """The write is durable here, and no follower confirmed it in time."""

    definite = False


class Behind(MemoryFault):
    """A follower does not have the write that a token names yet."""
