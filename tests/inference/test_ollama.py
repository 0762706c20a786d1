"""Models of an Ollama server, against a real server that speaks its protocol, well and badly."""

import asyncio
from random import Random
from typing import Any

import pytest

from inference.completion import Completion
from inference.endpoint import EndpointSettings
from inference.errors import BadRequest, ContextTooLong, DeadlinePassed, EngineDead, InvalidAnswer, LLMError
from inference.message import ChatMessage, ToolCall
from inference.ollama import OllamaLLM, PullProgress
from inference.request import Request, ResponseSchema, Sampling, Tool
from inference.secret import Secret
from tests.inference.conformance import check_model, pieces
from tests.inference.needs import needs
from tests.inference.server import (
    OLLAMA_END,
    Behaviour,
    chunked,
    close,
    hang,
    lines,
    ollama_says,
    serving,
    whole,
)


@pytest.fixture(autouse=True)
def _endpoints() -> None:
    needs("openai", "httpx2")


SETTINGS: dict[str, Any] = {"idle_s": 20.0, "rng": Random(1)}


def called(
    behaviour: Behaviour, request: Request | None = None, **options: Any
) -> tuple[Completion, dict[str, Any]]:
    """The completion, and the body that was sent."""

    async def main() -> tuple[Completion, dict[str, Any]]:
        async with serving(behaviour) as server:
            async with OllamaLLM(
                "tiny", url=server.url, settings=EndpointSettings(**SETTINGS), **options
            ) as model:
                completion = await model.complete(request or Request.of("hi"))
            asked = server.asked[-1]
            assert (asked.method, asked.path) == ("POST", "/api/chat")
            return completion, asked.json

    return asyncio.run(main())


def failure(behaviour: Behaviour, request: Request | None = None, **settings: Any) -> LLMError:
    async def main() -> LLMError:
        async with serving(behaviour) as server:
            options = EndpointSettings(**{**SETTINGS, **settings})
            async with OllamaLLM("tiny", url=server.url, settings=options) as model:
                with pytest.raises(LLMError) as caught:
                    await model.complete(request or Request.of("hi"))
                return caught.value

    return asyncio.run(main())


def test_it_keeps_to_what_all_models_keep_to() -> None:
    async def main() -> None:
        async with serving(ollama_says("Hel", "lo.")) as server, OllamaLLM("tiny", url=server.url) as model:
            await check_model(model, samples=1)

    asyncio.run(main())


def test_every_parameter_is_sent_since_ollamas_defaults_are_not_neutral() -> None:
    _completion, body = called(ollama_says("a"))
    assert body == {
        "model": "tiny",
        "messages": [{"role": "user", "content": "hi"}],
        "stream": True,
        "options": {
            "temperature": 1.0,
            "top_p": 1.0,
            "top_k": 0,
            "min_p": 0.0,
            "frequency_penalty": 0.0,
            "presence_penalty": 0.0,
            "repeat_penalty": 1.0,
            "num_predict": 512,
        },
    }


def test_all_there_is_is_sent() -> None:
    call = ToolCall("call_1", "add", '{"a": 1}')
    request = Request(
        (
            ChatMessage.user("look", ["data:image/png;base64,AAAA"]),
            ChatMessage.assistant("", [call]),
            ChatMessage.tool("call_1", "2"),
        ),
        Sampling(seed=7, stop=("END",), logprobs=2),
        (Tool("add"),),
        response_schema=ResponseSchema.json({"type": "object"}),
    )
    _completion, body = called(ollama_says("a"), request, keep_alive="10m", context_tokens=4096)
    user, assistant, tool = body["messages"]
    assert user["images"] == ["AAAA"]
    assert assistant["tool_calls"] == [{"function": {"name": "add", "arguments": {"a": 1}}}]
    assert tool == {"role": "tool", "content": "2", "tool_name": "add"}
    assert (body["format"], body["keep_alive"], body["top_logprobs"]) == ({"type": "object"}, "10m", 2)
    assert {name: body["options"][name] for name in ("seed", "stop", "num_ctx")} == {
        "seed": 7,
        "stop": ["END"],
        "num_ctx": 4096,
    }
    assert body["tools"][0]["function"]["name"] == "add"
    assert "strict" not in body["tools"][0]["function"]


