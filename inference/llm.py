"""`BaseLLM`: any language model. Extend it: `complete` is enough, `stream` and `count_tokens` have a plain default.

Rules that every model keeps, and `tests/inference/conformance.py` checks on each:
* `complete` returns a whole completion or raises an `LLMError`; nothing else leaves it but cancellation, and bugs.
* `stream` yields pieces of text and last, exactly once, the completion; the pieces of a choice, joined, are its text.
  A stream that breaks raises; it never ends early as if it were whole.
* A caller that goes away (cancellation, a closed stream) frees what the call held.
* `identity` names the model and its revision: what two requests must share to have the same answer. No key is in it.
"""

from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator
from typing import Any, Self

import msgspec

from inference.completion import Completion, Delta
from inference.request import Request
from inference.simple_tokenizer import prompt_tokens


class TokenCount(msgspec.Struct, frozen=True):
    """How long a prompt is. `exact` is false for an estimate."""

    tokens: int
    exact: bool


class BaseLLM(ABC):
    """A language model."""

    @property
    @abstractmethod
    def identity(self) -> str:
        """Provider, name and revision in one line, such as `openai:http://host/v1#name@revision`."""

    @abstractmethod
    async def complete(self, request: Request) -> Completion:
        """The answer. Raises `LLMError`."""

    async def stream(self, request: Request) -> AsyncGenerator[Delta, None]:
        """The answer in pieces; by default in one. Close it (`aclose`) if you leave before its end."""
        completion = await self.complete(request)
        for number, choice in enumerate(completion.choices):
            if choice.text:
                yield Delta(choice.text, number)
        yield Delta(completion=completion)

    async def count_tokens(self, request: Request) -> TokenCount:
        """The length of the prompt; by default estimated by the simple tokenizer."""
        return TokenCount(prompt_tokens(request), exact=False)

    def describe(self) -> dict[str, Any]:
        """What a manifest should say of the model: plain values, no key. By default its identity."""
        return {"identity": self.identity}

    async def aclose(self) -> None:  # noqa: B027  # most models hold nothing, and need not say so
        """Gives back what the model holds: connections, files. It may be called twice."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_error: object) -> None:
        await self.aclose()
