"""Intervals and tests for replicated runs: what a number is worth, said with its method and its n.

Rules: every interval is at 95% and names how it was made; one value gives no interval; randomness is
seeded, so the same values give the same answer. The unit is the replicate (one trial), never the agent:
agents of one swarm influence each other, and to count them as independent would make every interval too
narrow.

* Shares (each value 0 or 1): the Wilson score interval. Wilson, JASA 22 (1927); recommended over Wald's by
  Brown, Cai and DasGupta, Statistical Science 16 (2001).
* All else: the percentile bootstrap (Efron, Annals of Statistics 7, 1979), widened for small n. Plain
  percentile and BCa intervals cover far too little at the sizes of a sweep: simulated for normal data, 75%
  and 72% at n = 3, 84% and 85% at n = 5. Hesterberg, The American Statistician 69 (2015), section 4, gives
  the two causes, a variance divided by n and a normal where Student's t belongs, and mends both by moving
  the percentiles; but below n = 6 that runs into the range of the data. Here both ends are moved away from
  the mean by the same factor instead, t(n-1) * sqrt(n / (n-1)) / z. Simulated: 95% from n = 3 (92% at n =
  2); for exponential data 89% at n = 5 and 92% at n = 20, where Student's t has 88% and 92%.
* Paired comparison: the permutation test on the signs of the differences (Fisher, 1935), exact up to 12
  pairs, else by random signs with the p value (b+1)/(m+1) of Phipson and Smyth, SAGMB 9 (2010). Effect
  size: Cohen's d for pairs, d_z.
* Several tests at once: Holm's adjustment (Scandinavian Journal of Statistics 6, 1979).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

CONFIDENCE = 0.95
LEAST_VALUES = 2
"""Values that an interval needs."""
RESAMPLES = 10_000
BAND_RESAMPLES = 2_000
EXACT_PAIRS = 12
RANDOM_SIGNS = 100_000
CHUNK_NUMBERS = 2_000_000
"""Numbers drawn at once: a bound on memory (16 MB)."""

WILSON = "Wilson score"
BOOTSTRAP = "bootstrap"
NO_INTERVAL = "none: one value"
NO_VALUE = "none: no value"

_MEDIAN = 0.5
_Z = NormalDist().inv_cdf(0.5 + CONFIDENCE / 2)


@dataclass(frozen=True)
class Estimate:
    """A mean over n replicates, with its 95% interval if there can be one."""

    mean: float
    n: int
    low: float | None
    high: float | None
    method: str
    left_out: int = 0
    """Values that were not finite, and are in none of the numbers."""


@dataclass(frozen=True)
class PairedTest:
    """What n pairs say about the mean of b - a."""

    n: int
    mean_a: float
    mean_b: float
    difference: float
    """Mean of b - a."""
    low: float | None
    high: float | None
    interval: str
    """How the interval of the difference was made."""
    p_value: float | None
    """Two-sided; None with one pair."""
    effect_size: float | None
    """Cohen's d_z: mean difference over standard deviation of differences. None if that is 0 or n is 1."""
    test: str
    note: str
    """What a reader must know before using the p value; empty if nothing."""


def is_share(values: Sequence[float] | Array) -> bool:
    """Whether all values are 0 or 1, so that their mean is a share of replicates."""
    array = np.asarray(values, dtype=float)
    return bool(array.size) and bool(np.all((array == 0.0) | (array == 1.0)))


def wilson_interval(successes: int, n: int) -> tuple[float, float]:
    """The 95% Wilson score interval of a share. ValueError unless 0 <= successes <= n and n >= 1."""
    if n < 1 or not 0 <= successes <= n:
        raise ValueError(f"{successes} of {n} is not a share: give 0 <= successes <= n, n >= 1")
    low, high = _wilson(np.array([successes / n]), n)
    return float(low[0]), float(high[0])


def _wilson(share: Array, n: int) -> tuple[Array, Array]:
    shrink = 1.0 + _Z**2 / n
    centre = (share + _Z**2 / (2 * n)) / shrink
    half = _Z * np.sqrt(share * (1 - share) / n + _Z**2 / (4 * n**2)) / shrink
    # At 0 and n of n the bound is 0 or 1 exactly; rounding would leave 1e-17 beyond it.
    low = np.where(share == 0.0, 0.0, centre - half)
    high = np.where(share == 1.0, 1.0, centre + half)
    return low, high