@pytest.mark.parametrize(
    ("request_", "told"),
    [
        (Request.of("x", sampling=Sampling(n=2)), "ask 2 times"),
        (Request.of("x", response_schema=ResponseSchema.choice("a")), "an enum"),
        (Request.of("x", tools=(Tool("f"),), tool_choice="required"), "auto or none"),
        (Request.of("x", token_ids=True), "token_ids"),
        (Request((ChatMessage.user("x", ["https://host/a.png"]),)), "data:image"),
        (Request((ChatMessage.assistant("", [ToolCall("1", "f", "{broken")]),)), "JSON only"),
    ],
)
def test_what_ollama_has_not_is_refused_with_the_mend(request_: Request, told: str) -> None:
    error = failure(hang, request_)
    assert isinstance(error, BadRequest)
    assert told in str(error)


def test_an_answer_is_put_together() -> None:
    said = {"content": "ü", "tool_calls": [{"function": {"name": "add", "arguments": {"a": 1}}}]}
    told = [{"message": said, "logprobs": [{"token": "ü", "logprob": -0.5, "top_logprobs": []}]}, OLLAMA_END]
    request = Request.of("hi", sampling=Sampling(logprobs=1))
    completion, _body = called(chunked(lines(*told)), request)
    assert (completion.text, completion.finish_reason, completion.model) == ("ü", "tool_calls", "tiny")
    assert completion.tool_calls[0].values() == {"a": 1}
    assert completion.choices[0].logprobs is not None
    assert completion.choices[0].logprobs[0].logprob == -0.5
    assert (completion.usage.prompt_tokens, completion.usage.completion_tokens) == (10, 3)
    assert completion.usage.cached_tokens is None


def test_a_result_names_the_tool_of_the_last_call_with_its_id() -> None:
    """Ids of calls may come again in a conversation, where a server gives none or few."""
    talk = (
        ChatMessage.assistant("", [ToolCall("call_0", "add")]),
        ChatMessage.tool("call_0", "2"),
        ChatMessage.assistant("", [ToolCall("call_0", "subtract")]),
        ChatMessage.tool("call_0", "1"),
    )
    _completion, body = called(ollama_says("a"), Request(talk))
    assert [message["tool_name"] for message in body["messages"][1::2]] == ["add", "subtract"]


def test_calls_have_an_id_of_their_own_in_the_whole_conversation() -> None:
    said = {"tool_calls": [{"function": {"name": "add"}}, {"function": {"name": "add"}}]}
    behaviour = chunked(lines({"message": said}, OLLAMA_END))
    first, _body = called(behaviour)
    talk = (ChatMessage.user("hi"), first.message(), ChatMessage.tool(first.tool_calls[0].id, "2"))
    second, _body = called(behaviour, Request(talk))
    assert len({call.id for completion in (first, second) for call in completion.tool_calls}) == 4


def test_a_full_context_is_noted_since_ollama_cuts_in_silence() -> None:
    completion, _body = called(ollama_says("a", prompt_eval_count=4000, eval_count=96), context_tokens=4096)
    assert "may have been cut" in completion.notes[0]
    assert called(ollama_says("a"), context_tokens=4096)[0].notes == ()


def test_a_cut_answer_and_one_that_is_not_counted_are_told() -> None:
    completion, _body = called(
        ollama_says("one", done_reason="length", prompt_eval_count=None, eval_count=None)
    )
    assert completion.finish_reason == "length"
    assert completion.usage.estimated
    completion, _body = called(ollama_says("one", done_reason="length"))
    assert "cut before max_tokens (512)" in completion.notes[0]


