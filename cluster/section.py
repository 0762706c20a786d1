"""What agents left for the report, given the form that its shape asks for.

Rules: the shape decides, nothing else: numbers are facts, a list of mappings with equal keys is a table, a
list of (label, number) pairs is a bar chart, a mapping of scalars a small table, text a paragraph, and
anything else its JSON. All of it is untrusted: no text here is markup. What is cut for length says so.
"""

import json
import math
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cluster.number import number_text

ROWS = 200
CHARACTERS = 5_000
CELL_CHARACTERS = 400
_PAIR = 2


@dataclass(frozen=True)
class Cell:
    """One cell of a table."""

    text: str
    numeric: bool = False


@dataclass(frozen=True)
class Bar:
    """One bar: a label, its number as text, and its ends in percent of the width."""

    label: str
    text: str
    start: float
    length: float


@dataclass(frozen=True)
class Section:
    """A part of the report. `kind`, which is table, bars, facts, text or json, says what of it is filled."""

    title: str
    kind: str
    head: tuple[Cell, ...] = ()
    rows: tuple[tuple[Cell, ...], ...] = ()
    bars: tuple[Bar, ...] = ()
    text: str = ""
    cut: str = ""
    """What is not shown of it; empty if all is."""


def section(name: str, value: object) -> Section:
    """The section for what was left under a name."""
    title = heading(name)
    if isinstance(value, str):
        return Section(title, "text", text=_cut(value, CHARACTERS), cut=_length_note(value))
    if (rows := _table_rows(value)) is not None:
        return _table(title, rows)
    if (pairs := _pairs(value)) is not None:
        return bar_section(title, pairs)
    if isinstance(value, Mapping) and value and all(is_scalar(item) for item in value.values()):
        facts = [(Cell(_cut(str(key), CELL_CHARACTERS)), cell(item)) for key, item in value.items()]
        return Section(title, "facts", rows=tuple(facts[:ROWS]), cut=_rows_note(len(value)))
    if value in ([], {}):
        return Section(title, "text", text="Nothing.")
    text = json.dumps(value, indent=2, ensure_ascii=False, default=str)
    return Section(title, "json", text=_cut(text, CHARACTERS), cut=_length_note(text))


def is_scalar(value: object) -> bool:
    """Whether a value is one number, word or nothing."""
    return value is None or isinstance(value, (str, int, float, bool))


def is_number(value: object) -> bool:
    """Whether a value is a number, or yes or no."""
    return isinstance(value, (bool, int, float))


def visible_text(text: str) -> str:
    """The text with letters that would act unseen (control and direction marks) as U+FFFD."""
    if text.isascii() and text.isprintable():
        return text
    unseen = ("Cc", "Cf", "Cs")
    return "".join("\ufffd" if unicodedata.category(c) in unseen and c not in "\n\t" else c for c in text)


def heading(name: str) -> str:
    """A name of the run as a heading: `most_depended_upon` gives "Most depended upon"."""
    words = name.replace("_", " ").strip()
    return words[:1].upper() + words[1:]


def cell(value: object) -> Cell:
    """A value as it stands in a table."""
    if value is None or isinstance(value, (bool, int, float)):
        return Cell(number_text(value), numeric=value is not None)
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    return Cell(_cut(text, CELL_CHARACTERS))


def bar_section(title: str, pairs: list[tuple[str, float]]) -> Section:
    """A bar chart of finite and other numbers, all bars from a common zero."""
    finite = [number for _, number in pairs if math.isfinite(number)]
    low, high = min([0.0, *finite]), max([0.0, *finite])
    span = (high - low) or 1.0
    bars = []
    for label, number in pairs[:ROWS]:
        at = number if math.isfinite(number) else 0.0
        start = (min(at, 0.0) - low) / span
        bars.append(Bar(_cut(label, CELL_CHARACTERS), number_text(number), 100 * start, 100 * abs(at) / span))
    return Section(title, "bars", bars=tuple(bars), cut=_rows_note(len(pairs)))


def _table_rows(value: object) -> list[Mapping[Any, Any]] | None:
    if not isinstance(value, list) or not value:
        return None
    rows = [row for row in value if isinstance(row, Mapping) and row]
    alike = len(rows) == len(value) and all(set(row) == set(rows[0]) for row in rows)
    return rows if alike else None


def _pairs(value: object) -> list[tuple[str, float]] | None:
    if not isinstance(value, list) or not value:
        return None
    pairs = [pair for pair in value if isinstance(pair, (list, tuple)) and len(pair) == _PAIR]
    if len(pairs) < len(value) or not all(is_scalar(label) and is_number(number) for label, number in pairs):
        return None
    return [(str(label), float(number)) for label, number in pairs]


def _table(title: str, rows: list[Mapping[Any, Any]]) -> Section:
    keys = list(rows[0])
    made = [[cell(row[key]) for key in keys] for row in rows[:ROWS]]
    # A column is aligned as one; what is missing follows the rest.
    numeric = [
        all(one[index].numeric or row[keys[index]] is None for one, row in zip(made, rows, strict=False))
        for index in range(len(keys))
    ]
    cells = tuple(
        tuple(Cell(one.text, aligned) for one, aligned in zip(row, numeric, strict=True)) for row in made
    )
    head = tuple(Cell(heading(str(key)), is_numeric) for key, is_numeric in zip(keys, numeric, strict=True))
    return Section(title, "table", head=head, rows=cells, cut=_rows_note(len(rows)))


def _cut(text: str, characters: int) -> str:
    return text if len(text) <= characters else text[: characters - 1] + "\u2026"


def _length_note(text: str) -> str:
    return f"the first {CHARACTERS:,} of {len(text):,} characters" if len(text) > CHARACTERS else ""


def _rows_note(rows: int) -> str:
    return f"the first {ROWS:,} of {rows:,} rows" if rows > ROWS else ""
