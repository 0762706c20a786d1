"""Krum: the vector nearest to its n - f - 2 nearest neighbours, and the mean of the m best.

Rules:
* Of n vectors of which f may be anything, n >= 2f + 3, each has for its score the sum of the squared distances to its
  n - f - 2 nearest others. Krum is the one with the least score; multi-Krum with m is the mean of the m least, 1 <= m
  <= n - f - 2 (Blanchard, El Mhamdi, Guerraoui and Stainer, "Machine learning with adversaries", 2017; the bound on m
  is from El Mhamdi, Guerraoui and Rouault 2018).
* Equal scores are parted by the vectors' values, coordinate by coordinate, so no order of ballots matters.
* It counts vectors, not weights, and refuses unequal ones: f liars are f ballots.

Cost: n^2 distances of d coordinates.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import fsum

import numpy as np

from actors.errors import ConfigurationError
from coordination.voting.ballot import Ballot
from coordination.voting.estimate import Estimate, Points, check_faults, estimate_of

KRUM_LIMIT = 5_000
"""Ballots at most: all distances between them are kept."""


@dataclass(frozen=True)
class Krum:
    """The rule: the mean of the m vectors with the nearest neighbours. See `krum` and `multi_krum`."""

    f: int
    m: int = 1

    def __call__(self, ballots: Sequence[Ballot]) -> Estimate:
        """Raises `ConfigurationError` if there are too few ballots for f, or unequal weights."""
        chosen: list[int] = []

        def of_points(points: Points, weights: list[int]) -> Sequence[float]:
            self._check(len(points), weights)
            chosen.extend(self._chosen(points))
            best: Points = points[chosen].mean(axis=0)
            return list(map(float, best))

        name = "krum" if self.m == 1 else "multi_krum"
        return estimate_of(name, ballots, of_points, kept=lambda voters: sorted(voters[i] for i in chosen))

    def _check(self, n: int, weights: list[int]) -> None:
        if n < 2 * self.f + 3:
            raise ConfigurationError(
                f"krum: {n} ballots cannot withstand {self.f} liars. Give at least {2 * self.f + 3} ballots."
            )
        if self.m > n - self.f - 2:
            raise ConfigurationError(
                f"krum: the mean of {self.m} of {n} ballots is not safe from {self.f} liars. "
                f"Give m of at most {n - self.f - 2}."
            )
        if n > KRUM_LIMIT:
            raise ConfigurationError(f"krum: {n:,} ballots are too many. Give at most {KRUM_LIMIT:,}.")
        if len(set(weights)) > 1:
            raise ConfigurationError(
                "krum: it counts ballots, and they have unequal weights. Leave them at 1."
            )

    def _chosen(self, points: Points) -> list[int]:
        """The m vectors with the least scores, the best first. The points come sorted, which parts equal scores."""
        nearest = len(points) - self.f - 2
        scores = []
        for point in points:
            squares = np.sort(np.square(points - point).sum(axis=1))
            scores.append(fsum(squares[1 : nearest + 1]))  # the first is the distance to itself: 0
        return sorted(range(len(points)), key=scores.__getitem__)[: self.m]


def krum(f: int) -> Krum:
    """The vector with the nearest neighbours: withstands f liars of n >= 2f + 3."""
    return multi_krum(f, 1)


def multi_krum(f: int, m: int) -> Krum:
    """The mean of the m vectors with the nearest neighbours."""
    check_faults(f, "krum")
    if isinstance(m, bool) or not isinstance(m, int) or m < 1:
        raise ConfigurationError(f"krum: m is {m!r}. Give how many vectors to take the mean of, 1 or more.")
    return Krum(f, m)
