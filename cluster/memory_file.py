"""Items in files: JSON Lines and Parquet, out of a memory and into one.

Rules:
* A file holds what is believed, all of an item in a row as `Item.to_json` has it; attributes are JSON text in Parquet.
* Into another memory items come as new: ids and times of record are that memory's. What is there already is not written
  twice. What an item was made of is kept where that came in with it, else left out and counted.
* A file is read a piece at a time and checked row by row; a wrong row is told with its number. Rows before it are in:
  importing again, once it is mended, adds the rest.
"""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import polars as pl

from actors.errors import ConfigurationError
from cluster.results import written
from memory.errors import InvalidItem, InvalidScope
from memory.item import Draft, Item
from memory.memory import Memory, draft_of
from memory.scope import Scope

LINE_BYTES_MAX: Final = 8_000_000
ROWS_AT_ONCE: Final = 1_000
_SCHEMA: Final[dict[str, type[pl.DataType] | pl.DataType]] = {
    "id": pl.Int64, "scope": pl.String, "kind": pl.String, "text": pl.String, "importance": pl.Float64,
    "source": pl.String, "trust": pl.Float64, "session": pl.String, "turn": pl.Int64, "speaker": pl.String,
    "valid_from": pl.Float64, "valid_to": pl.Float64, "recorded_at": pl.Float64, "retired_at": pl.Float64,
    "superseded_by": pl.Int64, "attributes": pl.String, "derived_from": pl.List(pl.Int64),
}  # fmt: skip


@dataclass
class Imported:
    """What came of a file."""

    added: int = 0
    known: int = 0
    """Rows whose content their scope held already."""
    links_lost: int = 0
    """Items of which something that they were made of did not come with them."""


def write_items(items: Iterable[Item], file: Path) -> int:
    """Writes items to a file, whole or not at all; gives their number."""
    rows = (item.to_json() for item in items)
    count = 0
    with written(file) as beside:
        if _is_parquet(file):
            table = [{**row, "attributes": json.dumps(row["attributes"])} for row in rows]
            pl.DataFrame(table, schema=_SCHEMA).write_parquet(beside, compression="zstd")
            return len(table)
        with beside.open("w", encoding="utf-8") as lines:
            for row in rows:
                lines.write(json.dumps(row, ensure_ascii=False) + "\n")
                count += 1
    return count


def read_items(memory: Memory, file: Path, scope: Scope | None = None) -> Imported:
    """Remembers the items of a file, in the scopes that they name, or in `scope` where one names none.

    A row needs its `text`; the rest has defaults. Raises `ConfigurationError` at a wrong row.
    """
    importer = _Importer(memory)
    default = {"kind": "note", "scope": "" if scope is None else scope.path}
    rows = _parquet_rows(file) if _is_parquet(file) else _json_rows(file)
    try:
        for number, row in enumerate(rows, start=1):
            try:
                item = _item_of({"id": -number, **default, **row})
                if item.current:
                    importer.take(item)
            except (InvalidItem, InvalidScope) as error:
                raise ConfigurationError(f"{file}, row {number}: {error}") from error
    finally:
        importer.flush()
    return importer.done


def _item_of(row: dict[str, Any]) -> Item:
    item = Item.from_json(row)
    if not all(type(number) is int for number in (item.id, *item.derived_from)):
        raise InvalidItem(f"ids are whole numbers, not {item.id!r} and {item.derived_from!r:.100}")
    return item


class _Importer:
    """Writes items in batches of one scope."""

    def __init__(self, memory: Memory) -> None:
        self.done = Imported()
        self._memory = memory
        self._ids: dict[int, int] = {}
        """{id in the file: id here}."""
        self._waiting: list[tuple[int, Draft]] = []
        self._waiting_ids: set[int] = set()

    def take(self, item: Item) -> None:
        scope = self._waiting[0][1].scope if self._waiting else item.scope
        parents_wait = not self._waiting_ids.isdisjoint(item.derived_from)
        if item.scope != scope or parents_wait or len(self._waiting) >= ROWS_AT_ONCE:
            self.flush()
        parents = tuple(self._ids[parent] for parent in item.derived_from if parent in self._ids)
        self.done.links_lost += len(parents) < len(item.derived_from)
        self._waiting.append((item.id, draft_of(item, derived_from=parents)))
        self._waiting_ids.add(item.id)

    def flush(self) -> None:
        """Writes what waits."""
        waiting, self._waiting = self._waiting, []
        self._waiting_ids.clear()
        if not waiting:
            return
        drafts = [draft for _, draft in waiting]
        receipts = self._memory.remember_all(drafts, scope=drafts[0].scope)
        for (old, _), receipt in zip(waiting, receipts, strict=True):
            self._ids[old] = receipt.id
            self.done.known += receipt.duplicate
            self.done.added += not receipt.duplicate


def all_scopes(memory: Memory) -> list[Scope]:
    """The scopes in which something was ever remembered, by path."""
    return [Scope.parse(row[0]) for row in memory.shard.store.rows("SELECT path FROM scope ORDER BY path")]


def counts_by_scope(memory: Memory) -> dict[str, dict[str, int]]:
    """{scope's path: {kind: items that are believed}}, of the scopes that hold any, by path."""
    counts: dict[str, dict[str, int]] = {}
    rows = memory.shard.store.rows(
        "SELECT path, kind, count(*) FROM item JOIN scope ON number = item.scope WHERE retired_at IS NULL "
        "GROUP BY path, kind ORDER BY path, kind"
    )
    for path, kind, count in rows:
        counts.setdefault(path, {})[kind] = count
    return counts


def items_in(memory: Memory, scopes: Iterable[Scope]) -> Iterator[Item]:
    """What lives in these scopes and is believed, scope by scope in the order of ids."""
    for scope in scopes:
        yield from (item for item in memory.items(scope=scope) if item.scope == scope)


def _is_parquet(file: Path) -> bool:
    ending = file.suffix.lower()
    if ending not in (".parquet", ".jsonl"):
        raise ConfigurationError(f"{file}: items are read and written as .jsonl or .parquet. End its name so")
    return ending == ".parquet"


def _json_rows(file: Path) -> Iterator[dict[str, Any]]:
    with file.open("rb") as lines:
        number = 0
        while line := lines.readline(LINE_BYTES_MAX + 1):
            number += 1
            if len(line) > LINE_BYTES_MAX:
                raise ConfigurationError(f"{file}, row {number}: over {LINE_BYTES_MAX:,} bytes: no item is")
            try:
                row = json.loads(line)
            except (ValueError, RecursionError) as error:
                raise ConfigurationError(f"{file}, row {number}: is not JSON: {error}") from error
            if not isinstance(row, dict):
                raise ConfigurationError(f"{file}, row {number}: is no object but {str(row)[:80]!r}")
            yield row


def _parquet_rows(file: Path) -> Iterator[dict[str, Any]]:
    try:
        table = pl.scan_parquet(file)
        count = int(table.select(pl.len()).collect().item())
        for start in range(0, count, ROWS_AT_ONCE):
            for row in table.slice(start, ROWS_AT_ONCE).collect().iter_rows(named=True):
                yield {**row, "attributes": json.loads(row.get("attributes") or "{}")}
    except (pl.exceptions.PolarsError, ValueError, TypeError) as error:
        raise ConfigurationError(f"{file}: is no Parquet file of items: {error}") from error
