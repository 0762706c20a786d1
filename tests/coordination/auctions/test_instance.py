"""Instances and outcomes: what is refused, and how value and gap are told."""

import numpy as np
import pytest

from actors import ConfigurationError
from coordination.auctions import Instance, gap
from coordination.auctions.outcome import Traffic, settled


def test_costs_are_told_as_costs_again() -> None:
    instance = Instance.of_costs(np.array([[3, 9], [4, 5]]))
    assert instance.gains.tolist() == [[7, 1], [6, 5]]
    assert instance.told({0: 0, 1: 1}) == 8
    assert instance.gain({0: 0, 1: 1}) == 12


def test_a_task_left_out_of_a_matching_of_costs_is_not_a_saving() -> None:
    instance = Instance.of_costs(np.array([[3, 9], [4, 5]]))
    assert gap(instance, settled(instance, {0: 0}, Traffic()), 8) == (3 + 10 - 8) / 8
    assert gap(instance, settled(instance, {0: 0, 1: 1}, Traffic()), 8) == 0


@pytest.mark.parametrize(
    ("gains", "loads", "capacities", "told"),
    [
        ([[1.0, np.nan]], None, None, "not finite"),
        ([[-1]], None, None, "negative"),
        ([[2**41]], None, None, "above 2\\*\\*40"),
        ([], None, None, "bidders by tasks"),
        ([[1]], [[1]], None, "go together"),
        ([[1]], [[1, 2]], [1], "do not fit"),
        ([[1]], [[-1]], [1], "at least 0"),
    ],
)
def test_a_wrong_instance_is_refused(gains: object, loads: object, capacities: object, told: str) -> None:
    arrays = [None if part is None else np.array(part) for part in (gains, loads, capacities)]
    with pytest.raises(ConfigurationError, match=told):
        Instance(*arrays)  # type: ignore[arg-type]  # the first is never None


@pytest.mark.parametrize("awards", [{0: 0, 1: 0}, {0: 2}])
def test_awards_that_cannot_be_are_a_bug(awards: dict[int, int]) -> None:
    with pytest.raises(AssertionError, match=r"went to bidder 2|cannot carry task 1 too"):
        settled(Instance(np.ones((2, 2), int)), awards, Traffic())
