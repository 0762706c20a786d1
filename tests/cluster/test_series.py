"""Replicates brought onto common times."""

import numpy as np
import polars as pl
import pytest

from cluster.series import measure_series, spread


def frame(rows: list[tuple[int, float, float]]) -> pl.DataFrame:
    """Rows of (trial, now, mean) of one arm."""
    columns = list(zip(*rows, strict=True))
    return pl.DataFrame({"trial": columns[0], "now": columns[1], "mean": columns[2]}).with_columns(
        arm=pl.lit("{}")
    )


def test_shared_times_are_taken_as_they_are() -> None:
    (series,) = measure_series(
        frame([(0, 0.0, 1.0), (0, 1.0, 2.0), (1, 0.0, 3.0), (1, 1.0, 6.0)]), ["{}"], 400
    )
    assert series.times.tolist() == [0.0, 1.0]
    assert series.band.mean.tolist() == [2.0, 4.0]
    assert series.band.n.tolist() == [2, 2]
    assert not series.intervals


def test_a_replicate_that_ended_is_not_carried_on() -> None:
    rows = [(0, 0.0, 1.0), (0, 1.0, 1.0), (0, 2.0, 1.0), (1, 0.0, 3.0), (1, 1.0, 3.0)]
    (series,) = measure_series(frame(rows), ["{}"], 400)
    assert series.band.n.tolist() == [2, 2, 1]
    assert series.band.mean.tolist() == [2.0, 2.0, 1.0]


def test_what_each_replicate_tells_once_at_its_own_end_is_no_line() -> None:
    assert measure_series(frame([(0, 24.0, 0.3), (1, 31.0, 0.4), (2, 28.0, 0.2)]), ["{}"], 400) == []
    assert measure_series(frame([(0, 24.0, 0.3), (0, 25.0, 0.3), (1, 31.0, 0.4)]), ["{}"], 400) != []


def test_times_that_replicates_do_not_share_are_cut_into_intervals() -> None:
    rows = [(trial, 0.1 * trial + step, float(step)) for trial in range(3) for step in range(10)]
    (series,) = measure_series(frame(rows), ["{}"], 400)
    assert series.intervals
    assert series.times.size == 10
    assert series.band.n.max() == 3


def test_a_long_line_is_cut_to_the_points_of_a_figure_and_keeps_its_mean() -> None:
    rows = [(0, float(now), float(now % 7)) for now in range(7000)]
    (series,) = measure_series(frame(rows), ["{}"], 400)
    assert series.times.size == 400
    assert float(np.mean(series.band.mean)) == pytest.approx(3.0, abs=0.01)


def test_one_time_makes_no_line_and_values_that_are_not_finite_are_left_out() -> None:
    assert measure_series(frame([(0, 1.0, 1.0), (1, 1.0, 2.0)]), ["{}"], 400) == []
    assert measure_series(frame([(0, 1.0, 1.0), (0, 2.0, float("nan"))]), ["{}"], 400) == []


def test_names_are_spread_with_first_and_last() -> None:
    assert spread(list("abcdefghi"), 3) == ["a", "e", "i"]
    assert spread(["a", "b"], 8) == ["a", "b"]
