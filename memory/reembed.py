"""Changing the embedder of a memory: all vectors are made anew from the texts, in one transaction.

Rules:
* Whole or not at all: a crash leaves the old vectors and the old identity.
* Texts, ids and times stay. Snapshots of the old vectors go; one that came back would be refused by its identity.
"""

from pathlib import Path
from typing import Final

from inference.embedder import Embedder
from memory.schema import FIXED, FIXED_COUNT, check_row, row_crc, to_half
from memory.snapshot import remove_snapshots
from memory.store import Store, identity_text, told
from memory.vector import checked_vectors

_AT_ONCE: Final = 1000


def reembed(folder: Path, embedder: Embedder) -> int:
    """Embeds all texts of the memory in a folder anew; gives their number. Raises `StoreCorrupt` for a bad row."""
    store = Store(folder, None)
    try:
        remove_snapshots(folder)
        with told(store.path, committing=True):
            store.writing.execute("BEGIN IMMEDIATE")
            count = _embed_all(store, embedder)
            store.writing.execute(
                "UPDATE meta SET value = ? WHERE name = 'embedder'", (identity_text(embedder.identity),)
            )
            store.writing.execute("COMMIT")
            return count
    finally:
        store.close()


def _embed_all(store: Store, embedder: Embedder) -> int:
    write = store.writing
    ids = [row[0] for row in write.execute("SELECT id FROM item ORDER BY id")]
    for start in range(0, len(ids), _AT_ONCE):
        rows = [row for each in ids[start : start + _AT_ONCE] if (row := store.row(write, each)) is not None]
        for row in rows:
            check_row(row, store.identity.dimension, str(store.path))
        vectors = embedder.embed([row[FIXED.split(", ").index("text")] for row in rows])
        half = to_half(checked_vectors(vectors, len(rows), embedder.identity))
        write.executemany(
            "UPDATE item SET vector = ?, crc = ? WHERE id = ?",
            [
                (blob, row_crc(row[:FIXED_COUNT], blob), row[0])
                for row, blob in zip(rows, [each.tobytes() for each in half], strict=True)
            ],
        )
    return len(ids)