def bootstrap_interval(values: Sequence[float] | Array, seed: int = 0) -> tuple[float, float]:
    """The 95% bootstrap interval of the mean of n >= 2 finite values, as the module describes."""
    array = np.asarray(values, dtype=float)
    if array.size < LEAST_VALUES:
        raise ValueError(f"an interval needs 2 values, not {array.size}: run more replicates")
    low, high = _bootstrap(array[:, None], seed, RESAMPLES)
    return float(low[0]), float(high[0])


def _bootstrap(matrix: Array, seed: int, resamples: int) -> tuple[Array, Array]:
    """Ends of the interval for each column of an (n, columns) matrix, all with the same resamples."""
    n, columns = matrix.shape
    rng = np.random.default_rng(seed)
    centre = matrix.mean(axis=0)
    offsets = matrix - centre
    means = np.empty((resamples, columns))
    step = max(1, CHUNK_NUMBERS // n)
    for start in range(0, resamples, step):
        stop = min(start + step, resamples)
        picks = rng.integers(0, n, (stop - start, n))
        # Each resample as how often it took each value: one product then serves all the columns.
        rows = np.arange(stop - start)[:, None] * n
        weights = np.bincount((picks + rows).ravel(), minlength=(stop - start) * n).reshape(-1, n) / n
        means[start:stop] = weights @ offsets
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(means, [tail, 1 - tail], axis=0)
    widening = _widening(n)
    return centre + widening * low, centre + widening * high


@cache
def _widening(n: int) -> float:
    return student_quantile(_MEDIAN + CONFIDENCE / 2, n - 1) * math.sqrt(n / (n - 1)) / _Z


def student_quantile(probability: float, degrees: int) -> float:
    """Student's t, from the median up: bisection of the finite series in Abramowitz and Stegun, 26.7.3-4."""
    if not _MEDIAN <= probability < 1.0 or degrees < 1:
        raise ValueError(
            f"no quantile at {probability} with {degrees} degrees of freedom: give 0.5 <= p < 1, degrees >= 1"
        )
    low, high = 0.0, math.pi / 2
    for _ in range(100):
        angle = (low + high) / 2
        if _student_central(angle, degrees) < 2 * probability - 1:
            low = angle
        else:
            high = angle
    return math.sqrt(degrees) * math.tan((low + high) / 2)


def _student_central(angle: float, degrees: int) -> float:
    """P(|T| < sqrt(degrees) * tan(angle))."""
    sine, cosine = math.sin(angle), math.cos(angle)
    odd = degrees % 2
    term, total = (cosine if odd else 1.0), 0.0
    for k in range(degrees // 2):
        total += term
        term *= cosine**2 * ((2 * k + 2) / (2 * k + 3) if odd else (2 * k + 1) / (2 * k + 2))
    return 2 / math.pi * (angle + sine * total) if odd else sine * total


def estimate(values: Sequence[float] | Array, share: bool | None = None, seed: int = 0) -> Estimate:
    """Mean and interval of one value a replicate. `share`: they are 0 or 1; None looks at the values."""
    array = np.asarray(values, dtype=float)
    finite = array[np.isfinite(array)]
    n, left_out = int(finite.size), int(array.size - finite.size)
    if n == 0:
        return Estimate(math.nan, 0, None, None, NO_VALUE, left_out)
    mean = float(finite.mean())
    if n == 1:
        return Estimate(mean, 1, None, None, NO_INTERVAL, left_out)
    if is_share(finite) if share is None else share:
        low, high = wilson_interval(round(float(finite.sum())), n)
        return Estimate(mean, n, low, high, WILSON, left_out)
    low, high = bootstrap_interval(finite, seed)
    return Estimate(mean, n, low, high, BOOTSTRAP, left_out)


@dataclass(frozen=True)
class Band:
    """Means over replicates at each time, with pointwise 95% ends: NaN where fewer than two have a value."""

    mean: Array
    low: Array
    high: Array
    n: NDArray[np.int64]
    method: str


def band(matrix: Array, seed: int = 0) -> Band:
    """The band of an (n replicates, times) matrix; NaN is a replicate without a value at that time."""
    present = np.isfinite(matrix)
    n = present.sum(axis=0)
    mean = np.full(matrix.shape[1], np.nan)
    some = n > 0
    mean[some] = np.nansum(np.where(present, matrix, 0.0), axis=0)[some] / n[some]
    low, high = np.full_like(mean, np.nan), np.full_like(mean, np.nan)
    share = is_share(matrix[present])
    # Columns with the same replicates present share one set of resamples: usually that is all of them.
    patterns, group = np.unique(present, axis=1, return_inverse=True)
    for index in range(patterns.shape[1]):
        rows, columns = patterns[:, index], np.flatnonzero(group.ravel() == index)
        size = int(rows.sum())
        if size < LEAST_VALUES:
            continue
        if share:
            low[columns], high[columns] = _wilson(mean[columns], size)
        else:
            low[columns], high[columns] = _bootstrap(matrix[np.ix_(rows, columns)], seed, BAND_RESAMPLES)
    most = int(n.max(initial=0))
    method = (WILSON if share else BOOTSTRAP) if most > 1 else NO_INTERVAL
    return Band(mean, low, high, n, method)


def paired_test(a: Sequence[float] | Array, b: Sequence[float] | Array, seed: int = 0) -> PairedTest:
    """Compares b with a, pair by pair. ValueError unless both hold equally many finite values."""
    first, second = np.asarray(a, dtype=float), np.asarray(b, dtype=float)
    if first.shape != second.shape or first.ndim != 1 or first.size == 0:
        raise ValueError(
            f"{first.size} and {second.size} values are no pairs: give as many of each, at least one"
        )
    difference = second - first
    if not np.all(np.isfinite(difference)):
        raise ValueError("a value is not finite: leave its pair out")
    n = int(difference.size)
    mean = float(difference.mean())
    means = (n, float(first.mean()), float(second.mean()), mean)
    if n == 1:
        return PairedTest(
            *means, None, None, NO_INTERVAL, None, None, "none", "one pair: no interval and no test"
        )
    low, high = bootstrap_interval(difference, seed)
    spread = float(difference.std(ddof=1))
    # A spread of rounding errors is no spread: the ratio would be noise.
    effect = mean / spread if spread > 1e-12 * float(np.abs(difference).max()) else None
    if n <= EXACT_PAIRS:
        p_value, test = _exact_p(difference), f"paired permutation test, exact ({2**n:,} sign patterns)"
    else:
        p_value = _random_p(difference, seed)
        test = f"paired permutation test, {RANDOM_SIGNS:,} random sign patterns, seed {seed}"
    least = 2.0 ** (1 - n)
    note = f"with {n} pairs p cannot be under {least:g}" if least > 1 - CONFIDENCE else ""
    return PairedTest(*means, low, high, BOOTSTRAP, p_value, effect, test, note)


def _threshold(difference: Array) -> float:
    # Sums in another order differ in the last bits; patterns that tie with the data must count as ties.
    return abs(float(difference.sum())) - 1e-9 * float(np.abs(difference).sum())


def _exact_p(difference: Array) -> float:
    n = difference.size
    bits = (np.arange(2**n)[:, None] >> np.arange(n)) & 1
    sums = np.abs((1.0 - 2.0 * bits) @ difference)
    return float(np.mean(sums >= _threshold(difference)))


def _random_p(difference: Array, seed: int) -> float:
    rng = np.random.default_rng(seed)
    threshold, as_far = _threshold(difference), 0
    step = max(1, CHUNK_NUMBERS // difference.size)
    for start in range(0, RANDOM_SIGNS, step):
        rows = min(step, RANDOM_SIGNS - start)
        signs = 1.0 - 2.0 * rng.integers(0, 2, (rows, difference.size))
        as_far += int(np.sum(np.abs(signs @ difference) >= threshold))
    return (as_far + 1) / (RANDOM_SIGNS + 1)


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """P values adjusted for testing all of them, so that any false alarm stays rare. None stays None."""
    tested = sorted((p, index) for index, p in enumerate(p_values) if p is not None)
    adjusted: list[float | None] = [None] * len(p_values)
    highest = 0.0
    for rank, (p, index) in enumerate(tested):
        highest = max(highest, min(1.0, p * (len(tested) - rank)))
        adjusted[index] = highest
    return adjusted
