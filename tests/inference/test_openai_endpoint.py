"""OpenAI-compatible endpoints, against a real server: what is sent, and what is made of good answers."""

import asyncio
import sys
from typing import Any

import pytest

from inference.errors import ExtraMissing
from inference.message import ChatMessage, ToolCall
from inference.openai_endpoint import OpenAICompatLLM
from inference.price import Price
from inference.request import Caller, Request, ResponseSchema, Sampling, Tool
from tests.inference.conformance import check_model, pieces
from tests.inference.openai_calls import model_at, needs_endpoints, streamed, whole_answer
from tests.inference.server import chat, chunk, chunked, events, openai, serving

pytestmark = needs_endpoints


def test_it_keeps_to_what_all_models_keep_to() -> None:
    async def main() -> None:
        async with serving(openai) as server, model_at(server) as model:
            await check_model(model)

    asyncio.run(main())


def test_connections_are_used_again() -> None:
    async def main() -> None:
        async with serving(openai) as server, model_at(server) as model:
            for _ in range(3):
                await model.complete(Request.of("hi"))
                await pieces(model, Request.of("hi"))
            assert (len(server.asked), server.connections) == (6, 1)
            assert server.asked[0].headers["accept-encoding"] == "identity"

    asyncio.run(main())


def test_without_the_package_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openai", None)
    with pytest.raises(ExtraMissing, match=r"pip install 'rayswarm\[endpoints\]'"):
        OpenAICompatLLM("http://host/v1", "tiny")


# --- What is sent ---------------------------------------------------------------------------------------------


def sent(request: Request) -> dict[str, Any]:
    async def main() -> dict[str, Any]:
        async with serving(openai) as server, model_at(server) as model:
            await model.complete(request)
            asked = server.asked[-1]
            assert (asked.method, asked.path) == ("POST", "/v1/chat/completions")
            return asked.json

    return asyncio.run(main())


def test_a_plain_request_sends_no_more_than_it_must() -> None:
    assert sent(Request.of("hi", system="be brief", caller=Caller("agent/1", "agent", "secret run"))) == {
        "model": "tiny",
        "messages": [{"role": "system", "content": "be brief"}, {"role": "user", "content": "hi"}],
        "max_tokens": 512,
        "temperature": 1.0,
        "top_p": 1.0,
    }


def test_all_there_is_is_sent() -> None:
    call = ToolCall("call_1", "add", '{"a": 1}')
    add = Tool("add", "Adds.", {"type": "object", "properties": {"a": {"type": "integer"}}})
    body = sent(
        Request(
            (
                ChatMessage.user("look", ["https://host/a.png"]),
                ChatMessage.assistant("", [call]),
                ChatMessage.tool("call_1", "2"),
            ),
            Sampling(0.5, 0.9, 5, 0.1, 0.2, 0.3, 1.1, ("END",), 7, 20, 1, 3),
            (add, Tool("free", strict=False)),
            "add",
            ResponseSchema.json({"type": "object"}),
            token_ids=True,
        )
    )
    assert body["messages"] == [
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "look"},
                {"type": "image_url", "image_url": {"url": "https://host/a.png"}},
            ],
        },
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [
                {"id": "call_1", "type": "function", "function": {"name": "add", "arguments": '{"a": 1}'}}
            ],
        },
        {"role": "tool", "content": "2", "tool_call_id": "call_1"},
    ]
    first, second = (tool["function"] for tool in body["tools"])
    assert first["strict"] is True
    assert "strict" not in second
    assert body["tool_choice"] == {"type": "function", "function": {"name": "add"}}
    assert body["response_format"]["json_schema"]["schema"] == {"type": "object"}
    expected = {
        "temperature": 0.5,
        "top_p": 0.9,
        "top_k": 5,
        "min_p": 0.1,
        "frequency_penalty": 0.2,
        "presence_penalty": 0.3,
        "repetition_penalty": 1.1,
        "stop": ["END"],
        "seed": 7,
        "max_tokens": 20,
        "logprobs": True,
        "top_logprobs": 3,
        "return_token_ids": True,
    }
    assert {name: body[name] for name in expected} == expected


@pytest.mark.parametrize(
    ("schema", "field"),
    [
        (ResponseSchema("regex", "a+"), {"regex": "a+"}),
        (ResponseSchema.choice("a", "b"), {"choice": ["a", "b"]}),
        (ResponseSchema("grammar", 'root ::= "a"'), {"grammar": 'root ::= "a"'}),
    ],
)
def test_other_forms_go_in_vllms_field(schema: ResponseSchema, field: dict[str, Any]) -> None:
    assert sent(Request.of("hi", response_schema=schema))["structured_outputs"] == field


