"""Sales of one task: who wins at which price, and whether a lie pays, by search."""

from collections.abc import Callable, Mapping

import pytest

from actors import ConfigurationError
from coordination.auctions.sale import Dutch, English, Sold, dutch, english, first_price, shaded, vickrey
from tests.coordination.auctions.markets import rng_of

Sale = Callable[[Mapping[int, float]], Sold]


def best_lie(sale: Sale, seeds: int) -> float:
    """The most that any bidder gains by any of many lies in random markets; below 0 if all lies lose."""
    most = -1.0
    for seed in range(seeds):
        rng = rng_of(seed)
        values = dict(enumerate(rng.integers(0, 20, size=rng.integers(1, 6)).tolist()))
        for bidder, value in values.items():
            honest = gain_of(sale(values), bidder, value)
            assert honest >= 0, f"seed {seed}: bidder {bidder} loses by the truth"
            for lie in range(22):
                most = max(most, gain_of(sale({**values, bidder: lie}), bidder, value) - honest)
    return most


def gain_of(sold: Sold, bidder: int, value: float) -> float:
    return value - sold.price if sold.winner == bidder else 0.0


def test_no_lie_pays_at_second_price() -> None:
    assert best_lie(vickrey, 150) == 0
    assert best_lie(lambda bids: vickrey(bids, reserve=7), 150) == 0


def test_the_search_finds_the_lie_that_pays_at_first_price() -> None:
    assert best_lie(first_price, 10) > 5


def test_no_lie_pays_more_than_a_step_where_the_price_rises() -> None:
    assert best_lie(lambda bids: english(bids, increment=2), 100) <= 2


def test_the_highest_wins_and_the_lowest_number_of_equals() -> None:
    bids = {4: 9.0, 2: 9.0, 7: 3.0}
    assert vickrey(bids) == Sold(2, 9.0, 1, 4)
    assert first_price(bids) == Sold(2, 9.0, 1, 4)
    assert vickrey({3: 5.0}, reserve=2) == Sold(3, 2, 1, 2)
    assert vickrey({3: 5.0}, reserve=6).winner is None
    assert first_price({}).winner is None


def test_a_rising_price_stops_where_the_second_leaves() -> None:
    sold = english({0: 10.0, 1: 7.0, 2: 3.0}, increment=1)
    assert (sold.winner, sold.price) == (0, 8.0)
    assert sold.rounds == 9
    assert english({0: 3.0}, 1, reserve=4).winner is None


def test_when_all_leave_at_once_the_lowest_has_it_at_the_price_before() -> None:
    sold = english({1: 7.5, 2: 7.0}, increment=1)
    assert (sold.winner, sold.price) == (1, 7.0)


def test_a_falling_price_stops_at_the_first_call() -> None:
    assert dutch({0: 7.0, 1: 9.0}, price=12, decrement=2) == Sold(1, 8.0, 3, 8)
    assert dutch({0: 1.0}, price=10, decrement=4, reserve=2).winner is None


def test_shaded_bids_at_first_price_earn_what_the_second_price_does() -> None:
    first = second = 0.0
    for seed in range(4000):
        values = dict(enumerate(rng_of(seed).uniform(size=4).tolist()))
        first += first_price({bidder: shaded(value, 4) for bidder, value in values.items()}).price
        second += vickrey(values).price
    assert first / second == pytest.approx(1, abs=0.02)  # revenue equivalence


@pytest.mark.parametrize(
    "make", [lambda: English([0], 0), lambda: Dutch([0], 5, 0), lambda: Dutch([0], 1, 1e-9)]
)
def test_steps_that_never_end_are_refused(make: Callable[[], object]) -> None:
    with pytest.raises(ConfigurationError, match="is not above 0"):
        make()
