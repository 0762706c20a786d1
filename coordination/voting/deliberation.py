"""Agreement over several rounds: answers in, questions out, and the plain vote at the same budget beside the result.

Rules:
* A `Deliberation` is a pure state machine over a `Transcript`. It knows no model, clock or message: who runs it asks
  the questions that it returns, reports answers with what they cost, and tells when a wave's time is over.
* A `Method` (debate, Delphi, judging, or one's own) says what to ask next and how to decide. It sees the transcript
  only, and the seeded generator.
* Every result has beside it the plain vote at the same token budget: the drafts, which were made independently, and
  further independent samples from the same panellists in turn, until together they cost what the talk cost, judges
  included. A sample that would pass the budget is left out. All samples are counted by the same rule, without
  weights. (Self-consistency, Wang et al., arXiv 2203.11171; that talk must be compared so: Choi et al., arXiv
  2508.17536.)
* An answer that cannot be counted stands as an abstention, and its tokens count: they were spent.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Any, Protocol

import msgspec

from actors.errors import ConfigurationError
from coordination.voting.ballot import Abstention, Vote, check_names
from coordination.voting.election import Counting, Outcome, settled
from coordination.voting.estimate import Estimate
from coordination.voting.transcript import Answer, Expired, Question, Transcript, ballot_for, has_opinion

PANEL_LIMIT = 10_000
ROUNDS_LIMIT = 1_000
SAMPLES_LIMIT = 100_000


class Method(Protocol):
    """What to ask next and how to decide."""

    @property
    def name(self) -> str:
        """What results call it."""

    @property
    def panellists(self) -> tuple[str, ...]:
        """Who drafts, and who is asked for samples."""

    @property
    def topic(self) -> str:
        """What all are asked."""

    @property
    def counting(self) -> Counting:
        """How the panellists' answers are counted."""

    def ask(self, transcript: Transcript, rng: Random) -> Sequence[Question]:
        """The questions of the next wave; none when the talk is over. Called when no question is open."""

    def decide(self, transcript: Transcript, rng: Random) -> Outcome:
        """The result of the talk."""

    def refuses(self, question: Question, vote: Vote) -> str:
        """Why a vote is no answer to a question; empty if it is one."""


@dataclass(frozen=True)
class PlainVote:
    """The baseline: as many independent answers as the talk's tokens buy, put to the vote."""

    outcome: Outcome
    samples: int
    tokens: int
    """What the samples cost: at most the budget."""
    budget: int
    """What the talk cost."""


@dataclass(frozen=True)
class Deliberated:
    """The result of a deliberation."""

    method: str
    outcome: Outcome
    tokens: int
    """What the talk cost: drafts, revisions and judgements."""
    rounds: int
    """Rounds after the drafts."""
    by_round: tuple[Outcome, ...]
    """The vote on what stood after the drafts, and after each round of revision."""
    plain: PlainVote


