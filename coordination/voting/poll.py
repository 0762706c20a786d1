"""A poll: takes ballots until a deadline, and then has a result. A pure state machine.

Rules:
* Time comes from the caller with each call, never goes back, and has the caller's unit (seconds, or rounds).
* A ballot counts if it comes while the poll is open, from somebody who may vote, and can be counted. All others are
  refused with a reason, which is kept.
* A second ballot of one voter is refused, replaces the first, or makes both void, as configured. With "void" the
  result does not depend on which came first: where several count the same ballots, a voter who tells them different
  things is out with all. The same ballot again changes nothing in any case: messages may be repeated.
* The poll closes at `closes_at` (what comes at that very time is late), or, where second ballots are refused, as soon
  as all who may vote have.
"""

from dataclasses import dataclass
from math import inf
from typing import Literal

from actors.errors import ConfigurationError
from coordination.voting.ballot import BALLOTS_LIMIT, Abstention, Ballot
from coordination.voting.election import Counting, Outcome, settled
from coordination.voting.tally import Breaker

REFUSALS_LIMIT = 10_000
"""Refused ballots that a poll keeps; the others are counted."""


@dataclass(frozen=True)
class Receipt:
    """What became of a ballot."""

    taken: bool
    reason: str = ""
    """Why it was not taken, or what it did."""


@dataclass(frozen=True)
class Refusal:
    """A ballot that was not taken."""

    time: float
    ballot: Ballot
    reason: str


class Poll:
    """One vote from its opening to its result."""

    def __init__(
        self,
        counting: Counting,
        *,
        closes_at: float,
        opens_at: float = -inf,
        second: Literal["refuse", "replace", "void"] = "refuse",
    ) -> None:
        """Raises `ConfigurationError` if it closes before it opens, or never may."""
        if not closes_at > opens_at or (
            closes_at == inf and (second != "refuse" or not counting.electorate.eligible)
        ):
            raise ConfigurationError(
                f"poll: it opens at {opens_at} and closes at {closes_at}. Give a later `closes_at`; it may be infinite "
                "only where `eligible` says who has to vote and second ballots are refused."
            )
        if second not in ("refuse", "replace", "void"):
            raise ConfigurationError(f"poll: second={second!r} is none of 'refuse', 'replace' and 'void'.")
        self.counting = counting
        self.closes_at = closes_at
        self.opens_at = opens_at
        self.second = second
        self.refusals: list[Refusal] = []
        self.refused = 0
        """How many ballots were refused in all."""
        self._ballots: dict[str, Ballot] = {}
        self._void: set[str] = set()
        self._now = -inf

    def cast(self, ballot: Ballot, now: float) -> Receipt:
        """Takes a ballot that came at `now`, or refuses it."""
        self._advance(now)
        reason = self._objection(ballot)
        if reason:
            self.refused += 1
            if len(self.refusals) < REFUSALS_LIMIT:
                self.refusals.append(Refusal(now, ballot, reason))
            return Receipt(False, reason)
        first = self._ballots.get(ballot.voter)
        if first == ballot:
            return Receipt(True, "has it already")
        if first is not None and self.second == "void":
            self._void.add(ballot.voter)
            self._ballots[ballot.voter] = Ballot(ballot.voter, Abstention())
            return Receipt(True, "makes both ballots void")
        self._ballots[ballot.voter] = ballot
        return Receipt(True, "" if first is None else "replaces the first")

    def is_closed(self, now: float) -> bool:
        """Whether no ballot can be taken any more."""
        self._advance(now)
        return self._is_closed()

    @property
    def ballots(self) -> tuple[Ballot, ...]:
        """Those that count, in the order of their voters."""
        return tuple(self._ballots[voter] for voter in sorted(self._ballots))

    def result(self, now: float, rng: Breaker) -> Outcome:
        """The result of a closed poll; see `settled`. Raises `ConfigurationError` while it is open."""
        if not self.is_closed(now):
            raise ConfigurationError(f"the poll is open until {self.closes_at}, and it is {now}. Ask later.")
        return settled(self.counting, self.ballots, rng)

    def _objection(self, ballot: Ballot) -> str:
        if self._now < self.opens_at:
            return f"comes before the poll opens at {self.opens_at}"
        first = self._ballots.get(ballot.voter)
        if first == ballot and self._now < self.closes_at:
            return ""
        if self._is_closed():
            return "comes after the poll has closed"
        if ballot.voter in self._void:
            return "comes from a voter whose ballots are void"
        if first is not None and self.second == "refuse":
            return "is a second ballot"
        if len(self._ballots) >= BALLOTS_LIMIT:
            return f"is one too many: the poll has {BALLOTS_LIMIT:,}"
        return self.counting.refuses(ballot)

    def _is_closed(self) -> bool:
        eligible = self.counting.electorate.eligible
        everybody = eligible is not None and len(self._ballots) == len(eligible)
        return self._now >= self.closes_at or (everybody and self.second == "refuse")

    def _advance(self, now: float) -> None:
        if not now >= self._now:
            raise ConfigurationError(
                f"poll: time goes back from {self._now} to {now}. Give a clock that does not."
            )
        self._now = now
