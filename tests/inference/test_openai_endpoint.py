"""OpenAI-compatible endpoints, against a real server: what is sent, and what is made of good answers."""

import asyncio
import sys
from typing import Any

import pytest

from inference.errors import ExtraMissing
from inference.message import ChatMessage, ToolCall
from inference.openai_body import body_of, is_openais_own
from inference.openai_endpoint import OpenAICompatLLM
from inference.price import Price
from inference.request import Caller, Request, ResponseSchema, Sampling, Tool
from tests.inference.conformance import check_model, pieces
from tests.inference.needs import needs
from tests.inference.openai_calls import model_at, streamed, whole_answer
from tests.inference.server import chat, chunk, chunked, events, openai, serving


@pytest.fixture(autouse=True)
def _endpoints() -> None:
    needs("openai", "httpx2")


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


@pytest.mark.parametrize(
    ("url", "own"),
    [
        ("https://api.openai.com/v1", True),
        ("https://mine.openai.azure.com/openai/v1", True),
        ("http://localhost:8000/v1", False),
        ("https://api.openai.com.evil.example/v1", False),
    ],
)
def test_openais_own_models_are_spared_what_they_refuse(url: str, own: bool) -> None:
    assert is_openais_own(url) == own
    plain = body_of(Request.of("hi"), "x", stream=False, openais_own=own)
    assert set(plain) - {"model", "messages"} == (
        {"max_completion_tokens"} if own else {"max_tokens", "temperature", "top_p"}
    )
    cold = body_of(Request.of("hi", sampling=Sampling(temperature=0)), "x", stream=False, openais_own=own)
    assert cold["temperature"] == 0


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
    assert (second.id, second.arguments) == ("call_1_1", "{broken")
    assert whole_answer(chat(message=said)).finish_reason == "tool_calls"


def test_logprobs_and_token_ids_are_taken() -> None:
    told = {"content": [{"token": "a", "logprob": -0.5, "top_logprobs": [{"token": "b", "logprob": -1.0}]}]}
    request = Request.of("hi", sampling=Sampling(logprobs=1), token_ids=True)
    choice = whole_answer(chat("a", logprobs=told, token_ids=[5]), request).choices[0]
    assert choice.logprobs is not None
    assert (choice.logprobs[0].logprob, choice.logprobs[0].top) == (-0.5, (("b", -1.0),))
    assert choice.token_ids == (5,)


def token(text: str, logprob: float, *top: tuple[str, float]) -> dict[str, Any]:
    """A token's log-probability as the API tells it."""
    return {
        "token": text,
        "logprob": logprob,
        "top_logprobs": [{"token": other, "logprob": value} for other, value in top],
    }


def test_the_likeliest_tokens_come_in_order_though_the_drawn_one_is_told_first() -> None:
    told = {"content": [token("a", -5.0, ("a", -5.0), ("b", -0.1))]}
    choice = whole_answer(chat("a", logprobs=told), Request.of("hi", sampling=Sampling(logprobs=2))).choices[
        0
    ]
    assert choice.logprobs is not None
    assert choice.logprobs[0].top == (("b", -0.1), ("a", -5.0))


def test_samples_of_a_stream_keep_their_tools_and_logprobs_apart() -> None:
    call = {"index": 0, "id": "x", "function": {"name": "add", "arguments": "{}"}}
    deltas = streamed(
        chunk({"content": "one"}, index=0, logprobs={"content": [token("one", -0.5, ("one", -0.5))]}),
        chunk({"tool_calls": [call]}, index=1),
        chunk({"content": "two"}, index=2, logprobs={"content": [token("two", -1.5)]}),
        chunk({"content": " more"}, index=0, logprobs={"content": [token(" more", -2.5)]}),
        chunk({}, "length", index=0),
        chunk({}, "tool_calls", index=1),
        chunk({}, "stop", index=2, logprobs=None),
        chunk(None),
        request=Request.of("hi", sampling=Sampling(n=3, logprobs=1, max_tokens=2), tools=(Tool("add"),)),
    )
    assert [(delta.text, delta.choice) for delta in deltas[:-1]] == [("one", 0), ("two", 2), (" more", 0)]
    completion = deltas[-1].completion
    assert completion is not None
    first, second, third = completion.choices
    assert (first.text, first.finish_reason) == ("one more", "length")
    assert [place.logprob for place in first.logprobs or ()] == [-0.5, -2.5]
    assert (second.text, second.finish_reason, second.tool_calls[0].name) == ("", "tool_calls", "add")
    assert second.logprobs == ()
    assert [place.token for place in third.logprobs or ()] == ["two"]
    assert completion.notes == ()


def test_an_answer_that_the_context_cut_before_max_tokens_says_so() -> None:
    """A server says `length` of both; only the count tells them apart."""
    long = Request.of("hi", sampling=Sampling(max_tokens=500))
    (note,) = whole_answer(chat(finish_reason="length"), long).notes
    assert "cut before max_tokens (500)" in note
    assert "10 tokens of prompt, 3 of answer" in note
    as_asked = Request.of("hi", sampling=Sampling(max_tokens=3))
    assert whole_answer(chat(finish_reason="length"), as_asked).notes == ()
    assert whole_answer({**chat(finish_reason="length"), "usage": None}, long).notes == ()


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


@pytest.mark.parametrize("ending", ["close", "hang"])
def test_a_stream_whose_connection_breaks_after_its_last_word_is_whole(ending: str) -> None:
    last = streamed(chunk({"content": "a"}), chunk({}, "stop"), chunk(None), ending=ending)[-1]
    assert last.completion is not None
    assert (last.completion.text, last.completion.usage.prompt_tokens) == ("a", 10)


def test_a_finish_reason_nobody_knows_is_noted() -> None:
    completion = whole_answer(chat(finish_reason="tired"))
    assert completion.finish_reason == "stop"
    assert "tired" in completion.notes[0]
