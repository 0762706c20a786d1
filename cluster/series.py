"""Measures over time: the replicates of an arm brought onto common times, few enough to draw.

Rules: a replicate counts once at each time; nothing is carried on after a replicate has ended, so a band
says at each time how many replicates it holds. Where replicates do not share their times (`free`, in
seconds) or have more times than a figure has points, time is cut into equal intervals and a replicate's
value is its mean in each.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from cluster.statistics import Array, Band, band

_SHARED = 0.5
"""Share of its replicates that an arm must have at a typical time for the times to be taken as they are."""


@dataclass(frozen=True)
class Series:
    """One measure of one arm over time."""

    arm: str
    times: Array
    band: Band
    intervals: bool
    """Whether `times` are the middles of intervals, not times as recorded."""


def is_line(frame: pl.DataFrame) -> bool:
    """Whether any trial has a measure's rows at more than one time: one told at the end of each is no line."""
    return bool((frame.group_by("trial").agg(pl.col("now").n_unique())["now"] > 1).any())


def measure_series(frame: pl.DataFrame, arms: Sequence[str], points: int) -> list[Series]:
    """The series of one measure's rows for these arms; none if they make no line."""
    rows = frame.filter(pl.col("mean").is_finite() & pl.col("now").is_finite())
    if not is_line(rows):
        return []
    found = [_arm_series(rows.filter(pl.col("arm") == arm), arm, points) for arm in arms]
    return [series for series in found if series is not None]


def _arm_series(rows: pl.DataFrame, arm: str, points: int) -> Series | None:
    if rows.is_empty():
        return None
    trials = rows["trial"].n_unique()
    at_a_time = rows.group_by("now").agg(pl.col("trial").n_unique())["trial"].to_numpy()
    shared = float(at_a_time.mean()) >= _SHARED * trials
    times = rows["now"].unique().sort().to_numpy()
    if shared and times.size <= points:
        return Series(arm, times, band(_matrix(rows, "now", times)), intervals=False)
    a_trial = rows.group_by("trial").agg(pl.col("now").n_unique())["now"].to_numpy()
    count = max(1, min(points, int(np.median(a_trial))))
    low, high = float(times[0]), float(times[-1])
    width = (high - low) / count or 1.0
    at = ((pl.col("now") - low) / width).floor().clip(0, count - 1)
    cut = rows.with_columns((low + (at + 0.5) * width).alias("middle"))
    middles = cut["middle"].unique().sort().to_numpy()
    return Series(arm, middles, band(_matrix(cut, "middle", middles)), intervals=True)


def _matrix(rows: pl.DataFrame, column: str, times: Array) -> Array:
    """Replicates by times: the mean of each replicate at each time, NaN where it has none."""
    means = rows.group_by("trial", column).agg(pl.col("mean").mean())
    trials = means["trial"].unique().sort().to_numpy()
    matrix = np.full((trials.size, times.size), np.nan)
    across = np.searchsorted(times, means[column].to_numpy())
    matrix[np.searchsorted(trials, means["trial"].to_numpy()), across] = means["mean"].to_numpy()
    return matrix


def spread(names: Sequence[str], most: int) -> list[str]:
    """At most so many of the names, evenly over the list, first and last among them."""
    if len(names) <= most:
        return list(names)
    return [names[round(index * (len(names) - 1) / (most - 1))] for index in range(most)]


def by_measure(metrics: pl.DataFrame) -> Iterator[tuple[str, pl.DataFrame]]:
    """Each measure with its rows, by name."""
    parts: Mapping[tuple[object, ...], pl.DataFrame] = metrics.partition_by("measure", as_dict=True)
    for key in sorted(parts, key=lambda key: str(key[0])):
        yield str(key[0]), parts[key]
