"""Ballots as a rule reads them: who is first, who is approved, who stands above whom.

Rules:
* A vote is read for less than it says, never for more: a choice is a ranking of one, an approval a ranking of two
  tiers, scores a ranking by score. A ranking names no approvals and no scores, and is refused where they are needed.
* Equal votes are counted once with their weights added, so the work grows with the different votes.
* Weights are whole multiples of 1/scale and added as integers, exactly.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

from actors.errors import ConfigurationError
from coordination.voting.ballot import (
    Abstention,
    Approval,
    Ballot,
    Choice,
    Number,
    Ranking,
    Scores,
    Vector,
    Vote,
)
from coordination.voting.tally import Exact, check_count, exact, whole

Ranks = tuple[int, ...]
"""The tier of each candidate on a ballot, 0 for the best."""
RANKED_LIMIT = 250
"""Candidates at most where a rule compares each with each."""
RANKS_LIMIT = 20_000_000
"""Candidates times different ballots at most, some 8 bytes each."""
_INT64_BITS = 62
_CHUNK_ENTRIES = 4_000_000


@dataclass(frozen=True)
class Profile:
    """Different votes with the weight of each, in place of many ballots."""

    candidates: tuple[str, ...]
    ranks: tuple[Ranks, ...]
    weights: tuple[int, ...]
    """Of each entry of `ranks`, in multiples of 1/scale."""
    scale: int

    def supports(self) -> list[list[int]]:
        """Entry [a][b] is the weight of the ballots that put a above b, in multiples of 1/scale."""
        size = len(self.candidates)
        exact_int64 = sum(self.weights).bit_length() <= _INT64_BITS
        kind: Any = np.int64 if exact_int64 else object
        total = np.zeros((size, size), dtype=kind)
        step = max(1, _CHUNK_ENTRIES // size**2)
        for start in range(0, len(self.ranks), step):
            ranks = np.array(self.ranks[start : start + step], dtype=np.int32)
            weights = np.array(self.weights[start : start + step], dtype=kind)
            above = ranks[:, :, None] < ranks[:, None, :]
            total += (above * weights[:, None, None]).sum(axis=0)
        return [[int(entry) for entry in row] for row in total.tolist()]

    def margins(self) -> list[list[int]]:
        """Entry [a][b] is the weight that puts a above b, less that which puts b above a."""
        supports = self.supports()
        indices = range(len(supports))
        return [[supports[a][b] - supports[b][a] for b in indices] for a in indices]


def profile_of(ballots: Sequence[Ballot], candidates: Sequence[str]) -> Profile:
    """The ballots as rankings. Raises `ConfigurationError` for votes that are none, or for an unknown candidate."""
    check_count(ballots, candidates)
    if len(candidates) > RANKED_LIMIT or len(candidates) * len(ballots) > RANKS_LIMIT:
        raise ConfigurationError(
            f"{len(candidates):,} candidates on {len(ballots):,} ballots are too many to compare. Give at most "
            f"{RANKED_LIMIT:,} candidates and {RANKS_LIMIT:,} of both multiplied, or use `plurality` or `approval`."
        )
    place = {name: index for index, name in enumerate(candidates)}
    cast = [ballot for ballot in ballots if not ballot.abstains]
    weights, scale = whole([ballot.weight for ballot in cast])
    grouped: dict[Ranks, int] = {}
    for ballot, weight in zip(cast, weights, strict=True):
        ranks = [len(candidates)] * len(candidates)
        for tier, names in enumerate(_tiers(ballot)):
            for name in names:
                ranks[_index(place, name, ballot)] = tier
        key = tuple(ranks)
        grouped[key] = grouped.get(key, 0) + weight
    return Profile(tuple(candidates), tuple(grouped), tuple(grouped.values()), scale)


def points_of(
    ballots: Sequence[Ballot],
    candidates: Sequence[str],
    read: Callable[[Ballot], Sequence[tuple[str, Exact]]],
) -> dict[str, Fraction]:
    """The sum, by candidate, of what each ballot gives it (`read`) times the ballot's weight."""
    check_count(ballots, candidates)
    place = {name: index for index, name in enumerate(candidates)}
    points: dict[str, Exact] = dict.fromkeys(candidates, 0)
    cast = [ballot for ballot in ballots if not ballot.abstains]
    weights, scale = whole([ballot.weight for ballot in cast])
    for ballot, weight in zip(cast, weights, strict=True):
        for name, value in read(ballot):
            _index(place, name, ballot)
            points[name] += weight * value
    return {name: Fraction(total) / scale for name, total in points.items()}


def first_places(ballot: Ballot) -> list[tuple[str, Exact]]:
    """One in all for the candidates at the top, in equal shares; none if it names nobody."""
    top = next(iter(_tiers(ballot)), ())
    return [(top[0], 1)] if len(top) == 1 else [(name, Fraction(1, len(top))) for name in top]


def approved(ballot: Ballot) -> list[tuple[str, Exact]]:
    """One for each candidate that it approves of, or chooses."""
    vote = ballot.vote
    if isinstance(vote, Choice):
        return [(vote.candidate, 1)]
    if isinstance(vote, Approval):
        return [(name, 1) for name in vote.candidates]
    raise _unfit(ballot, "an approval or a choice")


def scored(ballot: Ballot) -> list[tuple[str, Exact]]:
    """The scores that it gives."""
    if isinstance(ballot.vote, Scores):
        return [(name, exact(value)) for name, value in ballot.vote.values.items()]
    raise _unfit(ballot, "scores")


def names_in(vote: Vote) -> Iterator[str]:
    """The candidates that a vote names."""
    if isinstance(vote, Choice):
        yield vote.candidate
    elif isinstance(vote, Approval):
        yield from vote.candidates
    elif isinstance(vote, Scores):
        yield from vote.values
    elif isinstance(vote, Ranking):
        for tier in vote.tiers:
            yield from tier


def candidates_of(ballots: Sequence[Ballot]) -> tuple[str, ...]:
    """All that the ballots name, in the order of their names."""
    return tuple(sorted({name for ballot in ballots for name in names_in(ballot.vote)}))


def _tiers(ballot: Ballot) -> Sequence[Sequence[str]]:
    vote = ballot.vote
    if isinstance(vote, Choice):
        return ((vote.candidate,),)
    if isinstance(vote, Ranking):
        return vote.tiers
    if isinstance(vote, Approval):
        return (vote.candidates,) if vote.candidates else ()
    if isinstance(vote, Scores):
        levels = sorted(set(vote.values.values()), reverse=True)
        return [[name for name, value in vote.values.items() if value == level] for level in levels]
    raise _unfit(ballot, "a choice, an approval, scores or a ranking")


def _index(place: dict[str, int], name: str, ballot: Ballot) -> int:
    if name not in place:
        raise ConfigurationError(
            f"{ballot.voter[:40]!r} votes for {name[:40]!r}, which is no candidate. "
            f"There are: {', '.join(repr(known[:40]) for known in list(place)[:10])}."
        )
    return place[name]


def _unfit(ballot: Ballot, needed: str) -> ConfigurationError:
    assert not isinstance(ballot.vote, Abstention)
    hint = " Use a rule for numbers." if isinstance(ballot.vote, Number | Vector) else ""
    return ConfigurationError(
        f"{ballot.voter[:40]!r} casts a {type(ballot.vote).__name__}; this rule needs {needed}.{hint}"
    )
