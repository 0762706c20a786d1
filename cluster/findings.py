"""What the measures of a run say: figures over time and estimates for each arm, ready to be laid out.

Rules: the method of an interval is chosen for a measure, not for an arm, so that arms can be compared; arms
are never pooled; the value of a trial is the mean recorded at its last time.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import polars as pl

from cluster.figures import POINTS, SERIES, Line, line_figure
from cluster.number import interval_text, number_text, share_text
from cluster.record import Record, mapping
from cluster.section import heading, is_number
from cluster.series import Series, by_measure, is_line, measure_series, spread
from cluster.setting import arm_text, path_names
from cluster.statistics import NO_INTERVAL, WILSON, Array, Estimate, estimate, is_share
from cluster.tables import arm_key, final_values

FIGURES = 24
"""Measures that are drawn; the tables hold all."""
TOTAL_POINTS = 24_000
"""Points of all the lines together: a bound on the size of the file."""


@dataclass(frozen=True)
class Arm:
    """One arm as the page names it."""

    key: str
    label: str
    colour: int | None
    """Which of the page's colours its lines have; None if its lines are not drawn."""


@dataclass(frozen=True)
class EstimateRow:
    """One line of a table of estimates, with its place in the plot beside it in percent."""

    arm: Arm
    mean: str
    interval: str
    n: int
    method: str
    left_out: int
    at: float
    start: float
    length: float


@dataclass(frozen=True)
class EstimateGroup:
    """One measure in all arms. `plotted`: whether there is anything to compare by eye."""

    name: str
    rows: tuple[EstimateRow, ...]
    plotted: bool


@dataclass(frozen=True)
class MeasureFigure:
    """One measure over time."""

    name: str
    svg: str
    caption: str


@dataclass(frozen=True)
class Whole:
    """One measure over a whole trial, mean over the trials of an arm."""

    name: str
    arm: Arm
    n: int
    recorded: str
    total: str


def arms_of(record: Record) -> list[Arm]:
    """The arms in the order of the manifest, the first and last and those evenly between with a colour."""
    settings = record.arms or {"{}": {}}
    paths = list(dict.fromkeys(path for arm in settings.values() for path in arm))
    names = path_names(paths)
    coloured = spread(list(settings), SERIES)
    return [
        Arm(key, arm_text(arm, names) or "all trials", coloured.index(key) if key in coloured else None)
        for key, arm in settings.items()
    ]


