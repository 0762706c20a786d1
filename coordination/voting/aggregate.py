"""The shape in which other frameworks ask for a vote: `aggregate(candidates, rankings)`.

A mapping of voters to rankings, best first, gives the winner's name, as in the `ConsensusEngine` that was proposed
for crewAI (crewAIInc/crewAI #5708). `Aggregator.count` gives the whole tally.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from random import Random

from actors.errors import ConfigurationError
from coordination.voting.ballot import Ballot, ranking
from coordination.voting.tally import Rule, Tally

Rankings = Mapping[str, Sequence[str | Sequence[str]]]
"""By voter, the candidates from best to worst; a sequence among them is a tier of equals. May be incomplete."""


@dataclass(frozen=True)
class Aggregator:
    """A rule and a seed for its ties, in the shape that frameworks plug in."""

    rule: Rule
    seed: int = 0

    def count(self, candidates: Sequence[str], rankings: Rankings) -> Tally:
        """The whole result. Voters are counted in the order of their names, so that no mapping's order matters."""
        ballots = [Ballot(voter, ranking(*rankings[voter])) for voter in sorted(rankings)]
        return self.rule(ballots, candidates, Random(self.seed))

    def aggregate(self, candidates: Sequence[str], rankings: Rankings) -> str:
        """The winner. Raises `ConfigurationError` if nobody wins."""
        tally = self.count(candidates, rankings)
        if tally.winner is None:
            raise ConfigurationError(
                f"{tally.rule}: nobody wins ({tally.reason}). Use a rule that always decides, or `count` and look."
            )
        return tally.winner
