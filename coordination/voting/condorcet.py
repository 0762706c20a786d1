"""Rules on pairwise majorities: the Condorcet winner, Copeland, minimax, Schulze.

Rules:
* Everything follows from the margins: the weight that puts a above b, less that which puts b above a. So a ballot
  that has both level says nothing of the two.
* Each elects the Condorcet winner, who beats every other candidate, if there is one.

Sources: Copeland 1951; Simpson 1969 and Kramer 1977 (minimax, by margins); Schulze, "A new monotonic,
clone-independent, reversal symmetric, and Condorcet-consistent single-winner election method", 2011. Schulze measures
the strength of a path by winning votes; here it is margins, which is the same where all rankings are complete.
"""

from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import numpy as np

from coordination.voting.ballot import Ballot
from coordination.voting.profile import profile_of
from coordination.voting.tally import Breaker, Tally, tally_of

_INT64_BITS = 62


def condorcet_winner(ballots: Sequence[Ballot], candidates: Sequence[str]) -> str | None:
    """The candidate that beats every other one; None if there is none."""
    margins = profile_of(ballots, candidates).margins()
    for index, name in enumerate(candidates):
        if all(margin > 0 for other, margin in enumerate(margins[index]) if other != index):
            return name
    return None


def copeland(ballots: Sequence[Ballot], candidates: Sequence[str], rng: Breaker) -> Tally:
    """The most duels won wins. Scores are duels won, and half of those that are even."""
    margins = profile_of(ballots, candidates).margins()
    scores = {
        name: Fraction(
            sum(2 * (margin > 0) + (margin == 0) for b, margin in enumerate(margins[a]) if b != a), 2
        )
        for a, name in enumerate(candidates)
    }
    return tally_of("copeland", ballots, candidates, scores, rng)


def minimax(ballots: Sequence[Ballot], candidates: Sequence[str], rng: Breaker) -> Tally:
    """The least bad worst duel wins. Scores are margins in the worst duel, 0 for one who is alone."""
    profile = profile_of(ballots, candidates)
    margins = profile.margins()
    scores = {
        name: Fraction(min((m for b, m in enumerate(margins[a]) if b != a), default=0), profile.scale)
        for a, name in enumerate(candidates)
    }
    return tally_of("minimax", ballots, candidates, scores, rng)


def schulze(ballots: Sequence[Ballot], candidates: Sequence[str], rng: Breaker) -> Tally:
    """Who is beaten by nobody along strongest paths wins. Scores are 0 less those by whom one is beaten."""
    strengths = _strongest_paths(profile_of(ballots, candidates).margins())
    indices = range(len(candidates))
    scores = {
        name: float(-sum(strengths[b][a] > strengths[a][b] for b in indices))
        for a, name in enumerate(candidates)
    }
    winners = [name for name in candidates if scores[name] == 0]
    return tally_of("schulze", ballots, candidates, scores, rng, winners=winners)


def _strongest_paths(margins: list[list[int]]) -> list[list[int]]:
    """Entry [a][b] is the greatest margin that some path of wins from a to b has at its weakest; 0 without one."""
    greatest = max(map(max, margins))
    kind: Any = np.int64 if greatest.bit_length() <= _INT64_BITS else object
    strength = np.maximum(np.array(margins, dtype=kind), 0)
    for through in range(len(margins)):
        detour = np.minimum(strength[:, through, None], strength[None, through, :])
        np.maximum(strength, detour, out=strength)
    paths: list[list[int]] = strength.tolist()
    return paths
