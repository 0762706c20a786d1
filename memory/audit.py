"""An audit: are the rows as they were written, and do the indexes say what the rows say?

Rules:
* Everything is compared with the rows: the vector index member by member and vector by vector, the text index by
  SQLite's own check.
* A row whose checksum differs is mended if its text, embedded again, gives the vector that the checksum was made of:
  then only the vector was bad, and that is certain. Otherwise the row is written to `aside.jsonl` and taken out, so
  that nothing that may be false is recalled, and nothing is thrown away.
"""

import json
import sqlite3
from dataclasses import dataclass
from itertools import chain
from typing import Final

from inference.embedder import Embedder
from memory.errors import StoreCorrupt
from memory.folder import sync_file
from memory.schema import FIXED_COUNT, READ, Row, check_row, row_crc, to_half
from memory.shard import Shard
from memory.transaction import Transaction

ASIDE: Final = "aside.jsonl"


@dataclass(frozen=True, slots=True)
class Findings:
    """What an audit found. `sound` if there is nothing to mend."""

    rows: int
    """Rows, those of the past too."""
    believed: int
    corrupt: tuple[int, ...] = ()
    """Rows that are not as they were written."""
    missing: tuple[int, ...] = ()
    """Believed, and not in the vector index."""
    extra: tuple[int, ...] = ()
    """In the vector index, and not believed."""
    different: tuple[int, ...] = ()
    """In the vector index with another vector."""
    words: str = ""
    """What is wrong with the text index."""
    mended: tuple[int, ...] = ()
    aside: tuple[int, ...] = ()
    """Taken out, to `aside.jsonl`."""

    @property
    def sound(self) -> bool:
        """True if there is nothing to mend."""
        return not (self.corrupt or self.missing or self.extra or self.different or self.words)


class Audit:
    """Checks and mends one shard. Runs in the writer's thread: nothing is written meanwhile."""

    def __init__(self, shard: Shard) -> None:
        self._shard = shard

    def check(self) -> Findings:
        """Compares everything; changes nothing."""
        return self._shard.writer.wait(lambda _: self._compare())

    def repair(self, embedder: Embedder) -> Findings:
        """Mends what can be mended; gives what it found, and what it did."""
        found = self.check()
        mended, aside = self._shard.writer.wait(lambda transaction: self._mend(transaction, found, embedder))
        return Findings(
            found.rows, found.believed, found.corrupt, found.missing, found.extra, found.different, found.words,
            tuple(mended), tuple(aside),
        )  # fmt: skip

    def _compare(self) -> Findings:
        shard = self._shard
        rows = 0
        corrupt: list[int] = []
        believed: dict[int, set[int]] = {}
        for row in chain.from_iterable(shard.store.whole_rows(shard.store.writing)):
            rows += 1
            try:
                check_row(row, shard.identity.dimension, str(shard.store.path))
            except StoreCorrupt:
                corrupt.append(row[0])
                continue
            if row[FIXED_COUNT + 1] is None:
                believed.setdefault(row[1], set()).add(row[0])
        count = sum(len(each) for each in believed.values())
        missing: list[int] = []
        extra: list[int] = []
        different: list[int] = []
        for number in sorted(set(believed) | set(shard.index.scopes())):
            truth = believed.get(number, set())
            for batch in shard.index.chunks(number):
                ids = batch.ids.tolist()
                extra += [each for each in ids if each not in truth]
                blobs = [each.tobytes() for each in to_half(batch.vectors)]
                different += [
                    each for each, blob in zip(ids, blobs, strict=True) if not self._has(each, blob)
                ]
                truth.difference_update(ids)
            missing += sorted(truth)
        different = [each for each in different if each not in extra]
        return Findings(
            rows, count, tuple(corrupt), tuple(missing), tuple(extra), tuple(different), self._words()
        )

    def _has(self, each: int, blob: bytes) -> bool:
        """True if the row has this vector."""
        row = self._shard.store.writing.execute("SELECT vector FROM item WHERE id = ?", (each,)).fetchone()
        return row is not None and row[0] == blob

    def _words(self) -> str:
        try:
            self._shard.store.writing.execute("INSERT INTO words(words, rank) VALUES('integrity-check', 1)")
        except sqlite3.DatabaseError as error:
            return str(error)
        return ""

    def _mend(
        self, transaction: Transaction, found: Findings, embedder: Embedder
    ) -> tuple[list[int], list[int]]:
        write = self._shard.store.writing
        mended: list[int] = []
        aside: list[int] = []
        for each in dict.fromkeys((*found.corrupt, *found.missing, *found.different)):
            row = self._shard.store.row(write, each)
            if row is None:
                continue
            sound = self._mended(row, embedder) if each in found.corrupt else row
            if sound is None:
                self._set_aside(row)
                transaction.take_out(each)
                aside.append(each)
            else:
                transaction.replace(sound)
                mended.append(each)
        for each in found.extra:
            for number in self._shard.index.scopes():
                transaction.effect.removed.append((number, each))
            mended.append(each)
        if found.words or found.corrupt:
            write.execute("INSERT INTO words(words) VALUES('rebuild')")
        return mended, aside

    def _mended(self, row: Row, embedder: Embedder) -> Row | None:
        if not isinstance(row[3], str) or not row[3]:
            return None
        vector = to_half(embedder.embed([row[3]])).tobytes()
        try:
            crc = row_crc(row[:FIXED_COUNT], vector)
        except TypeError:
            return None
        return (*row[:-1], vector) if crc == row[FIXED_COUNT] else None

    def _set_aside(self, row: Row) -> None:
        names = (*READ.split(", "), "vector")
        path = self._shard.store.folder / ASIDE
        with path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(dict(zip(names, row, strict=True)), default=_as_text) + "\n")
        sync_file(path)


def _as_text(value: object) -> str:
    return value.hex() if isinstance(value, bytes) else repr(value)
