"""Judging: panellists draft answers, and a judge, or a panel of judges with reputations, chooses among them.

Rules:
* The candidates are the different drafts. Each judge gets them without names, in an order drawn anew: models favour
  what stands first (Zheng et al., "Judging LLM-as-a-judge", arXiv 2306.05685).
* A judge may only choose what was drafted. Any other verdict is an abstention.
* Several judges vote by `rule`, with weights from their reputation where one is given; once the truth is known
  `Reputation.after` learns from it. If no judge gives a verdict, nobody wins.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from actors.errors import ConfigurationError
from coordination.voting.ballot import Ballot, Choice, Vote, check_names
from coordination.voting.confidence import Weighting
from coordination.voting.debate import drafts
from coordination.voting.election import Election, Outcome, settled
from coordination.voting.electorate import Electorate
from coordination.voting.plurality import plurality
from coordination.voting.tally import Rule
from coordination.voting.transcript import Question, Transcript, ballot_for


@dataclass(frozen=True)
class Judging:
    """The method: drafts, then a verdict."""

    panellists: tuple[str, ...]
    judges: tuple[str, ...]
    """One, or several who vote. They may be panellists too."""
    rule: Rule = plurality
    """How the judges' verdicts are counted."""
    weighting: Weighting | None = None
    """What each judge's verdict counts: a `Reputation`, or None for the same."""
    topic: str = ""

    def __post_init__(self) -> None:
        check_names(self.judges, "judges")
        if not self.judges:
            raise ConfigurationError("judging: there is no judge. Give at least one.")

    @property
    def name(self) -> str:
        """What results call it."""
        return "judging"

    @property
    def counting(self) -> Election:
        """How the drafts are counted, for comparison: each is a choice."""
        return Election(plurality)

    def ask(self, transcript: Transcript, rng: Random) -> Sequence[Question]:
        """Drafts first, then a verdict from each judge."""
        if transcript.round < 0:
            return drafts(self.panellists, self.topic)
        options = list(self._drafted(transcript))
        if transcript.round > 0 or not options:
            return ()
        questions = []
        for name in transcript.live(self.judges):
            rng.shuffle(options)
            questions.append(Question(name, "judge", 1, self.topic, options=tuple(options)))
        return questions

    def decide(self, transcript: Transcript, rng: Random) -> Outcome:
        """The vote of the judges."""
        election = Election(self.rule, self._drafted(transcript), Electorate(weighting=self.weighting))
        verdicts = [ballot_for(answer) for _, answer in transcript.given("judge")]
        return settled(election, verdicts, rng)

    def refuses(self, question: Question, vote: Vote) -> str:
        """Why a vote is no draft, or no verdict; empty if it is one."""
        if question.kind == "judge":
            return Election(self.rule, question.options).refuses(Ballot(question.to, vote))
        return self.counting.refuses(Ballot(question.to, vote))

    @staticmethod
    def _drafted(transcript: Transcript) -> tuple[str, ...]:
        drafted = {a.vote.candidate for _, a in transcript.given("draft") if isinstance(a.vote, Choice)}
        return tuple(sorted(drafted))
