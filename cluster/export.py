"""A run's tables for other programs: CSV, JSON (an array of objects) or Parquet."""

from pathlib import Path

import polars as pl

from actors.errors import ConfigurationError
from cluster.results import written
from cluster.tables import read_messages, read_metrics

FORMATS = ("csv", "json", "parquet")


def export_run(run: Path, to: Path, form: str | None = None) -> list[Path]:
    """Writes both tables into a folder, or the measures into a file. Returns what was written.

    `to` is a file if it ends as a format does and is no folder. Raises `ConfigurationError`.
    """
    ending = to.suffix.removeprefix(".").lower()
    single = ending in FORMATS and not to.is_dir()
    chosen = form or (ending if single else "csv")
    if chosen not in FORMATS:
        raise ConfigurationError(f"there is no format '{chosen}'. Give {', '.join(FORMATS)}")
    metrics = read_metrics(run / "metrics.parquet")
    if single:
        _write(metrics, to, chosen)
        return [to]
    files = [to / f"metrics.{chosen}", to / f"messages.{chosen}"]
    for file, frame in zip(files, (metrics, read_messages(run / "messages.parquet")), strict=True):
        _write(frame, file, chosen)
    return files


def _write(frame: pl.DataFrame, file: Path, form: str) -> None:
    with written(file) as beside:
        if form == "csv":
            frame.write_csv(beside)
        elif form == "json":
            frame.write_json(beside)
        else:
            frame.write_parquet(beside, compression="zstd")