class Deliberation:
    """One deliberation, from its first question to its result."""

    def __init__(self, method: Method, transcript: Transcript | None = None, samples: int = 1_000) -> None:
        """Takes up a transcript where one is given: it holds all the state.

        At most so many `samples` are asked for beside the drafts: what an answer cost is what its sender says, and a
        liar could make the baseline dear. The result tells how much of the budget was used.
        """
        check_names(method.panellists, "panellists")
        if not 0 < len(method.panellists) <= PANEL_LIMIT:
            raise ConfigurationError(
                f"{method.name}: {len(method.panellists)} panellists. Give 1 to {PANEL_LIMIT:,}."
            )
        if not 0 <= samples <= SAMPLES_LIMIT:
            raise ConfigurationError(f"{method.name}: {samples} samples. Give 0 to {SAMPLES_LIMIT:,}.")
        self.method = method
        self.samples = samples
        self.transcript = Transcript() if transcript is None else transcript
        self.result: Deliberated | None = None
        """Once it is over."""

    def begin(self, rng: Random) -> tuple[Question, ...]:
        """The first questions."""
        if self.transcript.phase != "new":
            raise ConfigurationError(
                f"{self.method.name}: it has begun already. Make another `Deliberation`."
            )
        self.transcript.phase = "talk"
        return self._go_on(rng)

    def handle(self, event: Answer | Expired, rng: Random) -> tuple[Question, ...]:
        """Takes an answer, or that the time of a wave is over. Returns the next questions, if it was the last."""
        script = self.transcript
        if isinstance(event, Expired):
            if event.wave != script.wave or not script.open:
                return ()
            script.silent += [name for name in script.open.values() if name not in script.silent]
            script.open.clear()
        elif script.open.get(event.number) != event.sender:
            script.note(f"{event.sender[:40]!r} answers question {event.number}, which was not open for it")
            return ()
        else:
            del script.open[event.number]
            script.answers.append(self._checked(event))
        return () if script.open else self._go_on(rng)

    def _checked(self, answer: Answer) -> Answer:
        objection = ""
        if has_opinion(answer):
            objection = self.method.refuses(self.transcript.question(answer.number), answer.vote)
        if not objection:
            return answer
        self.transcript.note(f"{answer.sender[:40]!r}, question {answer.number}: {objection}")
        return msgspec.structs.replace(answer, vote=Abstention())

    def _go_on(self, rng: Random) -> tuple[Question, ...]:
        script = self.transcript
        wanted: Sequence[Question] = ()
        if script.phase == "talk":
            wanted = self.method.ask(script, rng)
            if not wanted:
                script.phase = "sample"
        if script.phase == "sample":
            wanted = self._samples_wanted()
            if not wanted:
                script.phase = "over"
                self.result = self._concluded(rng)
                return ()
        script.wave += 1
        first = len(script.questions) + 1
        questions = tuple(
            msgspec.structs.replace(question, number=number) for number, question in enumerate(wanted, first)
        )
        script.questions += questions
        script.open = {question.number: question.to for question in questions}
        return questions

    def _samples(self) -> tuple[list[Answer], int]:
        """The drafts and samples within the budget, in the order asked, and what they cost."""
        budget = self._budget()
        taken: list[Answer] = []
        spent = 0
        for _, answer in self.transcript.given("draft", "sample"):
            if spent + answer.tokens > budget:
                break
            taken.append(answer)
            spent += answer.tokens
        return taken, spent

    def _budget(self) -> int:
        return self.transcript.tokens("draft", "revise", "judge")

    def _samples_wanted(self) -> Sequence[Question]:
        """The next wave of samples: as many as the rest of the budget will buy at the mean cost so far."""
        script = self.transcript
        taken, spent = self._samples()
        answered = script.given("draft", "sample")
        live = script.live(self.method.panellists)
        asked = sum(question.kind == "sample" for question in script.questions)
        if not live or not answered or len(taken) < len(answered):
            return ()
        affordable = (self._budget() - spent) * len(taken) // spent
        count = min(affordable, len(live), self.samples - asked)
        return [
            Question(live[(asked + index) % len(live)], "sample", 0, self.method.topic)
            for index in range(count)
        ]

    def _concluded(self, rng: Random) -> Deliberated:
        script, method = self.transcript, self.method
        rounds = max((question.round for question, _ in script.given("draft", "revise")), default=0)
        by_round = tuple(
            settled(method.counting, [ballot_for(a) for a in script.standing(number).values()], rng)
            for number in range(rounds + 1)
        )
        taken, spent = self._samples()
        ballots = [ballot_for(answer, f"{answer.sender}#{answer.number}") for answer in taken]
        plain = PlainVote(settled(method.counting.plain(), ballots, rng), len(taken), spent, self._budget())
        outcome = method.decide(script, rng)
        return Deliberated(method.name, outcome, self._budget(), rounds, by_round, plain)


def outcome_data(outcome: Outcome) -> dict[str, Any]:
    """What was decided, as JSON-like data without the ballots."""
    if isinstance(outcome, Estimate):
        return {"rule": outcome.rule, "value": outcome.value, "reason": outcome.reason}
    return {
        "rule": outcome.rule,
        "winner": outcome.winner,
        "winners": list(outcome.winners),
        "scores": dict(outcome.scores),
        "reason": outcome.reason,
    }


def deliberated_data(result: Deliberated) -> dict[str, Any]:
    """The result as JSON-like data: the outcome, and beside it the plain vote at the same budget."""
    return {
        "method": result.method,
        "outcome": outcome_data(result.outcome),
        "tokens": result.tokens,
        "rounds": result.rounds,
        "by_round": [outcome_data(outcome) for outcome in result.by_round],
        "plain": outcome_data(result.plain.outcome)
        | {"samples": result.plain.samples, "tokens": result.plain.tokens, "budget": result.plain.budget},
    }
