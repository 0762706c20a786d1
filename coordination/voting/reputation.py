"""Reputation: what a voter's ballot is worth by how often the voter was right.

Rules:
* A reputation is the mean of a beta distribution: (right + 1) / (right + wrong + 2), one half for a stranger (Jøsang
  and Ismail, "The beta reputation system", 2002). With `memory` below 1, older verdicts fade by that factor each
  time.
* A ballot weighs the log odds of its voter's reputation: of a stranger with two options, nothing. Give strangers a
  better start with `prior`, since else the first vote of a new panel has no weight at all.
* Only who has voted is judged: an abstention is neither right nor wrong.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from actors.errors import ConfigurationError
from coordination.voting.ballot import Ballot, Choice
from coordination.voting.confidence import log_odds
from coordination.voting.tally import Tally


@dataclass(frozen=True)
class Reputation:
    """The records of voters. A `Weighting`."""

    prior: tuple[float, float] = (3.0, 1.0)
    """Right and wrong verdicts that everybody is taken to have, beside the one of each of the beta prior."""
    memory: float = 1.0
    """The factor by which older verdicts fade, above 0 and at most 1."""
    options: int = 2
    """Candidates to choose from: chance is one in so many."""
    records: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    """By voter, right and wrong verdicts."""

    def __post_init__(self) -> None:
        if min(self.prior) < 0 or not 0 < self.memory <= 1 or self.options < 2:
            raise ConfigurationError(
                f"reputation: prior {self.prior}, memory {self.memory}, options {self.options}. Give a prior of 0 "
                "or more, a memory above 0 and at most 1, and 2 options or more."
            )

    def of(self, voter: str) -> float:
        """The probability, 0 to 1, that this voter is right."""
        right, wrong = self.records.get(voter, (0.0, 0.0))
        right, wrong = right + self.prior[0], wrong + self.prior[1]
        return (right + 1) / (right + wrong + 2)

    def __call__(self, ballot: Ballot) -> float:
        """The ballot's weight times the log odds of its voter's reputation."""
        return ballot.weight * log_odds(self.of(ballot.voter), self.options)

    def after(self, tally: Tally, truth: str) -> "Reputation":
        """The reputation once it is known that `truth` was right: choices for it were, others were not."""
        records = dict(self.records)
        for ballot in tally.ballots:
            if isinstance(ballot.vote, Choice):
                right, wrong = records.get(ballot.voter, (0.0, 0.0))
                was_right = ballot.vote.candidate == truth
                records[ballot.voter] = (
                    right * self.memory + was_right,
                    wrong * self.memory + (not was_right),
                )
        return replace(self, records=records)
