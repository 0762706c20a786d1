"""Intervals and tests, against scipy as oracle and by simulated coverage at fixed seeds."""

import itertools

import numpy as np
import pytest
from scipy import stats

from cluster.statistics import (
    BOOTSTRAP,
    NO_INTERVAL,
    WILSON,
    band,
    bootstrap_interval,
    estimate,
    holm,
    is_share,
    paired_test,
    student_quantile,
    wilson_interval,
)


@pytest.mark.parametrize(("successes", "n"), [(0, 1), (0, 5), (3, 5), (5, 5), (17, 40), (999, 1000)])
def test_wilson_agrees_with_scipy(successes: int, n: int) -> None:
    oracle = stats.binomtest(successes, n).proportion_ci(0.95, method="wilson")
    assert wilson_interval(successes, n) == pytest.approx((oracle.low, oracle.high), abs=1e-12)


def test_wilson_stays_between_0_and_1() -> None:
    assert wilson_interval(0, 7)[0] == 0.0
    assert wilson_interval(7, 7)[1] == 1.0


def test_a_share_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="is not a share"):
        wilson_interval(0, 0)


@pytest.mark.parametrize("degrees", [1, 2, 3, 4, 7, 10, 29, 500])
@pytest.mark.parametrize("probability", [0.5, 0.9, 0.975, 0.9995])
def test_student_quantiles_agree_with_scipy(degrees: int, probability: float) -> None:
    assert student_quantile(probability, degrees) == pytest.approx(
        stats.t.ppf(probability, degrees), rel=1e-9
    )


def test_a_large_sample_gives_the_interval_that_scipys_bootstrap_gives() -> None:
    values = np.random.default_rng(1).exponential(size=400)
    oracle = stats.bootstrap(
        (values,), np.mean, method="percentile", rng=np.random.default_rng(2), n_resamples=20_000
    ).confidence_interval
    width = oracle.high - oracle.low
    assert bootstrap_interval(values) == pytest.approx((oracle.low, oracle.high), abs=0.03 * width)


@pytest.mark.parametrize("n", [3, 5, 10])
def test_the_bootstrap_covers_95_percent_of_normal_means(n: int) -> None:
    rng = np.random.default_rng(n)
    # 1,500 simulated means: the standard error of a coverage of 95% is 0.6 points, so 93 is over three below.
    matrix = rng.normal(10.0, 2.0, (n, 1500))
    bands = band(matrix, seed=n)
    covered = np.mean((bands.low <= 10.0) & (bands.high >= 10.0))
    assert 0.93 <= covered <= 0.97


def test_the_bootstrap_covers_skewed_means_no_worse_than_students_t() -> None:
    matrix = np.random.default_rng(0).exponential(size=(5, 1500))
    bands = band(matrix)
    covered = np.mean((bands.low <= 1.0) & (bands.high >= 1.0))
    half = stats.t.ppf(0.975, 4) * matrix.std(axis=0, ddof=1) / np.sqrt(5)
    by_student = np.mean(np.abs(matrix.mean(axis=0) - 1.0) <= half)
    assert covered >= by_student
    assert covered >= 0.86


def test_wilson_covers_a_share_of_few_trials() -> None:
    n, share = 10, 0.3
    chance = stats.binom.pmf(np.arange(n + 1), n, share)
    intervals = [wilson_interval(k, n) for k in range(n + 1)]
    covered = sum(c for c, (low, high) in zip(chance, intervals, strict=True) if low <= share <= high)
    assert 0.92 <= covered <= 0.98


def test_the_same_values_and_seed_give_the_same_interval() -> None:
    values = np.random.default_rng(4).normal(size=20)
    assert bootstrap_interval(values, seed=7) == bootstrap_interval(values, seed=7)
    assert bootstrap_interval(values, seed=7) != bootstrap_interval(values, seed=8)


def test_equal_values_give_an_interval_of_no_width() -> None:
    assert bootstrap_interval([2.5] * 4) == (2.5, 2.5)


def test_many_values_are_resampled_in_pieces_of_bounded_memory() -> None:
    low, high = bootstrap_interval(np.random.default_rng(3).normal(size=5_000))
    assert -0.1 < low < high < 0.1


def test_values_of_0_and_1_are_a_share_and_others_are_not() -> None:
    assert is_share([0, 1, 1.0])
    assert not is_share([0.5, 1])
    assert not is_share([])


def test_an_estimate_names_its_method_and_its_n() -> None:
    share = estimate([1, 0, 1, 1])
    assert (share.method, share.n, share.mean) == (WILSON, 4, 0.75)
    other = estimate([1.5, 2.5, 3.5])
    assert (other.method, other.n, other.mean) == (BOOTSTRAP, 3, 2.5)
    assert estimate([0, 1, 1], share=False).method == BOOTSTRAP


