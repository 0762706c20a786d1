"""What a model answers: text, tool calls, why it stopped, and what it cost in tokens, seconds and money.

Rules:
* What is not known is None, never zero: a price, a time, a count that the provider does not tell.
* A completion is plain data, and comes out of a recording as it went in.
"""

from typing import Literal

import msgspec

from inference.message import ChatMessage, TextPart, ToolCall

FinishReason = Literal["stop", "length", "tool_calls"]
"""`stop`: an end token or a stop text; `length`: max_tokens or the context; `tool_calls`: it waits for results."""


class TokenLogprob(msgspec.Struct, frozen=True, omit_defaults=True):
    """The natural log-probability of a token, with those of the likeliest in its place."""

    token: str
    logprob: float
    top: tuple[tuple[str, float], ...] = ()
    """(token, log-probability), the likeliest first."""


class Choice(msgspec.Struct, frozen=True, omit_defaults=True):
    """One sample."""

    text: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    finish_reason: FinishReason = "stop"
    token_ids: tuple[int, ...] | None = None
    logprobs: tuple[TokenLogprob, ...] | None = None


class Usage(msgspec.Struct, frozen=True, omit_defaults=True):
    """Tokens. `completion_tokens` are those of all samples."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int | None = None
    """Of the prompt, those that a prefix cache held; None where the provider does not tell."""
    estimated: bool = False
    """True where the provider did not count, and we did by our own rule."""

    @property
    def total_tokens(self) -> int:
        """Prompt and completion."""
        return self.prompt_tokens + self.completion_tokens


class Timing(msgspec.Struct, frozen=True, omit_defaults=True):
    """Seconds, by the clock of whoever asked."""

    total_s: float | None = None
    first_token_s: float | None = None
    """From the call to the first piece; known where the answer was streamed."""
    queue_s: float | None = None
    """Of the total: waited in our own queue."""


class Completion(msgspec.Struct, frozen=True, omit_defaults=True):
    """The answer to a request: one choice, or n."""

    choices: tuple[Choice, ...]
    usage: Usage = Usage()
    model: str = ""
    """As the provider names it in its answer."""
    timing: Timing = Timing()
    cost_usd: float | None = None
    """None where the price is not known."""
    notes: tuple[str, ...] = ()
    """What the caller should know, such as that the answer was cut short by the context."""

    @property
    def text(self) -> str:
        """The first sample's text."""
        return self.choices[0].text

    @property
    def tool_calls(self) -> tuple[ToolCall, ...]:
        """The first sample's tool calls."""
        return self.choices[0].tool_calls

    @property
    def finish_reason(self) -> FinishReason:
        """The first sample's."""
        return self.choices[0].finish_reason

    def message(self, choice: int = 0) -> ChatMessage:
        """A sample as the assistant's message, to go on with the conversation."""
        sample = self.choices[choice]
        return ChatMessage("assistant", (TextPart(sample.text),), sample.tool_calls)


class Delta(msgspec.Struct, frozen=True, omit_defaults=True):
    """A piece of a streamed answer. The last one holds the completion and no text."""

    text: str = ""
    choice: int = 0
    completion: Completion | None = None
