"""Ranked pairs: lock in majorities from the greatest to the least, but none that closes a cycle.

Rules:
* Pairs of one margin are locked in together if that closes no cycle: then their order is of no consequence. Else the
  drawn order decides: the pair whose winner stands first in it, then the one whose loser does. Finding all that could
  win under some order of equal pairs is NP-complete (Brill and Fischer, "The price of neutrality for the ranked pairs
  method", 2012), so one order is drawn and kept.
* `winners` are those whom no locked pair beats; even duels lock nothing.

Source: Tideman, "Independence of clones as a criterion for voting rules", 1987.
"""

from collections.abc import Sequence

from coordination.voting.ballot import Ballot
from coordination.voting.profile import profile_of
from coordination.voting.tally import Breaker, Draw, Tally, tally_of

Pair = tuple[int, int]


def ranked_pairs(ballots: Sequence[Ballot], candidates: Sequence[str], rng: Breaker) -> Tally:
    """Who is beaten by no locked pair wins. Scores are 0 less the locked pairs that beat one, paths included."""
    profile = profile_of(ballots, candidates)
    margins = profile.margins()
    draw = Draw(candidates, rng)
    locked = _Locked(len(candidates))
    trail = []
    for margin, pairs in _levels(margins):
        possible = [pair for pair in pairs if not locked.beats(pair[1], pair[0])]
        if not locked.together(possible):
            tied = [name for index, name in enumerate(candidates) if any(index in pair for pair in possible)]
            place = draw.order(tied)
            key = [place[name] for name in candidates]
            possible.sort(key=lambda pair: (key[pair[0]], key[pair[1]]))
        for winner, loser in possible:
            if not locked.beats(loser, winner):
                locked.add(winner, loser)
                trail.append(f"{candidates[winner]} over {candidates[loser]}, {margin / profile.scale:g}")
    scores = {name: float(-locked.beaten_by(index)) for index, name in enumerate(candidates)}
    winners = [name for name in candidates if scores[name] == 0]
    return tally_of("ranked_pairs", ballots, candidates, scores, draw, winners=winners, trail=trail)


class _Locked:
    """Who beats whom by locked pairs, closed under transitivity; a row is a set of candidates as bits."""

    def __init__(self, size: int) -> None:
        self._below = [0] * size

    def beats(self, a: int, b: int) -> bool:
        return bool(self._below[a] >> b & 1)

    def add(self, a: int, b: int) -> None:
        gained = self._below[b] | 1 << b
        for index, below in enumerate(self._below):
            if index == a or below >> a & 1:
                self._below[index] |= gained

    def beaten_by(self, a: int) -> int:
        return sum(below >> a & 1 for below in self._below)

    def together(self, pairs: Sequence[Pair]) -> bool:
        """Whether all of them could be added without closing a cycle."""
        trial = _Locked(0)
        trial._below = list(self._below)
        for a, b in pairs:
            trial.add(a, b)
        return not any(below >> index & 1 for index, below in enumerate(trial._below))


def _levels(margins: list[list[int]]) -> list[tuple[int, list[Pair]]]:
    """The majorities by margin, the greatest first."""
    levels: dict[int, list[Pair]] = {}
    for a, row in enumerate(margins):
        for b, margin in enumerate(row):
            if margin > 0:
                levels.setdefault(margin, []).append((a, b))
    return sorted(levels.items(), reverse=True)
