"""The agent that answers a moderator's questions: by a function of one's own, or by a language model.

Rules:
* `Panellist.answering(function)` makes a class whose answers are the function's, plain or async. The function gets
  the question and the context and returns an `Answer`.
* `ModelPanellist` puts the question into words, asks `context.llm`, and reads the last line `ANSWER: ...`. What the
  model says is journaled, so a replay pays for none.
* An answer that holds no such line is an abstention: it is never guessed at.
"""

import inspect
import re
from collections.abc import Awaitable, Callable
from math import inf
from typing import Any

from actors import Agent, Context, Message
from coordination.voting.ballot import (
    NAME_LENGTH,
    NUMBER_LIMIT,
    Abstention,
    Approval,
    Choice,
    Number,
    Ranking,
    Scores,
    Vector,
    Vote,
)
from coordination.voting.transcript import REASON_LENGTH, Answer, Question, question_from, to_data

Answering = Callable[[Question, Context], Answer | Awaitable[Answer]]
_ANSWER = re.compile(r"^\W*ANSWER\W*:\s*(.+?)\s*$", re.M | re.I)
_NUMBER = re.compile(r"[-+]?\d+(?:\.\d+)?(?:e[-+]?\d+)?", re.I)


class Panellist(Agent):
    """Answers questions. Extend it and define `answer`, or use `answering`."""

    async def on_message(self, message: Message, context: Context) -> None:
        """Answers whoever asks."""
        question = question_from(message.data)
        context.reply(to_data(await self.answer(question, context)))

    async def answer(self, question: Question, context: Context) -> Answer:
        """The answer to a question."""
        raise NotImplementedError(f"{type(self).__name__} gives no answers: define `answer`.")

    @classmethod
    def answering(cls, function: Answering) -> type["Panellist"]:
        """A class of panellists whose answers are those of a function, plain or async."""

        class Answering(cls):  # type: ignore[valid-type,misc]  # mypy cannot see that cls is a class here
            async def answer(self, question: Question, context: Context) -> Answer:
                given = function(question, context)
                return await given if inspect.isawaitable(given) else given

        Answering.__name__ = Answering.__qualname__ = f"Panellist.answering({function.__name__})"
        return Answering


class ModelPanellist(Panellist):
    """Answers by the language model at `context.llm`."""

    def __init__(self, instruction: str = "", numeric: bool = False) -> None:
        """`instruction` goes before each question, such as a persona; `numeric`: the answer is a number."""
        self.instruction = instruction
        self.numeric = numeric

    async def answer(self, question: Question, context: Context) -> Answer:
        """What the model says."""
        completion = await context.llm.complete(self.prompt(question))
        text, tokens = completion.text, max(1, completion.usage.total_tokens)
        return Answer(context.address, question.number, self.vote_in(text), tokens, text[:REASON_LENGTH])

    def prompt(self, question: Question) -> str:
        """The question in words."""
        parts = [self.instruction, question.topic]
        if question.options:
            parts.append("Choose one of these answers, word for word:")
            parts += [f"- {option}" for option in question.options]
        if question.summary:
            told = ", ".join(f"{name} {value:g}" for name, value in question.summary.items())
            parts.append(f"The group's answers so far: {told}.")
        if question.opinions:
            parts.append("Others answered as follows. Weigh their reasons, and answer again.")
            parts += [_told(o.author, o.vote, o.reason) for o in question.opinions]
        kind = "a number" if self.numeric else "your answer, as short as possible"
        parts.append(f"Give your reasons in brief. End with one line: ANSWER: {kind}")
        return "\n".join(part for part in parts if part)

    def vote_in(self, text: str) -> Vote:
        """The vote on the last line `ANSWER: ...`; an abstention without one."""
        found = _ANSWER.findall(text)
        if not found:
            return Abstention()
        if not self.numeric:
            return Choice(found[-1].strip("*_`\"' .")[:NAME_LENGTH] or found[-1][:NAME_LENGTH])
        number = _NUMBER.search(found[-1].replace(",", ""))
        value = inf if number is None else float(number.group())
        return Number(value) if abs(value) <= NUMBER_LIMIT else Abstention()


def in_words(vote: Vote) -> str:
    """A vote as people write it."""
    if isinstance(vote, Choice):
        return vote.candidate
    if isinstance(vote, Number):
        return f"{vote.value:g}"
    if isinstance(vote, Approval):
        return ", ".join(vote.candidates) or "none"
    if isinstance(vote, Ranking):
        return " > ".join(" = ".join(tier) for tier in vote.tiers)
    if isinstance(vote, Scores):
        return ", ".join(f"{name} {value:g}" for name, value in vote.values.items())
    if isinstance(vote, Vector):
        return f"({', '.join(f'{value:g}' for value in vote.values)})"
    return "no answer"


def _told(author: str, vote: Vote, reason: str) -> str:
    words: Any = [f"[{author}]" if author else "-", in_words(vote)]
    if reason:
        words.append(f"because: {reason}")
    return " ".join(words)
