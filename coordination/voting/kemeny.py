"""Kemeny: the ranking that disagrees least with the ballots, exactly.

Rules:
* A ranking disagrees with a ballot once for each pair that the two order oppositely, times the ballot's weight; a
  ballot on which the pair is level disagrees with neither order.
* `winners` head some ranking with the least disagreement. The search goes over sets of candidates (Held and Karp's
  programme): m 2^m steps, so there is a limit of candidates. Deciding it is NP-hard already for four ballots (Dwork,
  Kumar, Naor and Sivakumar, "Rank aggregation methods for the web", 2001).

Source: Kemeny, "Mathematics without numbers", 1959; Young and Levenglick, 1978.
"""

from collections.abc import Sequence

from actors.errors import ConfigurationError
from coordination.voting.ballot import Ballot
from coordination.voting.profile import profile_of
from coordination.voting.tally import Breaker, Draw, Tally, tally_of

KEMENY_LIMIT = 14
"""Candidates at most."""


def kemeny(ballots: Sequence[Ballot], candidates: Sequence[str], rng: Breaker) -> Tally:
    """Who heads a ranking that disagrees least wins. Scores are 0 less the disagreement of the best that one heads.

    Raises `ConfigurationError` for more than `KEMENY_LIMIT` candidates.
    """
    size = len(candidates)
    if size > KEMENY_LIMIT:
        raise ConfigurationError(
            f"kemeny: {size} candidates are too many to count exactly. Give at most {KEMENY_LIMIT}, or use "
            "`ranked_pairs` or `schulze`, which take time that grows with the cube of their number."
        )
    profile = profile_of(ballots, candidates)
    against = _against(profile.supports())
    least = _least(against)
    everybody = 2**size - 1
    totals = [against[c][everybody] + least[everybody ^ 1 << c] for c in range(size)]
    winners = [name for name, total in zip(candidates, totals, strict=True) if total == least[everybody]]
    scores = {name: -total / profile.scale for name, total in zip(candidates, totals, strict=True)}
    draw = Draw(candidates, rng)
    best = " > ".join(candidates[c] for c in _ranking(against, least))
    trail = [f"one of the rankings that disagree least: {best}"]
    return tally_of("kemeny", ballots, candidates, scores, draw, winners=winners, trail=trail)


def _against(supports: list[list[int]]) -> list[list[int]]:
    """Entry [c][set] is the weight of all that puts somebody of the set above c."""
    size = len(supports)
    table = []
    for c in range(size):
        row = [0] * 2**size
        for chosen in range(1, 2**size):
            lowest = chosen & -chosen
            row[chosen] = row[chosen ^ lowest] + supports[lowest.bit_length() - 1][c]
        table.append(row)
    return table


def _least(against: list[list[int]]) -> list[int]:
    """For each set, the least disagreement of a ranking of it: of who is first, and of the rest."""
    size = len(against)
    least = [0] * 2**size
    for chosen in range(1, 2**size):
        least[chosen] = min(
            against[c][chosen] + least[chosen ^ 1 << c] for c in range(size) if chosen >> c & 1
        )
    return least


def _ranking(against: list[list[int]], least: list[int]) -> list[int]:
    """A ranking with the least disagreement: of equal ones, that which takes candidates as they stand."""
    order = []
    chosen = len(least) - 1
    while chosen:
        c = next(
            c
            for c in range(len(against))
            if chosen >> c & 1 and least[chosen] == against[c][chosen] + least[chosen ^ 1 << c]
        )
        order.append(c)
        chosen ^= 1 << c
    return order
