"""One conversation with the answer that is expected, and the rule that holds some of them out of training.

Rules:
* A conversation is drawn from a seeded generator and nothing else: the same seed gives the same words everywhere.
* Its `key` names the facts that make the question (numbers, words), not the phrasing. A hash of the key decides whether
  it is held out, so what is tested never occurs in training in any phrasing. As a prompt states all facts of its key,
  no prompt can occur on both sides.
* JSON of answers has no spaces between its parts: so it is what an engine writes that is bound to a schema, and a bound
  answer is the one that was learnt.
* An answer is right if it is exactly what was expected: the same text; where it is JSON, the same value in any spacing;
  where it is tool calls, the same names and arguments.
"""

import json
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

from inference.message import ChatMessage, ToolCall
from inference.request import Tool

HELD_OUT_IN = 8
"""One key in so many is held out of training."""
CALL_OPENS, CALL_CLOSES = "<tool_call>\n", "\n</tool_call>"


@dataclass(frozen=True)
class Conversation:
    """A prompt (messages and tools), and the one right answer: `text`, or `calls` if it asks for tools."""

    family: str
    key: str
    messages: tuple[ChatMessage, ...]
    text: str
    tools: tuple[Tool, ...] = ()
    calls: tuple[ToolCall, ...] = ()

    @property
    def held_out(self) -> bool:
        """True if it is never trained on."""
        return is_held_out(self.key)

    @property
    def expected(self) -> str:
        """The answer as the model writes it, tool calls included."""
        return self.text + written(self.calls)

    def is_answered_by(self, text: str, calls: Sequence[ToolCall] = ()) -> bool:
        """True for exactly the right answer. Tool calls may stand in the text or come apart."""
        if calls:
            text += written(calls)
        return bool(_value(text) == _value(self.expected))


@dataclass(frozen=True)
class Family:
    """A kind of task: its name, what draws a conversation of it, and its share of the training."""

    name: str
    draw: Callable[[random.Random], Conversation]
    share: int


def is_held_out(key: str) -> bool:
    """True for one key in `HELD_OUT_IN`, by its BLAKE2b hash: the same on every machine."""
    digest = blake2b(key.encode(), digest_size=8).digest()
    return int.from_bytes(digest) % HELD_OUT_IN == 0


def as_json(value: dict[str, Any]) -> str:
    """An answer in JSON, without spaces between its parts."""
    return json.dumps(value, separators=(",", ":"))


def written(calls: Sequence[ToolCall]) -> str:
    """Tool calls in the form of Hermes, which vLLM's parser `hermes` reads."""
    return "\n".join(
        f'{CALL_OPENS}{{"name": {json.dumps(call.name)}, "arguments": {call.arguments}}}{CALL_CLOSES}'
        for call in calls
    )


def _value(text: str) -> Any:
    """What an answer says: the text before the calls, and each call's name and arguments; JSON as its value."""
    before, *calls = text.strip().split(CALL_OPENS.strip())
    if not calls:
        return _decoded(before)
    return [before.strip(), *(_decoded(call.strip().removesuffix(CALL_CLOSES.strip())) for call in calls)]


def _decoded(text: str) -> Any:
    """JSON as a value that tells 1 from true and from 1.0; text that is none as it is."""
    try:
        return "JSON", json.dumps(json.loads(text), sort_keys=True)
    except ValueError:
        return text.strip()
