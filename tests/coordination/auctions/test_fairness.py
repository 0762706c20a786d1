"""Measures of evenness at their ends and in between."""

import pytest

from coordination.auctions.fairness import gini, imbalance, jain


def test_all_alike() -> None:
    for shares in ([3.0] * 4, [0.0] * 4, [7.0]):
        assert (jain(shares), gini(shares), imbalance(shares)) == pytest.approx((1, 0, 1))


def test_one_has_all() -> None:
    assert (jain([0, 0, 0, 8]), gini([0, 0, 0, 8]), imbalance([0, 0, 0, 8])) == pytest.approx((0.25, 0.75, 4))


def test_in_between() -> None:
    assert jain([1, 2, 3]) == pytest.approx(36 / 42)
    assert gini([1, 2, 3]) == pytest.approx(2 / 9)
    assert imbalance([1, 2, 3]) == 1.5
