"""Instant run-off: strike out who has the fewest first places, and count again.

Rules:
* It ends when one candidate has more than half of the first places still in play, or two are left. A ballot that names
  none of those left is exhausted and leaves the base.
* Candidates without any first place go out together: that changes no first place of another.
* Of several with the fewest, the one that stands last in the drawn order goes. All drawn orders together reach exactly
  the winners under "parallel universes" (Conitzer, Rognlie and Xia, 2009).
* A ballot with several level at the top is shared out among them ("Split-IRV" in Delemazure and Peters, "Generalizing
  instant runoff voting to allow for indifferences", 2024).
"""

from collections.abc import Sequence
from fractions import Fraction

from coordination.voting.ballot import Ballot
from coordination.voting.profile import Profile, profile_of
from coordination.voting.tally import Breaker, Draw, Exact, Tally, tally_of


def instant_runoff(ballots: Sequence[Ballot], candidates: Sequence[str], rng: Breaker) -> Tally:
    """Who has more than half after the weakest went wins. Scores are first places in one's last round."""
    profile = profile_of(ballots, candidates)
    draw = Draw(candidates, rng)
    piles = _Piles(profile)
    scores: dict[str, Fraction] = {}
    trail: list[str] = []
    while True:
        firsts = piles.firsts
        told = {candidates[index]: Fraction(votes) / profile.scale for index, votes in firsts.items()}
        scores |= told
        trail.append(", ".join(f"{name} {float(votes):g}" for name, votes in told.items()))
        best = max(firsts.values())
        if len(firsts) <= 2 or 2 * best > sum(firsts.values()) or best == 0:
            winners = [candidates[index] for index, votes in firsts.items() if votes == best]
            return tally_of("instant_runoff", ballots, candidates, scores, draw, winners=winners, trail=trail)
        out = _weakest(firsts, candidates, draw)
        trail[-1] += f"; out: {', '.join(candidates[index] for index in out)}"
        for index in out:
            piles.strike(index)


class _Piles:
    """The first places as candidates go: only the ballots of who goes are looked at again."""

    def __init__(self, profile: Profile) -> None:
        self._profile = profile
        self.firsts: dict[int, Exact] = dict.fromkeys(range(len(profile.candidates)), 0)
        """Of each candidate left, the weight of its first places, in multiples of 1/scale."""
        self._piles: dict[int, dict[int, None]] = {index: {} for index in self.firsts}
        self._tops: list[list[int]] = [[] for _ in profile.ranks]
        for ballot in range(len(profile.ranks)):
            self._place(ballot)

    def strike(self, candidate: int) -> None:
        """Takes a candidate out, and passes its ballots on."""
        del self.firsts[candidate]
        for ballot in self._piles.pop(candidate):
            others = [index for index in self._tops[ballot] if index != candidate]
            for index in others:
                self.firsts[index] -= self._share(ballot)
            self._place(ballot)

    def _place(self, ballot: int) -> None:
        ranks = self._profile.ranks[ballot]
        best = min((ranks[index] for index in self.firsts), default=len(ranks))
        self._tops[ballot] = [index for index in self.firsts if ranks[index] == best < len(ranks)]
        for index in self._tops[ballot]:
            self.firsts[index] += self._share(ballot)
            self._piles[index][ballot] = None

    def _share(self, ballot: int) -> Exact:
        weight, size = self._profile.weights[ballot], len(self._tops[ballot])
        return weight if size == 1 else Fraction(weight, size)


def _weakest(firsts: dict[int, Exact], candidates: Sequence[str], draw: Draw) -> list[int]:
    fewest = min(firsts.values())
    tied = [index for index, votes in firsts.items() if votes == fewest]
    if fewest == 0 or len(tied) == 1:
        return tied
    last = draw.last([candidates[index] for index in tied])
    return [index for index in tied if candidates[index] == last]
