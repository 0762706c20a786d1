"""The tables of a shard, and how an item becomes a row.

Rules:
* A row is whole: text, times, provenance and vector are written together, so a write is there or is not.
* Every row carries `sequence`, the number of the write that last changed it; an erased item leaves its id and the
  sequence of its erasure, nothing else. Rows after a sequence are what a follower, or a snapshot, lacks.
* What is fixed at birth is under a CRC-32: a row that a bad disk changed is reported, not believed.
* Vectors are half precision (recall at 10 of .9996 against single, measured), 2 bytes a dimension, little-endian.
* `believed` is the content of the text index: what is retired is found by time, not by words.
"""

import json
from typing import Any, Final
from zlib import crc32

import msgspec
import numpy as np
from numpy.typing import NDArray

from memory.errors import StoreCorrupt
from memory.item import Item, Kind
from memory.scope import SLOTS, Scope

FORMAT: Final = 1
ID_LIMIT: Final = 1 << 53
VECTOR_TYPE: Final = np.dtype("<f2")

TABLES: Final = """
CREATE TABLE meta(name TEXT PRIMARY KEY, value) WITHOUT ROWID;
CREATE TABLE scope(number INTEGER PRIMARY KEY, path TEXT NOT NULL UNIQUE);
CREATE TABLE item(
    id INTEGER PRIMARY KEY, scope INTEGER NOT NULL, kind TEXT NOT NULL, text TEXT NOT NULL, importance REAL NOT NULL,
    source TEXT NOT NULL, trust REAL NOT NULL, session TEXT NOT NULL, turn INTEGER NOT NULL, speaker TEXT NOT NULL,
    valid_from REAL, valid_to REAL, recorded_at REAL NOT NULL, attributes TEXT NOT NULL, parents TEXT NOT NULL,
    hash BLOB NOT NULL, crc INTEGER NOT NULL,
    retired_at REAL, superseded_by INTEGER, sequence INTEGER NOT NULL, vector BLOB NOT NULL);
CREATE UNIQUE INDEX item_said ON item(scope, hash) WHERE retired_at IS NULL;
CREATE INDEX item_sequence ON item(sequence);
CREATE INDEX item_recorded ON item(scope, recorded_at);
CREATE INDEX item_session ON item(scope, session, turn) WHERE session <> '';
CREATE INDEX item_successor ON item(superseded_by) WHERE superseded_by IS NOT NULL;
CREATE TABLE derivation(parent INTEGER, child INTEGER, PRIMARY KEY(parent, child)) WITHOUT ROWID;
CREATE TABLE erased(id INTEGER PRIMARY KEY, sequence INTEGER NOT NULL);
CREATE INDEX erased_sequence ON erased(sequence);
CREATE TABLE request(scope INTEGER, key TEXT, digest BLOB NOT NULL, answer BLOB NOT NULL, sequence INTEGER NOT NULL,
    PRIMARY KEY(scope, key)) WITHOUT ROWID;
CREATE INDEX request_sequence ON request(sequence);
CREATE VIEW believed AS SELECT id, text, scope FROM item WHERE retired_at IS NULL;
CREATE VIRTUAL TABLE words USING fts5(
    text, scope, content='believed', content_rowid='id', tokenize='porter unicode61', detail='column');
"""

FIXED: Final = (
    "id, scope, kind, text, importance, source, trust, session, turn, speaker, valid_from, valid_to, recorded_at, "
    "attributes, parents, hash"
)
"""What is fixed at birth, in the order of the row; the CRC covers it and the vector."""
STATE: Final = "retired_at, superseded_by, sequence"
READ: Final = f"{FIXED}, crc, {STATE}"
"""An item without its vector."""
WHOLE: Final = f"{READ}, vector"
INSERT: Final = f"INSERT INTO item({WHOLE}) VALUES({', '.join('?' * (len(WHOLE.split(', '))))})"
FIXED_COUNT: Final = len(FIXED.split(", "))

Row = tuple[Any, ...]
"""A row of `item`, the columns of `WHOLE` in order."""
Vectors = NDArray[np.float32]
Ids = NDArray[np.int64]

_encode = msgspec.msgpack.Encoder().encode


def row_crc(fixed: Row, vector: bytes) -> int:
    """The checksum of a row's fixed columns and its vector."""
    return crc32(vector, crc32(_encode(fixed)))


def slot_of(item_id: int) -> int:
    """The slot of the scope that an item was written to: part of its id, so that any shard can be asked for it."""
    return item_id % SLOTS


def is_id(value: object) -> bool:
    """True if it can be the id of an item."""
    return isinstance(value, int) and not isinstance(value, bool) and 0 < value < ID_LIMIT


def item_id(counter: int, slot: int) -> int:
    """The id of the item that a shard counts as its `counter`-th."""
    return counter * SLOTS + slot


def to_item(row: Row, scope: Scope) -> Item:
    """The item in the columns `READ`. The checksum is not looked at: it covers the vector."""
    attributes, parents = row[13], row[14]
    return Item(
        row[0], scope, Kind(row[2]), row[3], row[4], row[5], row[6], row[7], row[8], row[9], row[10], row[11], row[12],
        row[17], row[18], json.loads(attributes) if attributes != "{}" else {},
        tuple(json.loads(parents)) if parents != "[]" else (),
    )  # fmt: skip


def check_row(row: Row, dimension: int, where: str) -> None:
    """Raises `StoreCorrupt` if the row, with its vector, is not as it was written."""
    fixed, crc, vector = row[:FIXED_COUNT], row[FIXED_COUNT], row[-1]
    try:
        sound = len(vector) == dimension * VECTOR_TYPE.itemsize and row_crc(fixed, vector) == crc
    except TypeError:  # a column of another type
        sound = False
    if not sound:
        raise StoreCorrupt(
            f"item {row[0]} in {where} is not as it was written (its checksum differs). Call Memory.check for a list; "
            "Memory.repair makes the vector again from a sound text, and sets aside what cannot be mended."
        )


def to_half(vectors: Vectors) -> NDArray[np.float16]:
    """As they are stored. (n, d) in, (n, d) out."""
    return vectors.astype(VECTOR_TYPE)


def from_half(blob: bytes, dimension: int) -> Vectors:
    """Vectors from the bytes of one or more rows: (n, dimension), single precision."""
    return np.frombuffer(blob, VECTOR_TYPE).reshape(-1, dimension).astype(np.float32)
