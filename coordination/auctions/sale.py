"""One task, many bidders: sealed bids and open outcry.

| sale | rule | price | guarantee | messages of n bidders |
|---|---|---|---|---|
| first price | the highest bid wins | its own bid | none: bids are shaded | n + 1, one round |
| Vickrey | the highest bid wins | the second highest, or the reserve | truth is dominant | n + 1, one round |
| English | the price rises until one stays | where the last rival left | truth within a step | 2n a step |
| Dutch | the price falls until one calls | where it was called | as first price | n a step |

Vickrey, "Counterspeculation, auctions, and competitive sealed tenders", Journal of Finance 16 (1961), for all four:
with private values English and Vickrey, Dutch and first price, are the same game. `shaded` is his equilibrium bid, for
n bidders with values drawn uniformly from 0 upwards.

Rules: bids are amounts of gain, and at least 0. Of equal bids the lowest bidder wins, so a sale is a function of its
bids. A bid below the reserve is none.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from actors.errors import ConfigurationError

MOST_STEPS = 1_000_000
"""Of an open outcry; the increment must be large enough."""


@dataclass(frozen=True)
class Sold:
    """How a sale ended."""

    winner: int | None
    """None: nobody bid the reserve."""
    price: float
    rounds: int
    messages: int


def first_price(bids: Mapping[int, float], reserve: float = 0.0) -> Sold:
    """Sealed bids; the winner pays its bid."""
    ranking = ranked(bids, reserve)
    if not ranking:
        return Sold(None, 0.0, 1, len(bids))
    return Sold(ranking[0], bids[ranking[0]], 1, len(bids) + 1)


def vickrey(bids: Mapping[int, float], reserve: float = 0.0) -> Sold:
    """Sealed bids; the winner pays the second highest, at least the reserve."""
    ranking = ranked(bids, reserve)
    if not ranking:
        return Sold(None, 0.0, 1, len(bids))
    price = bids[ranking[1]] if len(ranking) > 1 else reserve
    return Sold(ranking[0], price, 1, len(bids) + 1)


def ranked(bids: Mapping[int, float], reserve: float = 0.0) -> list[int]:
    """The bidders that bid the reserve or more, highest first; of equal ones the lowest number first."""
    return sorted((b for b in bids if bids[b] >= reserve), key=lambda bidder: (-bids[bidder], bidder))


def shaded(value: float, bidders: int) -> float:
    """What a bidder bids at first price where each expects the others' values uniform from 0 to the highest."""
    return value * (bidders - 1) / bidders if bidders > 1 else 0.0


@dataclass
class English:
    """A price that rises by `increment` while more than one bidder stays.

    `step` takes who stays at the present price and raises it, until one is left or none. If all that are left leave
    at once, the lowest of them has it at the price before.
    """

    bidders: list[int]
    increment: float
    price: float = 0.0
    """The reserve at first, then what is asked."""
    rounds: int = 0
    messages: int = 0
    sold: Sold | None = field(default=None)
    _before: float | None = None
    """The last price that somebody agreed to; None before the first."""

    def __post_init__(self) -> None:
        if not self.increment > 0:
            raise ConfigurationError(f"increment: {self.increment} is not above 0. Give one that is.")
        self.bidders = sorted(self.bidders)

    def step(self, staying: list[int]) -> None:
        """The bidders among those left that agree to the present price."""
        assert self.sold is None, "the sale is over"
        self.rounds += 1
        self.messages += 2 * len(self.bidders)
        present = set(staying)
        left = [bidder for bidder in self.bidders if bidder in present]
        if len(left) > 1 and self.rounds < MOST_STEPS:
            self.bidders, self._before = left, self.price
            self.price += self.increment
        elif left:
            self._end(left[0], self.price)
        elif self._before is None:
            self._end(None, 0.0)
        else:
            self._end(self.bidders[0], self._before)

    def _end(self, winner: int | None, price: float) -> None:
        self.sold = Sold(winner, price, self.rounds, self.messages + (winner is not None))


@dataclass
class Dutch:
    """A price that falls from `price` by `decrement` until somebody calls, or it is below the reserve."""

    bidders: list[int]
    price: float
    decrement: float
    reserve: float = 0.0
    rounds: int = 0
    sold: Sold | None = field(default=None)

    def __post_init__(self) -> None:
        if not self.decrement > 0 or self.price / self.decrement > MOST_STEPS:
            raise ConfigurationError(
                f"decrement: {self.decrement} is not above 0, or needs over {MOST_STEPS:,} steps. Give a larger one."
            )

    def step(self, calling: list[int]) -> None:
        """The bidders that call at the present price; the lowest number was first."""
        assert self.sold is None, "the sale is over"
        self.rounds += 1
        messages = self.rounds * len(self.bidders) + len(calling)
        if calling:
            self.sold = Sold(min(calling), self.price, self.rounds, messages + 1)
        elif self.price <= self.reserve:
            self.sold = Sold(None, 0.0, self.rounds, messages)
        else:
            self.price = max(self.reserve, self.price - self.decrement)


def english(values: Mapping[int, float], increment: float, reserve: float = 0.0) -> Sold:
    """The sale among bidders that stay up to their values."""
    sale = English(list(values), increment, reserve)
    while sale.sold is None:
        sale.step([bidder for bidder in sale.bidders if values[bidder] >= sale.price])
    return sale.sold


def dutch(values: Mapping[int, float], price: float, decrement: float, reserve: float = 0.0) -> Sold:
    """The sale, from a price on, among bidders that call as soon as the price is at most their values."""
    sale = Dutch(list(values), price, decrement, reserve)
    while sale.sold is None:
        sale.step([bidder for bidder in values if values[bidder] >= sale.price])
    return sale.sold
