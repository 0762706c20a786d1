"""Distributions: the right quantiles, and clear words for the wrong parameters."""

from math import isfinite, log

import pytest
from scipy import stats

from actors.distribution import Constant, Distribution, Exponential, LogNormal, Uniform, distribution_from
from actors.errors import ConfigurationError

QUANTILES = [0.001, 0.1, 0.5, 0.9, 0.999]


@pytest.mark.parametrize(
    ("distribution", "reference"),
    [
        (Uniform(2, 6), stats.uniform(2, 4)),
        (Exponential(3), stats.expon(scale=3)),
        (LogNormal(2, 0.5), stats.lognorm(0.5, scale=2)),
    ],
)
def test_quantiles_are_those_of_scipy(distribution: Distribution, reference: object) -> None:
    for u in QUANTILES:
        assert distribution.sample(u) == pytest.approx(reference.ppf(u))  # type: ignore[attr-defined]  # no stubs


def test_the_median_of_a_lognormal_is_its_median_and_a_constant_is_constant() -> None:
    assert LogNormal(2, 0.5).sample(0.5) == 2
    assert Exponential(1).sample(0.5) == pytest.approx(log(2))
    assert Constant(4).sample(0.9) == 4


@pytest.mark.parametrize("distribution", [Constant(1), Uniform(0, 1), Exponential(1), LogNormal(1, 10)])
def test_samples_are_finite_and_not_negative_at_the_ends(distribution: Distribution) -> None:
    for u in (0.0, 1 - 2.0**-53):
        assert isfinite(distribution.sample(u))
        assert distribution.sample(u) >= 0


@pytest.mark.parametrize(
    ("entry", "distribution"),
    [
        (2, Constant(2)),
        ({"constant": 2}, Constant(2)),
        ({"exponential": 2.5}, Exponential(2.5)),
        ({"exponential": {"mean": 2}}, Exponential(2)),
        ({"uniform": {"low": 1, "high": 3}}, Uniform(1, 3)),
        ({"lognormal": {"median": 2, "sigma": 0.5}}, LogNormal(2, 0.5)),
    ],
)
def test_entries_are_read(entry: object, distribution: Distribution) -> None:
    assert distribution_from(entry, "delay") == distribution


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ({"exponental": 2}, "d.exponental: unknown distribution. Did you mean 'exponential'"),
        ({"uniform": {"low": 3, "high": 1}}, "d.uniform.high: 1 is not a number from 3"),
        ({"lognormal": {"median": 2}}, "d.lognormal.sigma: missing"),
        ({"lognormal": {"median": 2, "sigma": 1, "mean": 2}}, "d.lognormal.mean: unknown key"),
        ({"constant": -1}, "d.value: -1 is not a number from 0|d.constant.value: -1 is not a number from 0"),
        (True, "True is not a number"),
        ("slow", "'slow' is not a distribution"),
        ({"uniform": 3}, "d.uniform: 3 is not a dictionary"),
    ],
)
def test_wrong_entries_are_named_with_place_and_mend(entry: object, words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        distribution_from(entry, "d")
