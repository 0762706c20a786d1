"""The result of a count: who won, by how much, how a tie was broken, and the ballots to count again.

Rules:
* Scores are added exactly: weights and scores are read as the decimals that they print as, so 0.1 + 0.2 ties with
  0.3, and no result depends on the order of the ballots.
* A tie is broken by one order of all candidates, drawn from the caller's generator, and only if there is a tie to
  break. Whoever stands first in it wins; it is kept in the result. A later count takes that order in place of the
  generator and so gives the same result: see `differences`.
* No winner is an answer: nobody voted, no candidate has the share that is asked for, the quorum is missed. `reason`
  says.

A drawn order treats all candidates alike (neutrality), which no fixed one does.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from fractions import Fraction
from math import lcm
from random import Random

from actors.errors import ConfigurationError
from coordination.voting.ballot import Ballot, check_ballots, check_names

Breaker = Random | Sequence[str]
"""What breaks ties: a seeded generator, or the order of candidates that one drew."""


@dataclass(frozen=True)
class TieBreak:
    """How ties were broken."""

    order: tuple[str, ...]
    """All candidates as drawn. Of those that are tied the first one wins, or is the last to be struck out."""
    ties: tuple[tuple[str, ...], ...]
    """Who was tied, for each tie that the order had to part: those within the count first, the one for the win last."""


@dataclass(frozen=True)
class Turnout:
    """Who took part."""

    voted: int
    """Ballots that are no abstentions."""
    abstained: int
    weight: float
    """Of the ballots that are no abstentions."""
    eligible: int | None = None
    """How many could have; None where nobody said."""


@dataclass(frozen=True)
class Tally:
    """The result of a count."""

    rule: str
    candidates: tuple[str, ...]
    winner: str | None
    winners: tuple[str, ...]
    """Those that the rule leaves tied for the win, in the order of `candidates`; none if nobody wins."""
    scores: Mapping[str, float]
    """By candidate; what they count is the rule's own, and the greater is the better."""
    tie_break: TieBreak | None
    turnout: Turnout
    quorum_met: bool
    """True too where no quorum was asked for."""
    ballots: tuple[Ballot, ...]
    reason: str = ""
    """Why nobody wins."""
    trail: tuple[str, ...] = ()
    """The steps of the count, for people."""
    weights: tuple[float, ...] = ()
    """What each ballot counted, if not its own weight: see `Electorate.weighting`."""


Exact = Fraction | int
"""A number without rounding. Integers where they do: they are ten times as fast."""

Rule = Callable[[Sequence[Ballot], Sequence[str], Breaker], Tally]
"""A voting rule: `rule(ballots, candidates, rng)`. One's own is one function; `tally_of` does the rest."""


def exact(value: float) -> Fraction:
    """The decimal that a number prints as."""
    return Fraction(value) if isinstance(value, int) else Fraction(repr(float(value)))


def whole(values: Sequence[float]) -> tuple[list[int], int]:
    """The values as exact multiples of 1/scale, and the scale."""
    if all(value == 1 for value in values):
        return [1] * len(values), 1
    fractions = [exact(value) for value in values]
    scale = lcm(*(fraction.denominator for fraction in fractions)) if fractions else 1
    return [fraction.numerator * (scale // fraction.denominator) for fraction in fractions], scale


def turnout_of(ballots: Sequence[Ballot], eligible: int | None = None) -> Turnout:
    """Who took part in a count."""
    weights = [ballot.weight for ballot in ballots if not ballot.abstains]
    numbers, scale = whole(weights)
    return Turnout(len(weights), len(ballots) - len(weights), float(Fraction(sum(numbers), scale)), eligible)


class Draw:
    """The order that breaks a count's ties: drawn when the first tie is met, and kept with all ties that it parted."""

    def __init__(self, candidates: Sequence[str], rng: Breaker) -> None:
        if not isinstance(rng, Random | Sequence) or isinstance(rng, str):
            raise ConfigurationError(f"{rng!r} breaks no ties. Give a seeded generator: random.Random(1).")
        self._candidates = candidates
        self._rng = rng
        self._order: list[str] = []
        self._ties: list[tuple[str, ...]] = []

    def order(self, tied: Sequence[str]) -> dict[str, int]:
        """The place of each candidate in the order, 0 for the first. `tied` are those it is needed for."""
        self._ties.append(tuple(tied))
        if not self._order:
            self._order = list(self._candidates if isinstance(self._rng, Random) else self._rng)
            if isinstance(self._rng, Random):
                self._rng.shuffle(self._order)
            elif sorted(self._order) != sorted(self._candidates):
                raise ConfigurationError(
                    f"the order that breaks ties is {self._order}, not one of all of {list(self._candidates)}. "
                    "Give a generator, or the `tie_break.order` of a tally of the same candidates."
                )
        return {name: place for place, name in enumerate(self._order)}

    def first(self, tied: Sequence[str]) -> str:
        """Of the tied, the one that stands first."""
        return min(tied, key=self.order(tied).__getitem__)

    def last(self, tied: Sequence[str]) -> str:
        """Of the tied, the one that stands last."""
        return max(tied, key=self.order(tied).__getitem__)

    @property
    def kept(self) -> TieBreak | None:
        """What was drawn; None if there was nothing to break."""
        return TieBreak(tuple(self._order), tuple(self._ties)) if self._ties else None


def check_count(ballots: Sequence[Ballot], candidates: Sequence[str]) -> None:
    """Raises `ConfigurationError` for what cannot be counted: no candidates, or the same one or one voter twice."""
    if isinstance(candidates, str) or not candidates:
        raise ConfigurationError(f"candidates are {candidates!r}. Give a list of at least one name.")
    check_names(candidates, "candidates")
    check_ballots(ballots)


def tally_of(
    rule: str,
    ballots: Sequence[Ballot],
    candidates: Sequence[str],
    scores: Mapping[str, float | Exact],
    rng: Breaker | Draw,
    *,
    winners: Sequence[str] | None = None,
    reason: str = "",
    trail: Sequence[str] = (),
) -> Tally:
    """The tally of a rule: the greatest score wins, or `winners`, and a tie is broken by `rng`.

    `scores` may be fractions, so that what is equal is equal. Give `reason` with `winners=()`.
    """
    turnout = turnout_of(ballots)
    if winners is None:
        best = max(scores[name] for name in candidates)
        winners = [name for name in candidates if scores[name] == best]
    if not turnout.weight:
        winners, reason = (), "nobody voted"
    draw = rng if isinstance(rng, Draw) else Draw(candidates, rng)
    winner = None
    if winners:
        winner = winners[0] if len(winners) == 1 else draw.first(winners)
    return Tally(
        rule=rule,
        candidates=tuple(candidates),
        winner=winner,
        winners=tuple(winners),
        scores={name: float(scores[name]) for name in candidates},
        tie_break=draw.kept,
        turnout=turnout,
        quorum_met=True,
        ballots=tuple(ballots),
        reason="" if winners else reason,
        trail=tuple(trail),
    )


def differences(tally: Tally, count: Callable[[Sequence[Ballot], Breaker], Tally]) -> list[str]:
    """What a second count of the same ballots finds otherwise: names of fields, none if all is as it was.

    `count` counts ballots with a breaker, such as `Election.count`, or a rule with its candidates filled in. Ties are
    broken by the order that was drawn the first time.
    """
    order: Sequence[str] = tally.tie_break.order if tally.tie_break else tally.candidates
    again = count(tally.ballots, order)
    return [f.name for f in fields(Tally) if getattr(again, f.name) != getattr(tally, f.name)]
