"""A count as it is ordered: a rule, its candidates, and the electorate; for numbers, an estimator and the electorate.

Rules:
* `Election` and `Survey` are frozen descriptions. Their `count` is a pure function of the ballots and the breaker.
* `refuses` tells beforehand what is wrong with a ballot, so that one bad ballot from outside cannot stop a count.
* An election without `candidates` is open: those named on the ballots are the candidates. It takes choices only,
  since elsewise one ballot could name any number.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from actors.errors import ConfigurationError, SwarmError
from coordination.voting.ballot import (
    Abstention,
    Ballot,
    Choice,
    Number,
    Vector,
    check_ballots,
    check_names,
)
from coordination.voting.electorate import Electorate
from coordination.voting.estimate import Estimate, Estimator
from coordination.voting.profile import candidates_of, names_in
from coordination.voting.rule import votes_taken
from coordination.voting.tally import Breaker, Rule, Tally, turnout_of

Outcome = Tally | Estimate


class Counting(Protocol):
    """What turns ballots into a result: an `Election`, a `Survey`, or one's own."""

    def count(self, ballots: Sequence[Ballot], rng: Breaker) -> Outcome:
        """The result."""

    def refuses(self, ballot: Ballot) -> str:
        """Why a ballot cannot be counted; empty if it can."""

    def plain(self) -> "Counting":
        """The same count for anybody's ballots, without weights or a quorum: the baseline of a deliberation."""

    @property
    def electorate(self) -> Electorate:
        """Who votes."""


@dataclass(frozen=True)
class Election:
    """A vote on candidates."""

    rule: Rule
    candidates: tuple[str, ...] | None = None
    """None: those that the ballots choose."""
    electorate: Electorate = field(default_factory=Electorate)

    def __post_init__(self) -> None:
        if self.candidates is not None:
            check_names(self.candidates, "candidates")
        elif Choice not in votes_taken(self.rule):
            raise ConfigurationError(
                "election: an open election takes choices, and this rule counts none. Give `candidates`."
            )

    def count(self, ballots: Sequence[Ballot], rng: Breaker) -> Tally:
        """The result. Raises `ConfigurationError` for ballots that `refuses` would have told."""
        check_ballots(ballots)
        self.electorate.check(ballots)
        candidates = candidates_of(ballots) if self.candidates is None else self.candidates
        weighted = self.electorate.weighted(ballots)
        tally = self.rule(weighted, candidates or ("nobody",), rng)
        eligible = self.electorate.eligible
        tally = replace(
            tally,
            candidates=tuple(candidates),
            scores=tally.scores if candidates else {},
            ballots=tuple(ballots),
            weights=() if self.electorate.weighting is None else tuple(ballot.weight for ballot in weighted),
            turnout=replace(tally.turnout, eligible=None if eligible is None else len(eligible)),
            quorum_met=self.electorate.has_quorum(ballots),
        )
        if tally.quorum_met:
            return tally
        return replace(tally, winner=None, winners=(), reason="the quorum is missed", tie_break=None)

    def plain(self) -> "Election":
        """The same rule and candidates, for anybody's ballots, without weights or a quorum."""
        return replace(self, electorate=Electorate())

    def refuses(self, ballot: Ballot) -> str:
        """Why this ballot cannot be counted; empty if it can."""
        vote = ballot.vote
        if not self.electorate.may_vote(ballot.voter):
            return "may not vote"
        if isinstance(vote, Abstention):
            return ""
        taken = votes_taken(self.rule) if self.candidates is not None else (Choice,)
        if not isinstance(vote, taken):
            return f"casts a {type(vote).__name__}, not one of {', '.join(kind.__name__ for kind in taken)}"
        known = frozenset(self.candidates or names_in(vote))
        unknown = [name for name in names_in(vote) if name not in known]
        return f"votes for {unknown[0][:40]!r}, which is no candidate" if unknown else ""


@dataclass(frozen=True)
class Survey:
    """A vote on a number or a point."""

    estimator: Estimator
    dimensions: int | None = None
    """None: numbers. Else vectors with so many coordinates."""
    electorate: Electorate = field(default_factory=Electorate)

    def count(self, ballots: Sequence[Ballot], rng: Breaker = ()) -> Estimate:
        """The result; nothing is left to the breaker."""
        check_ballots(ballots)
        self.electorate.check(ballots)
        weighted = self.electorate.weighted(ballots)
        estimate = self.estimator(weighted)
        eligible = self.electorate.eligible
        estimate = replace(
            estimate,
            ballots=tuple(ballots),
            weights=() if self.electorate.weighting is None else tuple(ballot.weight for ballot in weighted),
            turnout=replace(estimate.turnout, eligible=None if eligible is None else len(eligible)),
            quorum_met=self.electorate.has_quorum(ballots),
        )
        return (
            estimate if estimate.quorum_met else replace(estimate, value=None, reason="the quorum is missed")
        )

    def plain(self) -> "Survey":
        """The same rule, for anybody's ballots, without weights or a quorum."""
        return replace(self, electorate=Electorate())

    def refuses(self, ballot: Ballot) -> str:
        """Why this ballot cannot be counted; empty if it can."""
        vote = ballot.vote
        if not self.electorate.may_vote(ballot.voter):
            return "may not vote"
        if isinstance(vote, Abstention):
            return ""
        if self.dimensions is None:
            return "" if isinstance(vote, Number) else f"casts a {type(vote).__name__}, not a Number"
        if not isinstance(vote, Vector):
            return f"casts a {type(vote).__name__}, not a Vector"
        if len(vote.values) != self.dimensions:
            return f"casts a Vector of {len(vote.values)} coordinates, not {self.dimensions}"
        return ""


def settled(counting: Counting, ballots: Sequence[Ballot], rng: Breaker) -> Outcome:
    """The result; where the ballots that came allow none, one without a winner whose reason says why.

    How many answer, and how differently, is the world's: too few for the liars to withstand, too many candidates to
    count exactly. So it must not stop who has waited for them.
    """
    try:
        return counting.count(ballots, rng)
    except SwarmError as error:
        turnout, reason = turnout_of(ballots), str(error)
        if isinstance(counting, Survey):
            return Estimate("", None, turnout, quorum_met=True, ballots=tuple(ballots), reason=reason)
        return Tally("", (), None, (), {}, None, turnout, True, tuple(ballots), reason)
