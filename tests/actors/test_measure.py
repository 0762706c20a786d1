"""Sums are exact, so they do not depend on who added what first."""

import math
from fractions import Fraction
from random import Random

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.measure import Measures, Sum, last_rows, rows

NUMBERS = st.lists(st.floats(-1e300, 1e300) | st.integers(-(10**20), 10**20).map(float), max_size=40)


def summed(values: list[float]) -> Sum:
    result = Sum()
    result.add(values)
    return result


@given(NUMBERS)
def test_a_sum_is_the_exact_one_rounded_once(values: list[float]) -> None:
    result = math.fsum(summed(values).partials)
    assert result == math.fsum(values) == float(sum(map(Fraction, values)))


@given(NUMBERS, st.integers(0, 2**32), st.integers(1, 5))
def test_it_is_the_same_for_any_order_and_any_number_of_cells(
    values: list[float], seed: int, cells: int
) -> None:
    rng = Random(seed)
    shuffled = rng.sample(values, len(values))
    parts = [Sum() for _ in range(cells)]
    for value in shuffled:
        rng.choice(parts).add([value])
    rng.shuffle(parts)
    kept = [msgspec.msgpack.decode(msgspec.msgpack.encode(part), type=Sum) for part in parts]
    together = rows([{(0, "m"): part} for part in kept if part.count])
    assert together == (rows([{(0, "m"): summed(values)}]) if values else [])


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([math.inf, 1.0], math.inf),
        ([1.0, -math.inf, 1e300], -math.inf),
        ([math.inf, -math.inf], math.nan),
        ([math.nan, 1.0], math.nan),
        ([1.7e308] * 3, math.inf),
        ([-1.7e308] * 3, -math.inf),
    ],
)
def test_a_sum_beyond_floats_is_infinite_and_no_error(values: list[float], expected: float) -> None:
    for _ in range(2):
        (row,) = rows([{(0, "m"): summed(values[:1])}, {(0, "m"): summed(values[1:])}])
        assert row.sum == expected or (math.isnan(row.sum) and math.isnan(expected))
        assert row.count == len(values)
        values = values[::-1]


def test_zero_has_one_sign() -> None:
    assert math.copysign(1, rows([{(0, "m"): summed([-0.0])}])[0].sum) == 1
    for values in ([0.0, -0.0], [-0.0, 0.0]):
        (row,) = rows([{(0, "m"): summed(values)}])
        assert [math.copysign(1, number) for number in (row.sum, row.minimum, row.maximum)] == [1, 1, 1]


def test_a_row_has_count_sum_mean_least_and_greatest() -> None:
    measures = Measures()
    for value in (3.0, 1.0, 2.0):
        measures.record(4, "load", value)
    measures.record(5, "load", 7.0)
    measures.record(4, "load", 6.0)
    measures.fold()
    first, second = rows([measures.sums])
    assert (first.now, first.measure, first.count, first.sum, first.mean) == (4.0, "load", 4, 12.0, 3.0)
    assert (first.minimum, first.maximum) == (1.0, 6.0)
    assert (second.now, second.count, second.sum) == (5.0, 1, 7.0)


def test_the_last_row_is_that_of_the_latest_time_in_any_cell() -> None:
    early, late = Measures(), Measures()
    early.record(3, "load", 1.0)
    late.record(5, "load", 2.0)
    late.record(1, "other", 9.0)
    (load, other) = sorted(last_rows([early.latest(), late.latest()]).values(), key=lambda row: row.measure)
    assert (load.now, load.sum, other.now, other.sum) == (5.0, 2.0, 1.0, 9.0)


def test_the_last_time_is_known_after_a_recovery() -> None:
    before = Measures()
    for at in (1, 3, 2):
        before.record(at, "load", float(at))
    before.fold()
    after = Measures()
    after.restore(dict(before.sums))
    assert last_rows([after.latest()])["load"].now == 3.0
