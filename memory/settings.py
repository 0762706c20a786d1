"""What a memory may be told when it is opened. Every limit has a default and none is unlimited."""

import math
from dataclasses import dataclass

from memory.errors import InvalidItem


@dataclass(frozen=True, slots=True)
class MemorySettings:
    """Limits and sizes of one shard."""

    group_rows: int = 256
    """Rows that one commit takes at most, a batch of a single call excepted."""
    linger_ms: float = 0.0
    """How long a commit waits for company, at most 2. Without it a group is what came during the commit before."""
    batch_items: int = 10_000
    """Items that one call may write: they are written together or not at all."""
    queue_writes: int = 10_000
    """Writes that may wait; the next is refused with `Overloaded`."""
    write_timeout_s: float = 120.0
    """How long a caller waits for its write."""
    max_bytes: int = 1 << 40
    """The size that the database may have; a write beyond it is refused with `StoreFull`."""
    exact_items: int = 20_000
    """Up to so many items a scope is searched exactly; above, by a graph."""
    unbuilt_items: int = 80_000
    """Items of a scope that may wait, in full precision, to be built into its graph; with more, writers wait."""
    graph_ef: int = 256
    """Candidates that a search keeps in all graphs of a scope together: more is more exact and slower."""
    snapshot_changes: int = 20_000
    """Changes after which the index is written to a snapshot: at least so many, and a quarter of the items."""
    candidates: int = 2_000
    """Up to so many members, all are ranked; above, the nearest and those that share words."""
    text_items: int = 100_000
    """Items whose words are kept at hand for ranking, over all scopes."""
    subscriptions: int = 10_000
    """Subscriptions that a memory keeps."""

    def __post_init__(self) -> None:
        for name in self.__slots__:
            value = getattr(self, name)
            lowest = 0 if name in ("linger_ms", "write_timeout_s") else 1
            if not isinstance(value, int | float) or not math.isfinite(value) or value < lowest:
                raise InvalidItem(f"MemorySettings.{name} is {value!r}: give a number from {lowest}")
        if self.linger_ms > 2:
            raise InvalidItem(f"MemorySettings.linger_ms is {self.linger_ms}: a commit waits at most 2 ms")
