"""Named points in the life of a write, at which a test may kill the process.

Each write, fsync, rename and acknowledgement has a point before and after it. In production the probe does nothing. A
test gives one that ends the process with SIGKILL at the n-th passing of a point, and then looks at what a new process
finds (Qdrant found its faults so: kills between two statements, qdrant#7577).
"""

from collections.abc import Callable
from typing import Final

Probe = Callable[[str], None]
"""Called with the name of the point that is passed."""

POINTS: Final = (
    "row.write.before",
    "row.write.after",
    "commit.before",
    "commit.after",
    "index.apply.before",
    "index.apply.after",
    "acknowledge.before",
    "acknowledge.after",
    "snapshot.write.before",
    "snapshot.write.after",
    "snapshot.fsync.before",
    "snapshot.fsync.after",
    "snapshot.rename.before",
    "snapshot.rename.after",
    "snapshot.folder_fsync.before",
    "snapshot.folder_fsync.after",
    "snapshot.clean.before",
    "snapshot.clean.after",
)
"""All of them. SQLite's own write and fsync of the log lie between `commit.before` and `commit.after`."""


def silent(_point: str) -> None:
    """Does nothing: the probe of production."""
