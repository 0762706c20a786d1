"""The tables of a run: measures and messages, as Parquet files that any data tool reads.

Rules: a table has exactly the columns of its schema; a file is either whole or absent (written beside its
place, then renamed over it, which POSIX makes atomic), so a reader never sees half of one.
"""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any

import polars as pl

from actors.errors import ConfigurationError

METRICS_SCHEMA: dict[str, type[pl.DataType]] = {
    "trial": pl.Int64,
    "arm": pl.String,
    "replicate": pl.Int64,
    "seed": pl.Int64,
    "now": pl.Float64,
    "measure": pl.String,
    "count": pl.Int64,
    "sum": pl.Float64,
    "mean": pl.Float64,
    "minimum": pl.Float64,
    "maximum": pl.Float64,
}
"""One row for each trial, time and measure: all that was recorded then. `arm`: see `arm_key`."""

MESSAGES_SCHEMA: dict[str, type[pl.DataType]] = {
    "trial": pl.Int64,
    "now": pl.Float64,
    "sender": pl.String,
    "recipient": pl.String,
    "kind": pl.String,
    "bytes": pl.Int64,
}
"""One row for each message that was kept: all of them, or a seeded sample."""


def arm_key(arm: Mapping[str, Any]) -> str:
    """The settings of an arm as canonical JSON: equal settings give equal text. "{}" for none."""
    return json.dumps(arm, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def write_metrics(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Writes the table of measures, over what was there."""
    _write(path, rows, METRICS_SCHEMA)


def write_messages(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Writes the table of messages, over what was there."""
    _write(path, rows, MESSAGES_SCHEMA)


def read_metrics(path: Path) -> pl.DataFrame:
    """The table of measures. ConfigurationError if the file is missing, broken or another table."""
    return _read(path, METRICS_SCHEMA)


def read_messages(path: Path) -> pl.DataFrame:
    """The table of messages. ConfigurationError if the file is missing, broken or another table."""
    return _read(path, MESSAGES_SCHEMA)


def final_values(metrics: pl.DataFrame) -> pl.DataFrame:
    """For each trial and measure its last row: `value` is the mean over what was recorded at that time.

    `recorded` and `total` are the count and the sum over the whole trial. Sorted by trial and measure.
    """
    return (
        metrics.sort("trial", "measure", "now")
        .group_by("trial", "measure", maintain_order=True)
        .agg(
            pl.col("arm", "replicate", "seed", "now").last(),
            pl.col("mean").last().alias("value"),
            pl.col("count").sum().alias("recorded"),
            pl.col("sum").sum().alias("total"),
        )
    )


def _write(path: Path, rows: Iterable[Mapping[str, Any]], schema: dict[str, type[pl.DataType]]) -> None:
    listed = list(rows)
    wanted = set(schema)
    for number, row in enumerate(listed):
        if set(row) != wanted:
            missing, extra = sorted(wanted - set(row)), sorted(set(row) - wanted)
            raise ConfigurationError(
                f"{path.name}, row {number}: columns missing {missing}, unknown {extra}. "
                f"Give each of {list(schema)}."
            )
    columns = {name: [row[name] for row in listed] for name in schema}
    try:
        frame = pl.DataFrame(
            [pl.Series(name, values, schema[name]()) for name, values in columns.items()],
        )
    except (TypeError, pl.exceptions.PolarsError) as error:
        raise ConfigurationError(
            f"{path.name}: a value is not of its column's type ({error}). Mend the rows."
        ) from error
    path.parent.mkdir(parents=True, exist_ok=True)
    with NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
        beside = Path(file.name)
    try:
        frame.write_parquet(beside, compression="zstd")
        beside.chmod(0o644)
        beside.replace(path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise


def _read(path: Path, schema: dict[str, type[pl.DataType]]) -> pl.DataFrame:
    if not path.is_file():
        raise ConfigurationError(
            f"{path}: no such table. Give the folder of a run that has recorded something."
        )
    try:
        frame = pl.read_parquet(path, memory_map=False)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise ConfigurationError(
            f"{path}: not a readable Parquet file ({error}). Run the experiment again."
        ) from error
    missing = [name for name in schema if name not in frame.columns]
    if missing:
        raise ConfigurationError(f"{path}: columns {missing} are missing. Is this the right table?")
    return frame.select(list(schema))
