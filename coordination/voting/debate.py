"""Debate: all draft alone, then k times read what others said and answer again; then they vote.

Rules:
* Round 0 is drafted alone: independent drafts keep the group's diversity (Kaesberg et al., arXiv 2502.19130).
* In each later round a panellist sees the last answers of the others, or of those in `hears`, in an order drawn anew
  for each, without names unless `named`: models favour what stands first, and whom they know.
* It ends after `rounds`, or when all standing answers are equal.
* What stands at the end is counted. With no round it is a plain vote.

Source: Du et al., "Improving factuality and reasoning in language models through multiagent debate", arXiv
2305.14325. That debate by itself does not raise the expected answer, which is a martingale, is claimed in arXiv
2508.17536: hence `Deliberated.by_round`, and the plain vote beside each result.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from random import Random

from actors.errors import ConfigurationError
from coordination.voting.ballot import Ballot, Vote
from coordination.voting.deliberation import ROUNDS_LIMIT
from coordination.voting.election import Counting, Election, Outcome, settled
from coordination.voting.plurality import plurality
from coordination.voting.transcript import Answer, Opinion, Question, Transcript, ballot_for, has_opinion


@dataclass(frozen=True)
class Debate:
    """The method: drafts, then `rounds` of revision, then a vote."""

    panellists: tuple[str, ...]
    rounds: int = 2
    counting: Counting = field(default_factory=lambda: Election(plurality))
    topic: str = ""
    hears: Mapping[str, Sequence[str]] | None = None
    """By panellist, whose answers one sees; None: all others'."""
    named: bool = False
    until_agreed: bool = True
    """Whether it ends as soon as all standing answers are equal."""

    def __post_init__(self) -> None:
        check_rounds(self.rounds, "debate")

    @property
    def name(self) -> str:
        """What results call it."""
        return "debate"

    def ask(self, transcript: Transcript, rng: Random) -> Sequence[Question]:
        """Drafts first, then a revision from each who still answers."""
        if transcript.round < 0:
            return drafts(self.panellists, self.topic)
        standing = transcript.standing(transcript.round)
        if transcript.round >= self.rounds or (self.until_agreed and are_equal(standing)):
            return ()
        return [
            Question(name, "revise", transcript.round + 1, self.topic, self._heard_by(name, standing, rng))
            for name in transcript.live(self.panellists)
        ]

    def decide(self, transcript: Transcript, rng: Random) -> Outcome:
        """The vote on what stands."""
        return settled(self.counting, standing_ballots(transcript), rng)

    def refuses(self, question: Question, vote: Vote) -> str:
        """Why a vote is no answer; empty if it is one."""
        return self.counting.refuses(Ballot(question.to, vote))

    def _heard_by(self, name: str, standing: Mapping[str, Answer], rng: Random) -> tuple[Opinion, ...]:
        heard = self.panellists if self.hears is None else self.hears.get(name, ())
        opinions = [
            Opinion(other if self.named else "", answer.vote, answer.reason, answer.confidence)
            for other in heard
            if other != name and (answer := standing.get(other)) is not None and has_opinion(answer)
        ]
        rng.shuffle(opinions)
        return tuple(opinions)


def check_rounds(rounds: int, method: str) -> None:
    """Raises `ConfigurationError` unless it is a number of rounds."""
    if isinstance(rounds, bool) or not isinstance(rounds, int) or not 0 <= rounds <= ROUNDS_LIMIT:
        raise ConfigurationError(f"{method}: {rounds!r} rounds. Give 0 to {ROUNDS_LIMIT:,}.")


def drafts(panellists: Sequence[str], topic: str) -> list[Question]:
    """The first questions of every method: all answer by themselves."""
    return [Question(name, "draft", 0, topic) for name in panellists]


def standing_ballots(transcript: Transcript) -> list[Ballot]:
    """What stands at present, as ballots."""
    return [ballot_for(answer) for answer in transcript.standing(transcript.round).values()]


def are_equal(standing: Mapping[str, Answer]) -> bool:
    """Whether all answers that are no abstentions are the same, and there is one."""
    votes = [answer.vote for answer in standing.values() if has_opinion(answer)]
    return bool(votes) and all(vote == votes[0] for vote in votes)
