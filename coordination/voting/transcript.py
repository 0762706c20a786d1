"""What was asked and answered in a deliberation: the whole state of one.

Rules:
* Questions are numbered from 1. An answer names the question's number and says what it cost in tokens.
* Questions go out in waves. A wave is over when each of its questions is answered or the wave has expired.
* Who let a question expire is not asked again, so that one dead panellist costs one deadline.
* All of it is plain data with a wire form, and can be saved and sent.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

import msgspec

from actors.errors import ConfigurationError
from coordination.voting.ballot import Abstention, Ballot, Vote, check_name, check_number

REASON_LENGTH = 10_000
"""Characters of a reason at most: in a debate each of n panellists is shown n - 1 of them."""
TOKENS_LIMIT = 10**9
"""Tokens of one answer at most."""
NOTES_LIMIT = 1_000
"""Refusals that a transcript keeps."""

Kind = Literal["draft", "revise", "judge", "sample"]
T = TypeVar("T")


class Opinion(msgspec.Struct, frozen=True):
    """What another panellist said, as it is shown in a question."""

    author: str
    """Empty where authors are not shown."""
    vote: Vote
    reason: str = ""
    confidence: float = 1.0


class Question(msgspec.Struct, frozen=True):
    """A question to one panellist or judge."""

    to: str
    kind: Kind
    """draft: answer by yourself. revise: answer again, having read what others said. judge: choose among `options`.
    sample: as draft, once more and independently, for the baseline."""
    round: int
    topic: str
    opinions: tuple[Opinion, ...] = ()
    options: tuple[str, ...] = ()
    summary: dict[str, float] = {}
    """What Delphi tells of the last round: `median`, `lower`, `upper`, `answers`."""
    number: int = 0


class Answer(msgspec.Struct, frozen=True):
    """An answer to a question."""

    sender: str
    number: int
    """Of the question."""
    vote: Vote
    tokens: int
    """What it cost, the question's reading included: 1 or more. Budgets are compared by it."""
    reason: str = ""
    confidence: float = 1.0

    def __post_init__(self) -> None:
        check_name(self.sender, "a sender")
        check_number(self.confidence, f"the confidence of {self.sender[:40]!r}", 1.0)
        if not 1 <= self.tokens <= TOKENS_LIMIT or self.confidence < 0:
            raise ConfigurationError(
                f"the answer of {self.sender[:40]!r} cost {self.tokens} tokens with a confidence of {self.confidence}. "
                f"Give 1 to {TOKENS_LIMIT:,} tokens, prompt and completion together, and a confidence of 0 to 1."
            )
        if len(self.reason) > REASON_LENGTH:
            raise ConfigurationError(
                f"the reason of {self.sender[:40]!r} has {len(self.reason):,} characters. "
                f"Give at most {REASON_LENGTH:,}."
            )


class Expired(msgspec.Struct, frozen=True):
    """The time for the answers of a wave is over."""

    wave: int


@dataclass
class Transcript:
    """All that happened so far."""

    phase: Literal["new", "talk", "sample", "over"] = "new"
    wave: int = 0
    questions: list[Question] = field(default_factory=list)
    answers: list[Answer] = field(default_factory=list)
    """Those taken, each to another question."""
    open: dict[int, str] = field(default_factory=dict)
    """The questions that wait for an answer, and from whom."""
    silent: list[str] = field(default_factory=list)
    """Who let a question expire."""
    notes: list[str] = field(default_factory=list)
    """What was refused, and why."""

    @property
    def round(self) -> int:
        """The last round that was asked for; -1 before the first."""
        return max((question.round for question in self.questions if question.kind != "sample"), default=-1)

    def question(self, number: int) -> Question:
        """The question with this number."""
        return self.questions[number - 1]

    def live(self, names: Sequence[str]) -> tuple[str, ...]:
        """Those of them who have let no question expire."""
        return tuple(name for name in names if name not in self.silent)

    def given(self, *kinds: Kind) -> list[tuple[Question, Answer]]:
        """The answers to questions of these kinds, in the order of the questions."""
        pairs = [(self.question(answer.number), answer) for answer in self.answers]
        return sorted((pair for pair in pairs if pair[0].kind in kinds), key=lambda pair: pair[0].number)

    def standing(self, round_limit: int) -> dict[str, Answer]:
        """Each panellist's last answer up to a round: what stands if nothing more is said."""
        return {
            question.to: answer
            for question, answer in self.given("draft", "revise")
            if question.round <= round_limit
        }

    def tokens(self, *kinds: Kind) -> int:
        """What the answers to questions of these kinds cost."""
        return sum(answer.tokens for _, answer in self.given(*kinds))

    def note(self, text: str) -> None:
        """Keeps a remark, if there is room."""
        if len(self.notes) < NOTES_LIMIT:
            self.notes.append(text)


def ballot_for(answer: Answer, voter: str = "") -> Ballot:
    """The answer as a ballot of its sender, or of a voter named otherwise."""
    return Ballot(voter or answer.sender, answer.vote, 1.0, answer.confidence)


def has_opinion(answer: Answer) -> bool:
    """Whether it is more than an abstention."""
    return not isinstance(answer.vote, Abstention)


def to_data(item: Question | Answer) -> dict[str, Any]:
    """The question or answer as JSON-like data."""
    data: dict[str, Any] = msgspec.to_builtins(item)
    return data


def question_from(data: Any) -> Question:
    """The question in data of `to_data`. Raises `ConfigurationError` for anything else."""
    return _converted(data, Question)


def answer_from(data: Any) -> Answer:
    """The answer in data of `to_data`. Raises `ConfigurationError` for anything else."""
    return _converted(data, Answer)


def _converted(data: Any, kind: type[T]) -> T:
    try:
        return msgspec.convert(data, kind)
    except msgspec.ValidationError as error:
        raise ConfigurationError(f"this is no {kind.__name__}: {error}. Give what `to_data` makes.") from None