def test_one_value_gives_no_interval_and_says_so() -> None:
    one = estimate([42.0])
    assert (one.mean, one.n, one.low, one.high, one.method) == (42.0, 1, None, None, NO_INTERVAL)


def test_values_that_are_not_finite_are_left_out_and_counted() -> None:
    some = estimate([1.0, float("nan"), 3.0, float("inf")])
    assert (some.mean, some.n, some.left_out) == (2.0, 2, 2)
    assert estimate([]).n == 0


def test_a_band_follows_the_replicates_that_are_left() -> None:
    nan = float("nan")
    bands = band(np.array([[1.0, 2.0, 3.0], [3.0, 4.0, nan], [5.0, nan, nan]]))
    assert bands.n.tolist() == [3, 2, 1]
    assert bands.mean.tolist() == [3.0, 3.0, 3.0]
    assert np.isfinite(bands.low).tolist() == [True, True, False]
    assert bands.method == BOOTSTRAP


def test_a_band_of_shares_is_wilsons() -> None:
    bands = band(np.array([[0.0, 1.0], [1.0, 1.0], [0.0, 1.0]]))
    assert bands.method == WILSON
    assert (bands.low[0], bands.high[0]) == pytest.approx(wilson_interval(1, 3))
    assert (bands.low[1], bands.high[1]) == pytest.approx(wilson_interval(3, 3))


def test_the_exact_permutation_test_agrees_with_scipy() -> None:
    a = [2.1, 3.3, 1.9, 4.0, 2.2, 3.1, 2.8]
    b = [2.9, 3.1, 2.8, 5.2, 2.1, 3.9, 3.5]
    oracle = stats.permutation_test(
        (b, a), lambda x, y: np.mean(x - y), permutation_type="samples", n_resamples=np.inf, vectorized=False
    )
    test = paired_test(a, b)
    assert test.p_value == pytest.approx(oracle.pvalue, abs=1e-12)
    assert "exact (128 sign patterns)" in test.test
    assert test.effect_size == pytest.approx(stats.ttest_rel(b, a).statistic / np.sqrt(7))


def test_random_signs_come_near_the_exact_answer() -> None:
    rng = np.random.default_rng(5)
    difference = rng.normal(0.4, 1.0, 14)
    sums = [
        abs(sum(s * d for s, d in zip(signs, difference, strict=True)))
        for signs in itertools.product((-1, 1), repeat=14)
    ]
    exact = np.mean(np.array(sums) >= abs(difference.sum()) - 1e-9)
    test = paired_test(np.zeros(14), difference)
    assert test.p_value == pytest.approx(exact, abs=0.006)
    assert "100,000 random sign patterns" in test.test


def test_the_permutation_test_keeps_its_level_when_nothing_differs() -> None:
    rng = np.random.default_rng(11)
    p_values = [
        paired_test(np.zeros(8), rng.exponential(size=8) * rng.choice([-1, 1], 8)).p_value for _ in range(200)
    ]
    # At most 5% false alarms; of 200, over 20 would come less than once in 300 tries.
    assert sum(p is not None and p <= 0.05 for p in p_values) <= 20


def test_few_pairs_say_that_p_cannot_be_small() -> None:
    test = paired_test([0, 0, 0, 0, 0], [1, 2, 3, 4, 5])
    assert test.p_value == 0.0625
    assert test.note == "with 5 pairs p cannot be under 0.0625"
    assert paired_test([0] * 6, [1, 2, 3, 4, 5, 6]).note == ""


def test_one_pair_gives_a_difference_and_nothing_more() -> None:
    test = paired_test([1.0], [3.0])
    assert (test.difference, test.low, test.high, test.p_value, test.effect_size) == (
        2.0,
        None,
        None,
        None,
        None,
    )
    assert "one pair" in test.note


def test_equal_pairs_have_p_1_and_no_effect_size() -> None:
    test = paired_test([1.0, 2.0, 3.0], [1.0, 2.0, 3.0])
    assert (test.p_value, test.effect_size, test.low, test.high) == (1.0, None, 0.0, 0.0)


def test_unequal_numbers_are_no_pairs() -> None:
    with pytest.raises(ValueError, match="are no pairs"):
        paired_test([1.0], [1.0, 2.0])
    with pytest.raises(ValueError, match="not finite"):
        paired_test([1.0, 2.0], [1.0, float("nan")])


def test_holm_multiplies_by_what_is_left_and_never_falls() -> None:
    assert holm([0.01, None, 0.04, 0.03]) == pytest.approx([0.03, None, 0.06, 0.06])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
