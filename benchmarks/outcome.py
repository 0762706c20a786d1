"""What a benchmark found, told to a person and to a program.

Rules:
* A figure is a number with a name that carries its unit. Names are never changed: others compare them over time.
* Ratios are taken within one run, so that a slower machine, or a busy one, changes them little.
* With `--json` the last line of standard output is the object; what is for people goes to standard error.
"""

import json
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from cluster.provenance import machine, versions

_WIDTH = 120
"""Columns where there is no terminal to ask."""

AsJson = Annotated[bool, typer.Option("--json", help="End with one line of JSON.")]


@dataclass(frozen=True)
class Outcome:
    """The result of one benchmark."""

    bench: str
    figures: dict[str, float]
    notes: Sequence[str] = ()
    """Sentences beside the figures: what was compared, what was left out and why."""
    tables: Sequence[Table] = field(default_factory=tuple)
    rows: Sequence[dict[str, Any]] = ()
    """One object for each cell of a comparison."""

    def to_json(self) -> dict[str, Any]:
        """{"bench": name, "figures": {name: number}, "rows": [...], "machine": {...}, "versions": {...}}."""
        rows = {"rows": list(self.rows)} if self.rows else {}
        return {
            "bench": self.bench,
            "figures": self.figures,
            **rows,
            "machine": machine(),
            "versions": versions(),
        }


def tell(outcome: Outcome, *, as_json: bool) -> None:
    """Prints the outcome; with `as_json` the last line on standard output is its JSON."""
    console = Console(stderr=as_json)
    if not console.is_terminal:
        console = Console(stderr=as_json, width=_WIDTH)
    table = Table("figure", "value", title=outcome.bench, title_justify="left")
    table.columns[1].justify = "right"
    for name, value in outcome.figures.items():
        table.add_row(name, in_words(value))
    console.print(table)
    for extra in outcome.tables:
        console.print(extra)
    for note in outcome.notes:
        console.print(note, highlight=False)
    if as_json:
        typer.echo(json.dumps(outcome.to_json()))


def in_words(value: float) -> str:
    """A number as people read it: 1,234,567, 12.3, 0.456."""
    return f"{value:,.0f}" if isinstance(value, int) or abs(value) >= 100 else f"{value:.3g}"


def rounded(value: float) -> float:
    """To four significant digits: what a repeat would confirm."""
    return float(f"{value:.4g}")


def median(values: Iterable[float]) -> float:
    """The median, rounded."""
    return rounded(statistics.median(values))