# --- What comes back ------------------------------------------------------------------------------------------


def test_an_answer_is_taken_with_its_usage_model_and_price() -> None:
    completion = whole_answer(chat("Hello."), price=Price(1.0, 10.0, 0.5))
    assert (completion.text, completion.finish_reason, completion.model) == ("Hello.", "stop", "served")
    assert (completion.usage.prompt_tokens, completion.usage.cached_tokens) == (10, 4)
    assert completion.cost_usd == pytest.approx((6 * 1 + 4 * 0.5 + 3 * 10) / 1e6)
    assert whole_answer(chat()).cost_usd is None


def test_usage_that_is_not_told_is_estimated_and_says_so() -> None:
    usage = whole_answer({**chat("one two"), "usage": None}).usage
    assert (usage.completion_tokens, usage.estimated, usage.cached_tokens) == (2, True, None)


def test_tool_calls_are_taken() -> None:
    said = {
        "role": "assistant",
        "content": None,
        "tool_calls": [
            {"id": "x", "type": "function", "function": {"name": "add", "arguments": '{"a":1}'}},
            {"id": "", "type": "function", "function": {"name": "add", "arguments": "{broken"}},
        ],
    }
    completion = whole_answer(chat(message=said, finish_reason="tool_calls"))
    assert completion.finish_reason == "tool_calls"
    first, second = completion.tool_calls
    assert (first.id, first.values()) == ("x", {"a": 1})
    assert (second.id, second.arguments) == ("call_1", "{broken")
    assert whole_answer(chat(message=said)).finish_reason == "tool_calls"


def test_logprobs_and_token_ids_are_taken() -> None:
    told = {"content": [{"token": "a", "logprob": -0.5, "top_logprobs": [{"token": "b", "logprob": -1.0}]}]}
    request = Request.of("hi", sampling=Sampling(logprobs=1), token_ids=True)
    choice = whole_answer(chat("a", logprobs=told, token_ids=[5]), request).choices[0]
    assert choice.logprobs is not None
    assert (choice.logprobs[0].logprob, choice.logprobs[0].top) == (-0.5, (("b", -1.0),))
    assert choice.token_ids == (5,)


def test_a_stream_is_put_together() -> None:
    deltas = streamed(
        chunk({"role": "assistant", "content": ""}),
        chunk({"content": "ünï\u2028"}),
        chunk({"tool_calls": [{"index": 0, "id": "x", "function": {"name": "add", "arguments": ""}}]}),
        chunk({"tool_calls": [{"index": 0, "id": "x", "function": {"name": "add", "arguments": '{"a"'}}]}),
        chunk({"tool_calls": [{"index": 1, "id": "y", "function": {"name": "sub", "arguments": "{}"}}]}),
        chunk({"tool_calls": [{"index": 0, "function": {"arguments": ":1}"}}]}),
        chunk({"content": "code"}, token_ids=[1, 2]),
        chunk({}, "tool_calls", token_ids=[3]),
        chunk(None),
    )
    completion = deltas[-1].completion
    assert completion is not None
    assert [delta.text for delta in deltas[:-1]] == ["ünï\u2028", "code"]
    assert completion.text == "ünï\u2028code"
    assert [(call.id, call.name, call.arguments) for call in completion.tool_calls] == [
        ("x", "add", '{"a":1}'),
        ("y", "sub", "{}"),
    ]
    assert completion.choices[0].token_ids == (1, 2, 3)
    assert completion.usage.total_tokens == 13
    assert completion.timing.first_token_s is not None


def test_a_stream_cut_anywhere_is_the_same() -> None:
    data = b"".join(
        events(chunk({"content": "ünï"}), chunk({"content": "code"}), chunk({}, "stop"), chunk(None))
    )

    async def main() -> None:
        for size in (1, 2, 3, 7):
            cut = [data[start : start + size] for start in range(0, len(data), size)]
            async with serving(chunked(cut)) as server, model_at(server) as model:
                *_texts, last = await pieces(model, Request.of("hi"))
                assert last.completion is not None
                assert last.completion.text == "ünïcode"

    asyncio.run(main())


def test_a_stream_without_its_last_word_is_whole_if_it_finished() -> None:
    last = streamed(chunk({"content": "a"}), chunk({}, "stop"), done=False)[-1]
    assert last.completion is not None
    assert last.completion.usage.estimated


def test_a_finish_reason_nobody_knows_is_noted() -> None:
    completion = whole_answer(chat(finish_reason="tired"))
    assert completion.finish_reason == "stop"
    assert "tired" in completion.notes[0]
