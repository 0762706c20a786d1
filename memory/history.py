"""The past, from the rows: what was believed at a time, earlier versions, what was made of what.

`recorded_at` and `retired_at` bound the time in which an item was believed (transaction time in Snodgrass's terms). The
store's clock gives each write an instant of its own, so of any two changes one is before the other.
"""

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Final

import numpy as np

from memory.block import Filter
from memory.errors import InvalidItem
from memory.item import Item
from memory.schema import READ, WHOLE, Vectors
from memory.shard import Shard

_BELIEVED: Final = (
    f"SELECT {WHOLE} FROM item WHERE scope = ? AND recorded_at <= ? AND (retired_at IS NULL OR retired_at > ?) "  # noqa: S608 (constant columns)
    "ORDER BY recorded_at"
)
_PREDECESSORS: Final = f"SELECT {READ} FROM item WHERE superseded_by = ? ORDER BY id"  # noqa: S608 (constant columns)
_CHILDREN: Final = f"SELECT {READ} FROM item JOIN derivation ON id = child WHERE parent = ? ORDER BY id"  # noqa: S608 (constant columns)
_PAGE: Final = 500
_VERSIONS: Final = 1000


def believed_rows(
    shard: Shard,
    numbers: Sequence[int],
    when: float,
    *,
    most: int,
    nearest: Vectors | None = None,
    filter_: Filter | None = None,
) -> list[tuple[Item, Vectors]]:
    """Items of these scopes that were believed at a time and pass, with their vectors (d,).

    Of more than `most`, those nearest to the vector `nearest` (d,); without one, `InvalidItem` is raised.
    """
    found: list[tuple[Item, Vectors]] = []
    with shard.store.reading() as connection:
        for number in numbers:
            for row in connection.execute(_BELIEVED, (number, when, when)):
                pair = shard.whole_item(row)
                if filter_ is None or filter_.lets_pass(pair[0]):
                    found.append(pair)
                if len(found) >= 2 * most:
                    found = _nearest(found, most, nearest)
    return found if len(found) <= most else _nearest(found, most, nearest)


def latest_rows(
    shard: Shard, numbers: Sequence[int], when: float, k: int, filter_: Filter | None = None
) -> list[tuple[Item, Vectors]]:
    """The k items last recorded of those that were believed at a time and pass."""
    found: list[tuple[Item, Vectors]] = []
    with shard.store.reading() as connection:
        for number in numbers:
            rows = connection.execute(f"{_BELIEVED} DESC", (number, when, when))
            pairs = (shard.whole_item(row) for row in rows)
            passing = (pair for pair in pairs if filter_ is None or filter_.lets_pass(pair[0]))
            found += islice(passing, k)
    return sorted(found, key=lambda pair: (-pair[0].recorded_at, pair[0].id))[:k]


def _nearest(
    found: list[tuple[Item, Vectors]], most: int, vector: Vectors | None
) -> list[tuple[Item, Vectors]]:
    if vector is None:
        raise InvalidItem(
            f"more than {most:,} items were believed then: narrow the scope, or give a question"
        )
    scores = np.stack([each for _, each in found]) @ vector
    return [found[at] for at in np.argsort(-scores, kind="stable")[:most].tolist()]


def items_of(shard: Shard, numbers: Sequence[int], *, retired: bool) -> Iterator[Item]:
    """Items of these scopes by id, read in pages: what is written meanwhile may or may not be among them."""
    passing = "" if retired else "AND retired_at IS NULL"
    marks = ",".join("?" * len(numbers))
    after = -1
    while True:
        rows = shard.store.rows(
            f"SELECT {READ} FROM item WHERE id > ? AND +scope IN ({marks}) {passing} ORDER BY id LIMIT ?",  # noqa: S608 (constants and question marks)
            (after, *numbers, _PAGE),
        )
        yield from (shard.store.item(row) for row in rows)
        if len(rows) < _PAGE:
            return
        after = rows[-1][0]


def family_of(shard: Shard, item: Item) -> tuple[list[Item], list[Item]]:
    """(its versions, oldest first and itself left out; what was made of it), whoever sees them."""
    before: list[Item] = []
    waiting = [item.id]
    with shard.store.reading() as connection:
        while waiting and len(before) < _VERSIONS:
            rows = connection.execute(
                _PREDECESSORS,
                (waiting.pop(),),
            ).fetchall()
            before += [shard.store.item(row) for row in rows]
            waiting += [row[0] for row in rows]
        after: list[Item] = []
        successor = item.superseded_by
        while successor is not None and len(after) < _VERSIONS:
            row = connection.execute(f"SELECT {READ} FROM item WHERE id = ?", (successor,)).fetchone()  # noqa: S608 (constant columns)
            if row is None:
                break
            after.append(shard.store.item(row))
            successor = after[-1].superseded_by
        children = connection.execute(
            _CHILDREN,
            (item.id,),
        ).fetchall()
        made = [shard.store.item(row) for row in children]
    return sorted(before, key=lambda each: each.recorded_at) + after, made
