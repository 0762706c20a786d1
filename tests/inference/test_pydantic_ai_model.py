"""Models by pydantic-ai: its own stand-ins, and its OpenAI provider against a real server. Nothing is mocked."""

import asyncio
import json
import sys
from collections.abc import Callable
from typing import Any

import pytest

from inference.completion import Completion
from inference.endpoint import EndpointSettings
from inference.errors import (
    BadRequest,
    ConfigurationError,
    ContextTooLong,
    DeadlinePassed,
    EngineDead,
    ExtraMissing,
    InvalidAnswer,
    LLMError,
    RateLimited,
    Refused,
)
from inference.message import ChatMessage, ToolCall
from inference.provider import ModelSpec, open_model, parse_model
from inference.pydantic_ai_model import PydanticAILLM
from inference.request import Request, ResponseSchema, Sampling, Tool
from inference.retry import RetryPolicy
from inference.secret import Secret
from tests.inference.conformance import check_model
from tests.inference.server import Behaviour, Server, chat, close, hang, openai, serving, whole

pydantic_ai = pytest.importorskip("pydantic_ai", reason="the extra `pydantic-ai` is not installed")
from pydantic_ai.exceptions import UnexpectedModelBehavior  # noqa: E402  # after the skip, which is its point
from pydantic_ai.models.function import FunctionModel  # noqa: E402
from pydantic_ai.models.openai import OpenAIChatModel  # noqa: E402
from pydantic_ai.providers.openai import OpenAIProvider  # noqa: E402

KEY = "sk-test-0123456789abcdef"
ONCE = RetryPolicy(attempts=1)


def model_at(server: Server, **settings: Any) -> PydanticAILLM:
    inner = OpenAIChatModel("tiny", provider=OpenAIProvider(base_url=f"{server.url}/v1", api_key=KEY))
    return PydanticAILLM(inner, settings=EndpointSettings(**{"retry": ONCE, **settings}))


def asked(behaviour: Behaviour, request: Request, **settings: Any) -> tuple[Completion, dict[str, Any]]:
    """The completion, and the body that was sent."""

    async def main() -> tuple[Completion, dict[str, Any]]:
        async with serving(behaviour) as server, model_at(server, **settings) as model:
            return await model.complete(request), server.asked[-1].json

    return asyncio.run(main())


def failure(*behaviours: Behaviour, request: Request | None = None, **settings: Any) -> tuple[LLMError, int]:
    """The error, and how often the server was asked."""

    async def main() -> tuple[LLMError, int]:
        async with serving(*behaviours) as server, model_at(server, **settings) as model:
            with pytest.raises(LLMError) as caught:
                await model.complete(request or Request.of("hi"))
        return caught.value, len(server.asked)

    return asyncio.run(main())


def test_it_keeps_to_what_all_models_keep_to() -> None:
    async def main() -> None:
        async with serving(openai) as server, model_at(server) as model:
            await check_model(model, samples=1)
            assert model.identity == "pydantic-ai:openai:tiny"

    asyncio.run(main())


def test_a_conversation_goes_out_and_comes_back_whole() -> None:
    said = {
        "role": "assistant",
        "content": "Adding.",
        "tool_calls": [{"id": "y", "type": "function", "function": {"name": "add", "arguments": '{"a": 2}'}}],
    }
    request = Request(
        (
            ChatMessage.system("be brief"),
            ChatMessage.user("look", ["https://host/a.png"]),
            ChatMessage.assistant("", [ToolCall("x", "add", '{"a":1}')]),
            ChatMessage.tool("x", "2"),
            ChatMessage.assistant("It is 2."),
            ChatMessage.user("and now"),
        ),
        Sampling(0.5, 0.9, frequency_penalty=0.2, presence_penalty=0.3, stop=("END",), seed=7, max_tokens=20),
        (Tool("add", "Adds.", {"type": "object", "properties": {"a": {"type": "integer"}}}),),
        "required",
        ResponseSchema.json({"type": "object", "properties": {}}),
    )
    completion, body = asked(whole(200, chat(message=said, finish_reason="tool_calls")), request)
    assert [message["role"] for message in body["messages"]] == [
        "system",
        "user",
        "assistant",
        "tool",
        "assistant",
        "user",
    ]
    assert body["messages"][1]["content"][1]["image_url"]["url"] == "https://host/a.png"
    assert body["messages"][3]["tool_call_id"] == "x"
    expected = {
        "temperature": 0.5,
        "top_p": 0.9,
        "frequency_penalty": 0.2,
        "presence_penalty": 0.3,
        "stop": ["END"],
        "seed": 7,
        "tool_choice": "required",
    }
    assert {name: body[name] for name in expected} == expected
    assert 20 in (body.get("max_tokens"), body.get("max_completion_tokens"))
    assert body["tools"][0]["function"]["name"] == "add"
    assert body["response_format"]["json_schema"]["schema"]["type"] == "object"
    assert (completion.text, completion.finish_reason) == ("Adding.", "tool_calls")
    (call,) = completion.tool_calls
    assert (call.id, call.name, call.values()) == ("y", "add", {"a": 2})
    usage = completion.usage
    assert (usage.prompt_tokens, usage.completion_tokens, usage.cached_tokens) == (10, 3, 4)


def test_neutral_parameters_are_left_to_the_provider() -> None:
    _completion, body = asked(openai, Request.of("hi"))
    assert not {"temperature", "top_p", "seed", "stop", "frequency_penalty"} & set(body)


