"""Bids of several criteria: quality, price, latency, and the bidder's reputation.

Che, "Design competition through multidimensional auctions", RAND Journal of Economics 24 (1993): the buyer announces a
scoring rule, and the bid with the highest score wins. Here it is a weighted sum. `pareto` gives the bids that no other
beats in one criterion and equals in the rest, for a person or another rule to choose from; with all weights above 0 the
highest sum is one of them.

A reputation is the mean of a beta distribution over past outcomes (Josang and Ismail, "The beta reputation system",
2002): (good + 1) / (good + bad + 2), 1/2 for a stranger. Each new outcome first shrinks the old ones by `memory`, so a
bidder that turns bad is found out, and one that mends is forgiven, after about 1 / (1 - memory) outcomes.

Rules: criteria are scaled over the offers at hand to 0..1, 1 being best; where all are equal each counts 1. Ties go to
the first bidder in order of name. Price and latency are costs; a lie about quality is seen in the outcome alone.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from actors.errors import ConfigurationError


@dataclass(frozen=True)
class Offer:
    """What a bidder promises."""

    quality: float = 0.0
    """More is better; any unit."""
    price: float = 0.0
    latency: float = 0.0
    """Until it would be done, in the market's unit of time."""


@dataclass(frozen=True)
class Weights:
    """How much each criterion counts; their sum is of no matter."""

    quality: float = 1.0
    price: float = 1.0
    latency: float = 1.0
    reputation: float = 1.0

    def __post_init__(self) -> None:
        values = (self.quality, self.price, self.latency, self.reputation)
        if min(values) < 0 or not sum(values) > 0:
            raise ConfigurationError(f"weights: {values} must be 0 or more, and one of them above 0.")


@dataclass
class Reputation:
    """The record of one bidder."""

    good: float = 0.0
    bad: float = 0.0

    @property
    def mean(self) -> float:
        """What is expected of it, 0 to 1."""
        return (self.good + 1.0) / (self.good + self.bad + 2.0)

    def update(self, outcome: float, memory: float = 0.95) -> None:
        """Takes note of an outcome: 1 is all that was promised, 0 nothing."""
        if not (0.0 <= outcome <= 1.0 and 0.0 <= memory <= 1.0):
            raise ConfigurationError(f"reputation: outcome {outcome} and memory {memory} are shares, 0 to 1.")
        self.good = self.good * memory + outcome
        self.bad = self.bad * memory + (1.0 - outcome)


@dataclass
class Reputations:
    """The records of all bidders, by name."""

    memory: float = 0.95
    of: dict[str, Reputation] = field(default_factory=dict)

    def mean(self, bidder: str) -> float:
        """What is expected of a bidder; 1/2 of a stranger."""
        known = self.of.get(bidder)
        return 0.5 if known is None else known.mean

    def update(self, bidder: str, outcome: float) -> None:
        """Takes note of an outcome, from 0 to 1."""
        self.of.setdefault(bidder, Reputation()).update(outcome, self.memory)


def scores(offers: Mapping[str, Offer], reputations: Reputations, weights: Weights) -> dict[str, float]:
    """The weighted sum of each offer's criteria, 0 to 1, in order of name."""
    criteria = _criteria(offers, reputations)
    parts = (weights.quality, weights.price, weights.latency, weights.reputation)
    return {
        name: sum(w * c for w, c in zip(parts, criteria[name], strict=True)) / sum(parts) for name in criteria
    }


def best(offers: Mapping[str, Offer], reputations: Reputations, weights: Weights) -> list[str]:
    """The bidders, highest score first."""
    found = scores(offers, reputations, weights)
    return sorted(found, key=lambda name: (-found[name], name))


def pareto(offers: Mapping[str, Offer], reputations: Reputations) -> list[str]:
    """The bidders that no other beats in one criterion and equals in the rest, in order of name."""
    raw = _raw(offers, reputations)
    return [
        name
        for name, one in raw.items()
        if not any(
            all(a >= b for a, b in zip(other, one, strict=True)) and other != one for other in raw.values()
        )
    ]


def _raw(offers: Mapping[str, Offer], reputations: Reputations) -> dict[str, tuple[float, ...]]:
    return {
        name: (offer.quality, -offer.price, -offer.latency, reputations.mean(name))
        for name, offer in sorted(offers.items())
    }


def _criteria(offers: Mapping[str, Offer], reputations: Reputations) -> dict[str, list[float]]:
    raw = _raw(offers, reputations)
    if not raw:
        return {}
    columns = list(zip(*raw.values(), strict=True))
    low, high = [min(column) for column in columns], [max(column) for column in columns]
    scaled = {
        name: [
            (value - least) / (most - least) if most > least else 1.0
            for value, least, most in zip(values, low, high, strict=True)
        ]
        for name, values in raw.items()
    }
    for name, values in scaled.items():
        values[3] = raw[name][3]  # a reputation is a share already, and means the same in every auction
    return scaled
