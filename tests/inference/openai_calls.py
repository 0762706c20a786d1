"""Calls of an OpenAI-compatible endpoint at the test server, for the tests of what comes of them."""

import asyncio
from random import Random
from typing import Any

import pytest

from inference.completion import Completion, Delta
from inference.endpoint import EndpointSettings
from inference.errors import LLMError
from inference.llm import BaseLLM
from inference.openai_endpoint import OpenAICompatLLM
from inference.request import Request
from tests.inference.conformance import pieces
from tests.inference.server import Behaviour, Server, chunked, events, serving, whole


class Notebook:
    """A clock that notes waits and does not wait."""

    def __init__(self) -> None:
        self.waits: list[float] = []

    def now(self) -> float:
        return sum(self.waits)

    async def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)
        await asyncio.sleep(0)


def settings(**options: Any) -> EndpointSettings:
    return EndpointSettings(**{"idle_s": 20.0, "rng": Random(1), **options})


def model_at(server: Server, **options: Any) -> OpenAICompatLLM:
    return OpenAICompatLLM(f"{server.url}/v1", "tiny", settings=settings(**options))


async def ask(model: BaseLLM, request: Request, stream: bool) -> Completion:
    """The answer, whole or streamed."""
    if not stream:
        return await model.complete(request)
    completion = (await pieces(model, request))[-1].completion
    assert completion is not None
    return completion


def whole_answer(answer: Any, request: Request | None = None, **options: Any) -> Completion:
    async def main() -> Completion:
        async with serving(whole(200, answer)) as server, model_at(server, **options) as model:
            return await model.complete(request or Request.of("hi"))

    return asyncio.run(main())


def streamed(
    *data: Any, request: Request | None = None, done: bool = True, ending: str = "end"
) -> list[Delta]:
    async def main() -> list[Delta]:
        behaviour = chunked(events(*data, done=done), ending=ending)
        async with serving(behaviour) as server, model_at(server) as model:
            return await pieces(model, request or Request.of("hi"))

    return asyncio.run(main())


def failure(*behaviours: Behaviour, stream: bool = False, **options: Any) -> tuple[LLMError, Server]:
    """The error of a call, and what the server saw."""

    async def main() -> tuple[LLMError, Server]:
        async with serving(*behaviours) as server, model_at(server, **options) as model:
            with pytest.raises(LLMError) as caught:
                await ask(model, Request.of("hi"), stream)
        return caught.value, server

    return asyncio.run(main())
