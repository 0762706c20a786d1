"""The agent that runs a deliberation: it asks the panel, waits at most so long for each wave, and tells the result.

Rules:
* All of its state is the transcript. The method is described anew in each turn (`method`), so it may hold functions.
* Whatever a panellist sends is checked: an answer counts only from whom was asked, for the question that is open.
* A wave ends at its deadline; who has not answered is not asked again.
* Randomness is the agent's own `context.rng`; no answer of the outside is awaited, so the cell can be checkpointed.

The first message from anybody begins; who sent it gets the result as a reply, and so does who writes later.
"""

from collections.abc import Sequence
from typing import Any

from actors import Agent, Context, Message
from actors.errors import ConfigurationError
from coordination.voting.debate import Debate
from coordination.voting.deliberation import Deliberated, Deliberation, Method, deliberated_data
from coordination.voting.delphi import Delphi
from coordination.voting.election import Election
from coordination.voting.judging import Judging
from coordination.voting.rule import rule_named
from coordination.voting.transcript import Expired, Question, Transcript, answer_from, to_data


class Moderator(Agent):
    """Runs one deliberation. Extend it and define `method` for settings that no parameter has."""

    def __init__(
        self,
        panellists: Sequence[str],
        *,
        kind: str = "debate",
        topic: str = "",
        rounds: int = 2,
        rule: str = "plurality",
        candidates: Sequence[str] | None = None,
        judges: Sequence[str] = (),
        timeout_s: float = 60.0,
        samples: int = 1_000,
    ) -> None:
        """`panellists` and `judges` are addresses; `kind` is debate, delphi or judging; `rule` a name in `RULES`.

        `timeout_s` is each wave's, in the unit of `context.now`: seconds, or rounds. At most `samples` are
        asked for beside the drafts, for the plain vote.
        """
        self.panellists = list(panellists)
        self.kind = kind
        self.topic = topic
        self.rounds = rounds
        self.rule = rule
        self.candidates = None if candidates is None else list(candidates)
        self.judges = list(judges)
        self.timeout_s = timeout_s
        self.samples = samples
        self.transcript = Transcript()
        self.timer = 0
        self.waiting: list[Message] = []
        self.told: dict[str, Any] | None = None
        Deliberation(
            self.method(), samples=samples
        )  # tells what is wrong with the parameters before anybody is asked

    def method(self) -> Method:
        """What is deliberated and how. Raises `ConfigurationError` for parameters that make no sense."""
        panellists, rule = tuple(self.panellists), rule_named(self.rule)
        if self.kind == "delphi":
            return Delphi(panellists, self.rounds, topic=self.topic)
        if self.kind == "judging":
            return Judging(panellists, tuple(self.judges), rule, topic=self.topic)
        if self.kind == "debate":
            candidates = None if self.candidates is None else tuple(self.candidates)
            return Debate(panellists, self.rounds, Election(rule, candidates), topic=self.topic)
        raise ConfigurationError(
            f"there is no deliberation {self.kind!r}. There are: debate, delphi, judging."
        )

    async def on_message(self, message: Message, context: Context) -> None:
        """An answer, a deadline of its own, or somebody who wants the result."""
        if message.sender == context.address:
            self._handle(Expired(message.data), context)
        elif message.sender in self.panellists or message.sender in self.judges:
            self._answered(message, context)
        else:
            self._wanted(message, context)

    def concluded(self, result: Deliberated, context: Context) -> None:
        """Called once with the result; leaves it in the run's report. Extend it to do more."""
        context.record("tokens", result.tokens)
        context.record("plain_tokens", result.plain.tokens)
        context.result(context.address, self.told)

    def _wanted(self, message: Message, context: Context) -> None:
        if self.told is not None:
            context.reply(self.told)
            return
        self.waiting.append(message)
        if self.transcript.phase == "new":
            deliberation = Deliberation(self.method(), self.transcript, self.samples)
            self._carry_on(deliberation, deliberation.begin(context.rng), context)

    def _answered(self, message: Message, context: Context) -> None:
        data = message.data
        try:
            answer = answer_from(data | {"sender": message.sender} if isinstance(data, dict) else data)
        except ConfigurationError as error:
            self.transcript.note(f"{message.sender}: {error}")
            return
        self._handle(answer, context)

    def _handle(self, event: Any, context: Context) -> None:
        deliberation = Deliberation(self.method(), self.transcript, self.samples)
        self._carry_on(deliberation, deliberation.handle(event, context.rng), context)

    def _carry_on(self, deliberation: Deliberation, questions: Sequence[Question], context: Context) -> None:
        for question in questions:
            context.send(question.to, to_data(question))
        if questions:
            context.cancel(self.timer)
            self.timer = context.after(self.timeout_s, self.transcript.wave)
        if deliberation.result is not None:
            context.cancel(self.timer)
            self.told = deliberated_data(deliberation.result)
            self.concluded(deliberation.result, context)
            for message in self.waiting:
                context.reply(self.told, to=message)
            self.waiting.clear()