def figures_of(record: Record, arms: Sequence[Arm], time_label: str) -> tuple[list[MeasureFigure], int]:
    """Figures of the measures with more than one time in a trial, and how many such measures are not drawn."""
    if record.metrics is None:
        return [], 0
    drawn = [arm for arm in arms if arm.colour is not None]
    measures = list(by_measure(record.metrics))
    points = max(20, min(POINTS, TOTAL_POINTS // max(1, min(len(measures), FIGURES) * len(drawn))))
    figures: list[MeasureFigure] = []
    left = 0
    for name, frame in measures:
        if not is_line(frame):
            continue
        if len(figures) >= FIGURES:
            left += 1
            continue
        series = measure_series(frame, [arm.key for arm in drawn], points)
        if series:
            figures.append(_figure(name, len(figures), series, drawn, time_label))
    return figures, left


def _figure(
    name: str, index: int, series: Sequence[Series], drawn: Sequence[Arm], time_label: str
) -> MeasureFigure:
    colours = {arm.key: arm.colour or 0 for arm in drawn}
    lines = [Line(one.times, one.band, colours[one.arm]) for one in series]
    labels = {arm.key: arm.label for arm in drawn}
    ends = "; ".join(f"{labels[one.arm]}: {_first_to_last(one.band.mean)}" for one in series)
    described = f"{heading(name)} by {time_label}. {ends}"
    return MeasureFigure(
        heading(name), line_figure(f"m{index}", lines, time_label, described), _caption(series)
    )


def _first_to_last(mean: Array) -> str:
    return f"from {number_text(float(mean[0]))} to {number_text(float(mean[-1]))}"


def _caption(series: Sequence[Series]) -> str:
    most = max(int(one.band.n.max()) for one in series)
    least = min(int(one.band.n.min()) for one in series)
    methods = " and ".join(dict.fromkeys(one.band.method for one in series if one.band.method != NO_INTERVAL))
    said = (
        "One trial, so no band." if most == 1 else f"Mean and 95% band ({methods}) of n = {most} replicates"
    )
    if most > 1:
        said += f", at some times n = {least}." if least < most else "."
    widest = max(one.times.size for one in series)
    return said + (f" Averaged in {widest:,} intervals." if any(one.intervals for one in series) else "")


def finals_of(record: Record, arms: Sequence[Arm]) -> tuple[list[EstimateGroup], list[Whole]]:
    """Estimates of each measure's final value, and what was recorded over the whole of a trial."""
    if record.metrics is None or record.metrics.is_empty():
        return [], []
    groups, whole = [], []
    for name, frame in by_measure(final_values(record.metrics)):
        by_arm = {
            arm.key: rows["value"].to_list()
            for arm in arms
            if not (rows := frame.filter(frame["arm"] == arm.key)).is_empty()
        }
        # A mean over many agents may be 1 and is no yes: only measures recorded once at a time count as yes or no.
        once = record.metrics.filter(pl.col("measure") == name)["count"].max() == 1
        share = once and is_share(frame["value"].to_numpy())
        groups.append(_group(heading(name), by_arm, arms, share=share))
        for arm in arms:
            rows = frame.filter(frame["arm"] == arm.key)
            if not rows.is_empty():
                recorded, total = (float(rows[name].to_numpy().mean()) for name in ("recorded", "total"))
                texts = (number_text(recorded), number_text(total))
                whole.append(Whole(heading(name), arm, rows.height, *texts))
    return groups, whole


def scalar_results_of(record: Record, arms: Sequence[Arm]) -> list[EstimateGroup]:
    """Estimates of each number among the results of the trials; yes and no count as shares."""
    values: dict[str, dict[str, list[float]]] = {}
    shares: dict[str, bool] = {}
    for trial in record.trials:
        key = arm_key(mapping(trial.get("arm")))
        for name, value in mapping(trial.get("results")).items():
            if is_number(value):
                values.setdefault(name, {}).setdefault(key, []).append(float(value))
                shares[name] = shares.get(name, True) and isinstance(value, bool)
    return [_group(heading(name), by_arm, arms, shares[name]) for name, by_arm in values.items()]


def _group(
    name: str, by_arm: Mapping[str, Sequence[float]], arms: Sequence[Arm], share: bool
) -> EstimateGroup:
    estimates = [(arm, estimate(by_arm[arm.key], share)) for arm in arms if arm.key in by_arm]
    ends = [
        end
        for _, one in estimates
        for end in (one.low, one.mean, one.high)
        if end is not None and math.isfinite(end)
    ]
    low, high = min(ends, default=0.0), max(ends, default=1.0)
    plotted = high > low
    return EstimateGroup(
        name, tuple(_row(arm, one, low, (high - low) or 1.0) for arm, one in estimates), plotted
    )


def _row(arm: Arm, one: Estimate, low: float, span: float) -> EstimateRow:
    as_share = one.method == WILSON
    if as_share and one.low is not None and one.high is not None:
        mean = f"{share_text(one.mean)} ({round(one.mean * one.n):,} of {one.n:,})"
        interval = f"{share_text(one.low)} to {share_text(one.high)}"
    else:
        mean, interval = number_text(one.mean), interval_text(one.low, one.high)
    start = one.mean if one.low is None else one.low
    end = one.mean if one.high is None else one.high
    if not math.isfinite(one.mean):
        start = end = low
    at = one.mean if math.isfinite(one.mean) else low
    percent = 92.0 / span
    return EstimateRow(
        arm, mean, interval, one.n, one.method, one.left_out,
        4 + (at - low) * percent, 4 + (start - low) * percent, (end - start) * percent,
    )  # fmt: skip
