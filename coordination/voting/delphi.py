"""Delphi: estimates over several rounds, with the group's median and quartiles told after each.

Rules:
* Panellists give numbers. After each round all are told the median and the quartiles, and the reasons of those
  outside the quartiles: without names, in an order drawn anew for each. Nobody learns who said what.
* It ends after `rounds`, or when the quartiles are no further apart than `spread`.
* The result is the median of what stands, or what another `counting` makes of it.

Source: Dalkey and Helmer, "An experimental application of the Delphi method to the use of experts", 1963.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random

import numpy as np

from actors.errors import ConfigurationError
from coordination.voting.ballot import Ballot, Number, Vote
from coordination.voting.debate import check_rounds, drafts, standing_ballots
from coordination.voting.election import Counting, Outcome, Survey, settled
from coordination.voting.estimate import median
from coordination.voting.transcript import Opinion, Question, Transcript


@dataclass(frozen=True)
class Delphi:
    """The method: estimates, with the group's figures told in between."""

    panellists: tuple[str, ...]
    rounds: int = 3
    spread: float = 0.0
    """The distance of the quartiles at which it ends, in the unit of the estimates."""
    counting: Counting = field(default_factory=lambda: Survey(median))
    topic: str = ""

    def __post_init__(self) -> None:
        check_rounds(self.rounds, "Delphi")
        if not self.spread >= 0:
            raise ConfigurationError(f"Delphi: a spread of {self.spread!r}. Give 0 or more.")

    @property
    def name(self) -> str:
        """What results call it."""
        return "delphi"

    def ask(self, transcript: Transcript, rng: Random) -> Sequence[Question]:
        """Estimates first, then another from each who still answers."""
        if transcript.round < 0:
            return drafts(self.panellists, self.topic)
        standing = transcript.standing(transcript.round)
        numbers = {name: a.vote.value for name, a in standing.items() if isinstance(a.vote, Number)}
        if transcript.round >= self.rounds or not numbers:
            return ()
        lower, middle, upper = (float(q) for q in np.quantile(sorted(numbers.values()), (0.25, 0.5, 0.75)))
        if upper - lower <= self.spread:
            return ()
        summary = {"median": middle, "lower": lower, "upper": upper, "answers": float(len(numbers))}
        apart = [name for name, value in numbers.items() if not lower <= value <= upper]
        questions = []
        for name in transcript.live(self.panellists):
            told = [
                Opinion("", standing[other].vote, standing[other].reason) for other in apart if other != name
            ]
            rng.shuffle(told)
            questions.append(
                Question(name, "revise", transcript.round + 1, self.topic, tuple(told), summary=summary)
            )
        return questions

    def decide(self, transcript: Transcript, rng: Random) -> Outcome:
        """The count of what stands."""
        return settled(self.counting, standing_ballots(transcript), rng)

    def refuses(self, question: Question, vote: Vote) -> str:
        """Why a vote is no estimate; empty if it is one."""
        if not isinstance(vote, Number):
            return f"casts a {type(vote).__name__}, not a Number"
        return self.counting.refuses(Ballot(question.to, vote))