@pytest.mark.parametrize(
    ("request_", "told"),
    [
        (Request.of("x", sampling=Sampling(n=2)), "place for n"),
        (Request.of("x", sampling=Sampling(logprobs=0)), "logprobs"),
        (Request.of("x", sampling=Sampling(min_p=0.1)), "min_p"),
        (Request.of("x", sampling=Sampling(repetition_penalty=1.1)), "repetition_penalty"),
        (Request.of("x", token_ids=True), "token_ids"),
        (Request.of("x", response_schema=ResponseSchema.choice("a")), "a choice"),
    ],
)
def test_what_it_has_no_place_for_is_refused_with_the_mend(request_: Request, told: str) -> None:
    error, times = failure(hang, request=request_)
    assert isinstance(error, BadRequest)
    assert told in str(error)
    assert times == 0


@pytest.mark.parametrize(
    ("behaviour", "kind", "definite"),
    [
        (whole(429, {"error": {"message": "slow"}}, {"Retry-After": "7"}), RateLimited, True),
        (whole(429, {"error": {"message": "no", "code": "insufficient_quota"}}), BadRequest, True),
        (whole(400, {"error": {"message": "x", "code": "context_length_exceeded"}}), ContextTooLong, True),
        (whole(400, {"error": {"message": "no such parameter"}}), BadRequest, True),
        (whole(401, {"error": {"message": "bad key"}}), BadRequest, True),
        (whole(404, {"error": {"message": "no such model"}}), BadRequest, True),
        (whole(500, b"oops"), EngineDead, False),
        (whole(503, b"loading"), EngineDead, True),
        (whole(503, b"loading", {"Retry-After": "3"}), RateLimited, True),
        (close, EngineDead, False),
        (whole(200, {"object": "list"}), InvalidAnswer, False),
        (whole(200, chat(finish_reason="content_filter")), Refused, False),
    ],
)
def test_each_fault_has_its_error(behaviour: Behaviour, kind: type[LLMError], definite: bool) -> None:
    error, times = failure(behaviour)
    assert type(error) is kind, repr(error)
    assert error.definite == definite
    assert times == 1  # the retries of others are off
    if isinstance(error, RateLimited):
        assert error.wait_s in (3, 7)


def test_ours_are_the_retries() -> None:
    limited = whole(429, {"error": {"message": "slow"}}, {"Retry-After": "0"})

    async def main() -> None:
        quick = RetryPolicy(first_wait_s=0.0)
        async with serving(limited, limited, openai) as server, model_at(server, retry=quick) as model:
            assert (await model.complete(Request.of("hi"))).text
            assert len(server.asked) == 3

    asyncio.run(main())


def test_an_endpoint_that_hangs_meets_the_deadline() -> None:
    error, _times = failure(hang, request=Request.of("hi", timeout_s=0.3))
    assert isinstance(error, DeadlinePassed)


def test_a_provider_that_is_not_there_definitely_did_nothing() -> None:
    async def main() -> LLMError:
        async with serving(hang) as server:
            model = model_at(server)
        with pytest.raises(EngineDead) as caught:
            await model.complete(Request.of("hi"))
        return caught.value

    assert asyncio.run(main()).definite


def test_the_key_is_struck_out_of_what_the_provider_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("THE_KEY", KEY)
    key = Secret("env:THE_KEY")
    completion, _body = asked(whole(200, chat(f"your key is {KEY}")), Request.of("hi"), key=key)
    assert completion.text == "your key is [key]"
    error, _times = failure(whole(401, {"error": {"message": f"bad: {KEY}"}}), key=key)
    assert KEY not in str(error)
    assert KEY not in repr(error.__dict__)


def stand_in(answer: Callable[..., Any]) -> PydanticAILLM:
    return PydanticAILLM(FunctionModel(answer), settings=EndpointSettings(retry=ONCE))


def test_arguments_that_come_decoded_are_json_again() -> None:
    def answer(messages: Any, info: Any) -> Any:
        return pydantic_ai.ModelResponse([pydantic_ai.ToolCallPart("add", {"a": "ü"}, "1")])

    completion = asyncio.run(stand_in(answer).complete(Request.of("hi", tools=(Tool("add"),))))
    assert json.loads(completion.tool_calls[0].arguments) == {"a": "ü"}
    assert completion.finish_reason == "tool_calls"


def test_a_bug_is_not_taken_for_a_fault_of_the_provider() -> None:
    def bug(messages: Any, info: Any) -> Any:
        raise ZeroDivisionError

    def odd(messages: Any, info: Any) -> Any:
        raise UnexpectedModelBehavior("odd")

    with pytest.raises(ZeroDivisionError):
        asyncio.run(stand_in(bug).complete(Request.of("hi")))
    with pytest.raises(InvalidAnswer, match="odd"):
        asyncio.run(stand_in(odd).complete(Request.of("hi")))


def test_a_line_names_a_model(monkeypatch: pytest.MonkeyPatch) -> None:
    line = "pydantic-ai:openai:gpt-5-mini"
    assert parse_model(line) == ModelSpec("pydantic-ai", "openai:gpt-5-mini")
    assert str(parse_model(line)) == line
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    assert open_model(line).identity.startswith("pydantic-ai:openai")
    monkeypatch.delenv("OPENAI_API_KEY")
    for wrong, told in (
        (line, "OPENAI_API_KEY"),
        ("pydantic-ai:nobody:x", "cannot make the model nobody:x"),
        ("pydantic-ai:gpt-5", "PROVIDER:NAME"),
    ):
        with pytest.raises(ConfigurationError, match=told):
            open_model(wrong)


def test_without_the_package_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pydantic_ai", None)
    with pytest.raises(ExtraMissing, match=r"pip install 'rayswarm\[pydantic-ai\]'"):
        PydanticAILLM("openai:x")
