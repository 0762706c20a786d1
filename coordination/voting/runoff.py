"""Instant run-off: strike out who has the fewest first places, and count again.

Rules:
* It ends when one candidate has more than half of the first places still in play, or two are left. A ballot that
  names none of those left is exhausted and leaves the base.
* Candidates without any first place go out together: that changes no first place of another.
* Of several with the fewest, the one that stands last in the drawn order goes. All drawn orders together reach
  exactly the winners under "parallel universes" (Conitzer, Rognlie and Xia, 2009).
* A ballot with several level at the top is shared out among them ("Split-IRV" in Delemazure and Peters, "Generalizing
  instant runoff voting to allow for indifferences", 2024).
"""

from collections.abc import Sequence
from fractions import Fraction

from coordination.voting.ballot import Ballot
from coordination.voting.profile import Profile, profile_of
from coordination.voting.tally import Breaker, Draw, Exact, Tally, tally_of


def instant_runoff(ballots: Sequence[Ballot], candidates: Sequence[str], rng: Breaker) -> Tally:
    """Who has more than half after the weakest went wins. Scores are first places in the last round that one was in."""
    profile = profile_of(ballots, candidates)
    draw = Draw(candidates, rng)
    left = list(range(len(candidates)))
    scores: dict[str, Exact] = {}
    trail: list[str] = []
    while True:
        firsts = profile.firsts(left)
        scores |= {candidates[index]: Fraction(firsts[index]) / profile.scale for index in left}
        trail.append(_told(profile, firsts))
        best = max(firsts.values())
        if len(left) <= 2 or 2 * best > sum(firsts.values()) or best == 0:
            winners = [candidates[index] for index in left if firsts[index] == best]
            return tally_of("instant_runoff", ballots, candidates, scores, draw, winners=winners, trail=trail)
        out = _weakest(firsts, candidates, draw)
        trail[-1] += f"; out: {', '.join(candidates[index] for index in out)}"
        left = [index for index in left if index not in out]


def _weakest(firsts: dict[int, Exact], candidates: Sequence[str], draw: Draw) -> list[int]:
    fewest = min(firsts.values())
    tied = [index for index, votes in firsts.items() if votes == fewest]
    if fewest == 0 or len(tied) == 1:
        return tied
    last = draw.last([candidates[index] for index in tied])
    return [candidates.index(last)]


def _told(profile: Profile, firsts: dict[int, Exact]) -> str:
    return ", ".join(
        f"{profile.candidates[index]} {float(votes / profile.scale):g}" for index, votes in firsts.items()
    )