@pytest.mark.parametrize(
    ("behaviour", "kind", "told", "definite"),
    [
        (whole(404, {"error": "model 'tiny' not found"}), BadRequest, "Check the model's name", True),
        (whole(400, {"error": "tiny does not support tools"}), BadRequest, "tools", True),
        (whole(400, {"error": "input length exceeds maximum context length"}), ContextTooLong, "input", True),
        (whole(500, {"error": "llama runner process has terminated"}), EngineDead, "runner", False),
        (chunked(lines({"error": "out of memory"})), EngineDead, "out of memory", False),
        (chunked(lines({"message": {"content": "a"}}), ending="close"), EngineDead, "broke off", False),
        (chunked(lines({"message": {"content": "a"}})), EngineDead, "broke off", False),
        (chunked([b'{"message": {"content": "a"']), InvalidAnswer, "no answer", False),
        (chunked([b"nonsense\n"]), InvalidAnswer, "no answer", False),
        (chunked(lines({"message": {"content": 7}})), InvalidAnswer, "no answer", False),
        (chunked(lines({**OLLAMA_END, "eval_count": -1})), InvalidAnswer, "below zero", False),
        (close, EngineDead, "broke off", False),
    ],
)
def test_each_fault_has_its_error(
    behaviour: Behaviour, kind: type[LLMError], told: str, definite: bool
) -> None:
    error = failure(behaviour)
    assert type(error) is kind
    assert told in str(error)
    assert error.definite == definite


def test_a_text_about_errors_is_no_error() -> None:
    assert called(ollama_says('say "error": now'))[0].text == 'say "error": now'


def test_a_server_that_hangs_meets_the_deadline() -> None:
    error = failure(hang, Request.of("hi", timeout_s=0.2))
    assert isinstance(error, DeadlinePassed)


def test_models_are_listed() -> None:
    told = {"models": [{"name": "tiny:latest", "digest": "abc", "size": 5, "details": {"family": "llama"}}]}

    async def main() -> None:
        async with serving(whole(200, told)) as server, OllamaLLM("tiny", url=server.url) as model:
            (listed,) = await model.models()
            assert (listed.name, listed.digest, listed.size) == ("tiny:latest", "abc", 5)
            assert len(await model.running()) == 1
            assert [asked.path for asked in server.asked] == ["/api/tags", "/api/ps"]

    asyncio.run(main())


def test_a_pull_tells_how_far_it_is() -> None:
    told = [
        {"status": "pulling manifest"},
        {"status": "downloading", "digest": "abc", "total": 10, "completed": 4},
        {"status": "success"},
    ]

    async def main() -> None:
        async with serving(chunked(lines(*told))) as server, OllamaLLM("tiny", url=server.url) as model:
            seen = [progress async for progress in model.pull()]
            assert seen[1] == PullProgress("downloading", "abc", 10, 4)
            assert seen[-1].status == "success"
            assert server.asked[0].json["model"] == "tiny"

    asyncio.run(main())


@pytest.mark.parametrize(
    ("told", "reason"),
    [
        ([{"status": "pulling manifest"}], "broke off at 'pulling manifest'"),
        ([{"error": "file does not exist"}], "file does not exist"),
    ],
)
def test_a_pull_that_fails_is_told(told: list[dict[str, str]], reason: str) -> None:
    async def main() -> None:
        async with serving(chunked(lines(*told))) as server, OllamaLLM("tiny", url=server.url) as model:
            with pytest.raises(EngineDead, match=reason):
                _ = [progress async for progress in model.pull()]

    asyncio.run(main())


def test_a_key_is_sent_and_struck_out_of_what_comes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("THE_KEY", "sk-test-1234")
    settings = EndpointSettings(key=Secret("env:THE_KEY"))

    async def main() -> None:
        async with serving(ollama_says("sk-test-1234")) as server:
            async with OllamaLLM("tiny", url=server.url, settings=settings) as model:
                assert (await pieces(model, Request.of("hi")))[0].text == "[key]"
            assert server.asked[0].headers["authorization"] == "Bearer sk-test-1234"

    asyncio.run(main())
