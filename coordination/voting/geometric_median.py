"""The geometric median: the point with the least weighted sum of distances to the ballots.

Rules:
* Weiszfeld's iteration (1937) is the mean with weights w / distance, again and again. Its trap: it divides by zero at
  a ballot, and stops there whether or not the ballot is the answer (Kuhn 1973). So each ballot is first tested for
  being the answer: it is if the pull of all others, sum of w (x - ballot) / |x - ballot|, is no stronger than its own
  weight. If one is, it is returned exactly. Otherwise the step of Vardi and Zhang ("The multivariate L1-median and
  associated data depth", 2000) leads out of any ballot that the iteration meets.
* The iteration ends when the pull at the point is below 1e-12 of the whole weight. If it has not after
  `ITERATIONS_LIMIT`, the point is taken if convexity proves the sum of distances to be within 1e-9 of the least one.
* On a line it is the median, and between two middle ballots the middle, as there.
* While liars have a share a < 1/2 of the weight, it is within 2 (1 - a) / (1 - 2a) times the radius of any ball that
  holds the honest ballots from that ball's centre (Minsker, "Geometric median and robust estimation", 2015).
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from actors.errors import ConfigurationError, SwarmError
from coordination.voting.ballot import Ballot
from coordination.voting.estimate import Estimate, Points, estimate_of, medians

ITERATIONS_LIMIT = 10_000
POINTS_LIMIT = 5_000
"""Different ballots at most: each is compared with each."""
_PULL = 1e-12
_GAP = 1e-9
Array = NDArray[np.float64]


def geometric_median(ballots: Sequence[Ballot]) -> Estimate:
    """The point with the least weighted sum of Euclidean distances to the ballots."""
    return estimate_of("geometric_median", ballots, _found)


def _found(points: Points, weights: list[int]) -> Sequence[float]:
    if points.shape[1] == 1:
        return medians(points, weights)
    different, inverse = np.unique(points, axis=0, return_inverse=True)
    if len(different) > POINTS_LIMIT:
        raise ConfigurationError(
            f"geometric median: {len(different):,} different ballots are too many. Give at most {POINTS_LIMIT:,}, or "
            "use `median`."
        )
    whole = sum(weights)
    share = np.zeros(len(different))
    np.add.at(share, inverse.ravel(), np.array([weight / whole for weight in weights]))
    answers = [index for index in range(len(different)) if _is_answer(different, share, index)]
    if answers:
        chosen: Array = different[answers].mean(axis=0)
        return list(map(float, chosen))
    return list(map(float, _weiszfeld(different, share)))


def _pull(points: Array, share: Array, at: Array) -> tuple[Array, Array, float]:
    """The pull of all points elsewhere on one, the weights w / distance of these, and the weight that lies there."""
    offsets = points - at
    distances = np.linalg.norm(offsets, axis=1)
    here = distances == 0
    rates = np.where(here, 0.0, share / np.where(here, 1.0, distances))
    pull: Array = (rates[:, None] * offsets).sum(axis=0)
    return pull, rates, float(share[here].sum())


def _is_answer(points: Array, share: Array, index: int) -> bool:
    pull, _, here = _pull(points, share, points[index])
    return bool(np.linalg.norm(pull) <= here * (1 + 1e-12))


def _weiszfeld(points: Array, share: Array) -> Array:
    at = np.array(medians(points, [1] * len(points)))
    for _ in range(ITERATIONS_LIMIT):
        pull, rates, here = _pull(points, share, at)
        strength = float(np.linalg.norm(pull))
        if strength <= _PULL:
            return at
        # On a ballot the step is shortened by its own weight, and never zero, since no ballot is the answer.
        at = at + (1 - here / strength) * pull / rates.sum()
    pull, _, _ = _pull(points, share, at)
    distances = np.linalg.norm(points - at, axis=1)
    gap = float(np.linalg.norm(pull)) * 2 * float(distances.max())
    if gap > _GAP * float(share @ distances):
        raise SwarmError(
            f"geometric median: no answer after {ITERATIONS_LIMIT:,} steps; the sum of distances may be {gap:g} too "
            "great. Are the ballots of one scale? Use `median` if not."
        )
    return at
