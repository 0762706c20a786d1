"""Rules for numbers and vectors: the mean, the median, the trimmed mean, each by coordinate.

Rules:
* The median is by weight: half of it lies on either side. Where exactly half lies below a point, it is the middle
  between this and the next, as usual. It stays among the honest values while liars have less than half of the weight.
* The trimmed mean leaves out the f least and the f greatest values of each coordinate, and takes the weighted mean of
  the rest. Of n > 2f ballots it stays among the honest values if at most f lie (Yin, Chen, Ramchandran and Bartlett,
  "Byzantine-robust distributed learning", 2018).
* For vectors both hold coordinate by coordinate: within the box around the honest points, not within their hull.
* The mean is the baseline: one liar moves it anywhere.
* No result depends on the order of the ballots.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import fsum

import numpy as np
from numpy.typing import NDArray

from actors.errors import ConfigurationError
from coordination.voting.ballot import Ballot, Number, Vector, check_ballots
from coordination.voting.tally import Turnout, turnout_of, whole

Points = NDArray[np.float64]
"""Shape (ballots, dimensions)."""


@dataclass(frozen=True)
class Estimate:
    """The result of a vote on a number or a point."""

    rule: str
    value: float | tuple[float, ...] | None
    """A number if the ballots hold numbers, else a point; None if there is no result."""
    turnout: Turnout
    quorum_met: bool
    ballots: tuple[Ballot, ...]
    kept: tuple[str, ...] = ()
    """The voters whose ballots the result was made of, where a rule chooses among them."""
    reason: str = ""
    """Why there is no result."""
    trail: tuple[str, ...] = ()
    """The steps of the count, for people."""
    weights: tuple[float, ...] = ()
    """What each ballot counted, if not its own weight."""


Estimator = Callable[[Sequence[Ballot]], Estimate]
"""A rule for numbers or vectors. One's own is one function; `estimate_of` does the rest."""


def mean(ballots: Sequence[Ballot]) -> Estimate:
    """The weighted mean, by coordinate."""
    return estimate_of("mean", ballots, _mean)


def median(ballots: Sequence[Ballot]) -> Estimate:
    """The weighted median, by coordinate."""
    return estimate_of("median", ballots, medians)


@dataclass(frozen=True)
class TrimmedMean:
    """The rule: the mean without the f least and the f greatest. See `trimmed_mean`."""

    f: int

    def __call__(self, ballots: Sequence[Ballot]) -> Estimate:
        """Raises `ConfigurationError` unless there are more than 2f ballots with a weight."""
        return estimate_of("trimmed_mean", ballots, self._trimmed)

    def _trimmed(self, points: Points, weights: list[int]) -> list[float]:
        n = len(points)
        if n <= 2 * self.f:
            raise ConfigurationError(
                f"trimmed mean: {n} ballots leave nothing after {self.f} at each end. Give at least {2 * self.f + 1}."
            )
        result = []
        for column in points.T:
            order = sorted(range(n), key=lambda index: (column[index], weights[index]))
            inner = order[self.f : n - self.f]
            result.append(_mean_of([float(column[i]) for i in inner], [weights[i] for i in inner]))
        return result


def trimmed_mean(f: int) -> TrimmedMean:
    """The mean without the f least and the f greatest values, by coordinate: withstands f liars of n > 2f."""
    check_faults(f, "trimmed mean")
    return TrimmedMean(f)


def check_faults(f: int, rule: str) -> None:
    """Raises `ConfigurationError` unless f is a number of liars."""
    if isinstance(f, bool) or not isinstance(f, int) or f < 0:
        raise ConfigurationError(f"{rule}: f is {f!r}. Give the number of liars to withstand, 0 or more.")


def estimate_of(
    rule: str,
    ballots: Sequence[Ballot],
    of_points: Callable[[Points, list[int]], Sequence[float]],
    *,
    kept: Callable[[Sequence[str]], Sequence[str]] | None = None,
    trail: Sequence[str] = (),
) -> Estimate:
    """The estimate of a rule, given as a function of points and integer weights (in proportion, none of them 0).

    The points come sorted, so that the result depends on no order. `kept` picks the voters whom the result was made
    of, from all voters in the order of the points.
    """
    check_ballots(ballots)
    voters, points, weights = _points_of(ballots)
    turnout = turnout_of(ballots)
    if not voters:
        return Estimate(rule, None, turnout, True, tuple(ballots), reason="nobody voted")
    found = tuple(float(value) for value in of_points(points, weights))
    is_number = any(isinstance(ballot.vote, Number) for ballot in ballots)
    value = found[0] if is_number else found
    chosen = tuple(kept(voters)) if kept else ()
    return Estimate(rule, value, turnout, True, tuple(ballots), kept=chosen, trail=tuple(trail))


def medians(points: Points, weights: list[int]) -> list[float]:
    """The weighted median of each coordinate."""
    return [_median_of([float(value) for value in column], weights) for column in points.T]


def _mean(points: Points, weights: list[int]) -> list[float]:
    return [_mean_of([float(value) for value in column], weights) for column in points.T]


def _mean_of(values: Sequence[float], weights: Sequence[int]) -> float:
    whole_weight = sum(weights)
    found = fsum(value * (weight / whole_weight) for value, weight in zip(values, weights, strict=True))
    return min(max(found, min(values)), max(values))  # rounding must not lead out of the values


def _median_of(values: Sequence[float], weights: Sequence[int]) -> float:
    whole_weight = sum(weights)
    below = 0
    pairs = sorted(zip(values, weights, strict=True))
    for index, (value, weight) in enumerate(pairs):
        below += weight
        if 2 * below == whole_weight:
            return value / 2 + pairs[index + 1][0] / 2
        if 2 * below > whole_weight:
            return value
    raise AssertionError("weights are positive, so half of them is reached")


def _points_of(ballots: Sequence[Ballot]) -> tuple[list[str], Points, list[int]]:
    rows: list[tuple[tuple[float, ...], float, str]] = []
    kinds: set[type] = set()
    for ballot in ballots:
        vote = ballot.vote
        if ballot.abstains:
            continue
        if not isinstance(vote, Number | Vector):
            raise ConfigurationError(
                f"{ballot.voter[:40]!r} casts a {type(vote).__name__}; this rule needs a Number or a Vector."
            )
        kinds.add(type(vote))
        values = (float(vote.value),) if isinstance(vote, Number) else tuple(map(float, vote.values))
        if ballot.weight > 0:
            rows.append((values, ballot.weight, ballot.voter))
    if len(kinds) > 1 or len({len(values) for values, _, _ in rows}) > 1:
        raise ConfigurationError(
            "some ballots hold numbers, or vectors of another dimension, than others. Sort them."
        )
    rows.sort()
    weights, _ = whole([weight for _, weight, _ in rows])
    return [voter for _, _, voter in rows], np.array([values for values, _, _ in rows]), weights
