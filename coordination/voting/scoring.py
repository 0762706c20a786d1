"""Rules that add up points: approval, score, Borda.

Rules:
* Approval: one point from each ballot that approves (Brams and Fishburn, "Approval voting", 1978). Takes approvals
  and choices.
* Score: the sum of the scores; who is not scored gets 0. Takes scores.
* Borda, in its symmetric form: from each ballot a point for each candidate below, half a point for each that is
  level. On complete rankings this is Borda's count of 1784. On others it is the form that keeps the sum of points
  constant, so that leaving candidates out neither helps nor harms the first (Terzopoulou and Endriss, "The Borda
  class", 2021).
"""

from collections.abc import Sequence
from fractions import Fraction

from coordination.voting.ballot import Ballot
from coordination.voting.profile import approved, points_of, profile_of, scored
from coordination.voting.tally import Breaker, Tally, tally_of


def approval(ballots: Sequence[Ballot], candidates: Sequence[str], rng: Breaker) -> Tally:
    """The most approvals win. Scores are approvals."""
    return tally_of("approval", ballots, candidates, points_of(ballots, candidates, approved), rng)


def score(ballots: Sequence[Ballot], candidates: Sequence[str], rng: Breaker) -> Tally:
    """The greatest sum of scores wins. Scores are these sums."""
    return tally_of("score", ballots, candidates, points_of(ballots, candidates, scored), rng)


def borda(ballots: Sequence[Ballot], candidates: Sequence[str], rng: Breaker) -> Tally:
    """The most points win. Scores are Borda points: m - 1 from a ballot that puts one first of m, alone."""
    profile = profile_of(ballots, candidates)
    doubled = [0] * len(candidates)
    for ranks, weight in zip(profile.ranks, profile.weights, strict=True):
        worse = _below(ranks)
        for index, rank in enumerate(ranks):
            doubled[index] += weight * worse[rank]
    scores = {
        name: Fraction(points, 2 * profile.scale) for name, points in zip(candidates, doubled, strict=True)
    }
    return tally_of("borda", ballots, candidates, scores, rng)


def _below(ranks: Sequence[int]) -> dict[int, int]:
    """For each rank on a ballot, twice the candidates below it and once those level with it."""
    sizes: dict[int, int] = {}
    for rank in ranks:
        sizes[rank] = sizes.get(rank, 0) + 1
    below = 0
    points: dict[int, int] = {}
    for rank in sorted(sizes, reverse=True):
        points[rank] = 2 * below + sizes[rank] - 1
        below += sizes[rank]
    return points
