"""A LoRA adapter of a model, as a model of its own: the same replica, another identity."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Protocol

from inference.completion import Completion, Delta
from inference.llm import BaseLLM, TokenCount
from inference.request import Request


class Adaptable(Protocol):
    """A model that takes an adapter's name with each request."""

    @property
    def identity(self) -> str:
        """Of the model without an adapter."""
        ...

    async def complete(
        self, request: Request, *, prompt_ids: Sequence[int] | None = None, adapter: str = ""
    ) -> Completion:
        """The answer."""
        ...

    def stream(
        self, request: Request, *, prompt_ids: Sequence[int] | None = None, adapter: str = ""
    ) -> AsyncGenerator[Delta, None]:
        """The answer in pieces."""
        ...

    async def count_tokens(self, request: Request) -> TokenCount:
        """The length of the prompt."""
        ...


class AdapterLLM(BaseLLM):
    """A model with one of its adapters. Closing it leaves the model, which others use."""

    def __init__(self, model: Adaptable, name: str, revision: str) -> None:
        self._model = model
        self._name = name
        self._identity = f"{model.identity}+{name}@{revision}"

    @property
    def identity(self) -> str:
        """The model's, with the adapter's name and revision."""
        return self._identity

    async def complete(self, request: Request, *, prompt_ids: Sequence[int] | None = None) -> Completion:
        """The answer with the adapter."""
        return await self._model.complete(request, prompt_ids=prompt_ids, adapter=self._name)

    async def stream(
        self, request: Request, *, prompt_ids: Sequence[int] | None = None
    ) -> AsyncGenerator[Delta, None]:
        """The answer in pieces."""
        async with aclosing(self._model.stream(request, prompt_ids=prompt_ids, adapter=self._name)) as stream:
            async for delta in stream:
                yield delta

    async def count_tokens(self, request: Request) -> TokenCount:
        """The model's own count: an adapter has its tokenizer."""
        return await self._model.count_tokens(request)
