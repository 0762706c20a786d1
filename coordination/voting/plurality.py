"""Rules that look at first places alone: plurality, majority and supermajority, unanimity.

Rules:
* The first place of a ballot with several candidates level at the top is shared out equally among them.
* Abstentions are not in the base of a share: of ten voters with four abstentions, four are a majority.
* Majority asks for more than half, a supermajority for at least its share; both are exact. Nobody wins otherwise.
* Unanimity asks every ballot with a weight to have the winner alone at the top.

Source: May, "A set of independent necessary and sufficient conditions for simple majority decision", 1952.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

from actors.errors import ConfigurationError
from coordination.voting.ballot import Ballot
from coordination.voting.profile import first_places, points_of
from coordination.voting.tally import Breaker, Tally, exact, tally_of, whole


def plurality(ballots: Sequence[Ballot], candidates: Sequence[str], rng: Breaker) -> Tally:
    """The most first places win. Scores are first places."""
    return tally_of("plurality", ballots, candidates, _firsts(ballots, candidates), rng)


def majority(ballots: Sequence[Ballot], candidates: Sequence[str], rng: Breaker) -> Tally:
    """More than half of the first places win. Scores are first places."""
    firsts = _firsts(ballots, candidates)
    half = _cast(ballots) / 2
    winners = [name for name in candidates if firsts[name] > half]
    reason = _lacking(firsts, candidates, "more than half", half)
    return tally_of("majority", ballots, candidates, firsts, rng, winners=winners, reason=reason)


@dataclass(frozen=True)
class Supermajority:
    """The rule: at least this share of the first places wins. See `supermajority`."""

    share: Fraction

    def __call__(self, ballots: Sequence[Ballot], candidates: Sequence[str], rng: Breaker) -> Tally:
        """Scores are first places."""
        firsts = _firsts(ballots, candidates)
        bound = self.share * _cast(ballots)
        winners = [name for name in candidates if firsts[name] >= bound]
        reason = _lacking(firsts, candidates, f"the share of {self.share}", bound)
        return tally_of("supermajority", ballots, candidates, firsts, rng, winners=winners, reason=reason)


def supermajority(share: Fraction | float = Fraction(2, 3)) -> Supermajority:
    """The rule that asks for at least `share` of the first places, over half and at most 1; by default two thirds."""
    wanted = share if isinstance(share, Fraction) else exact(share)
    if not Fraction(1, 2) < wanted <= 1:
        raise ConfigurationError(
            f"a supermajority of {share} is none. Give more than 1/2 and at most 1; for half there is `majority`."
        )
    return Supermajority(wanted)


def unanimity(ballots: Sequence[Ballot], candidates: Sequence[str], rng: Breaker) -> Tally:
    """The one whom all put first wins. Scores are first places."""
    firsts = _firsts(ballots, candidates)
    bound = _cast(ballots)
    winners = [name for name in candidates if firsts[name] == bound]
    reason = _lacking(firsts, candidates, "all first places", bound)
    return tally_of("unanimity", ballots, candidates, firsts, rng, winners=winners, reason=reason)


def _firsts(ballots: Sequence[Ballot], candidates: Sequence[str]) -> dict[str, Fraction]:
    return points_of(ballots, candidates, first_places)


def _cast(ballots: Sequence[Ballot]) -> Fraction:
    weights, scale = whole([ballot.weight for ballot in ballots if not ballot.abstains])
    return Fraction(sum(weights), scale)


def _lacking(firsts: Mapping[str, Fraction], candidates: Sequence[str], needed: str, bound: Fraction) -> str:
    best = max(candidates, key=firsts.__getitem__)
    return f"nobody has {needed}: {best[:40]!r} has {float(firsts[best]):g}, the bound is {float(bound):g}"
