"""OpenAI-compatible endpoints, against a real server that answers well and badly. No key is ever told."""

import asyncio
import json
import logging
import pickle
import traceback
from contextlib import aclosing
from pathlib import Path
from random import Random
from typing import Any

import pytest

from inference.completion import Completion, Delta
from inference.endpoint import EndpointSettings
from inference.errors import (
    BadRequest,
    ConfigurationError,
    ContextTooLong,
    DeadlinePassed,
    EngineDead,
    InvalidAnswer,
    LLMError,
    RateLimited,
    Refused,
)
from inference.llm import BaseLLM
from inference.message import ChatMessage, ToolCall
from inference.price import Price
from inference.recorded import RecordedLLM
from inference.request import Caller, Request, ResponseSchema, Sampling, Tool
from inference.retry import RetryPolicy
from inference.secret import Secret
from tests.inference.conformance import check_model, pieces
from tests.inference.server import (
    Behaviour,
    Server,
    chat,
    chunk,
    chunked,
    close,
    events,
    hang,
    openai,
    serving,
    whole,
)

pytest.importorskip("openai", reason="the extra `endpoints` is not installed")
from inference.openai_endpoint import OpenAICompatLLM  # after the skip, which is its point

KEY = "sk-test-0123456789abcdef"


class Notebook:
    """A clock that notes waits and does not wait."""

    def __init__(self) -> None:
        self.waits: list[float] = []

    def now(self) -> float:
        return sum(self.waits)

    async def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)
        await asyncio.sleep(0)


@pytest.fixture
def key(monkeypatch: pytest.MonkeyPatch) -> Secret:
    monkeypatch.setenv("THE_KEY", KEY)
    return Secret("env:THE_KEY")


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


def test_it_keeps_to_what_all_models_keep_to() -> None:
    async def main() -> None:
        async with serving(openai) as server, model_at(server) as model:
            await check_model(model)

    asyncio.run(main())


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


# --- What goes wrong ------------------------------------------------------------------------------------------

TOO_LONG = [
    (
        "This model's maximum context length is 2048 tokens. However, you requested 2,100 tokens (1600 in the "
        "messages, 500 in the completion).",
        1600,
        2048,
    ),
    (
        "This model's maximum context length is 4097 tokens. However, your messages resulted in 6164 tokens.",
        6164,
        4097,
    ),
    ("the request exceeds the available context size", None, None),
    (
        "This model's maximum context length is 128 tokens, but the prompt contains at least 129 input tokens",
        129,
        128,
    ),
]


@pytest.mark.parametrize(("text", "prompt", "limit"), TOO_LONG)
def test_a_prompt_that_is_too_long_is_told_with_the_counts(
    text: str, prompt: int | None, limit: int | None
) -> None:
    error, server = failure(whole(400, {"error": {"message": text, "code": 400}}))
    assert isinstance(error, ContextTooLong)
    assert (error.prompt_tokens, error.limit_tokens) == (prompt, limit)
    assert len(server.asked) == 1


@pytest.mark.parametrize(
    ("behaviour", "kind", "told", "definite"),
    [
        (whole(400, {"error": {"message": "no such parameter: top_k"}}), BadRequest, "top_k", True),
        (whole(401, {"error": {"message": "bad key"}}), BadRequest, "Check the key", True),
        (whole(404, {"detail": "Not Found"}), BadRequest, "Check the model's name", True),
        (whole(302, b"", {"Location": "http://127.0.0.1:1/"}), BadRequest, "final address", True),
        (
            whole(429, {"error": {"code": "insufficient_quota", "message": "broke"}}),
            BadRequest,
            "credit",
            True,
        ),
        (
            whole(400, {"error": {"code": "content_filter", "message": "no"}}),
            Refused,
            "answered 400: no",
            False,
        ),
        (whole(500, b"<html>oops</html>"), EngineDead, "oops", False),
        (whole(502, b""), EngineDead, "answered 502", False),
        (whole(503, {"message": "loading"}), EngineDead, "loading", True),
        (whole(504, {"message": "slow"}), DeadlinePassed, "slow", False),
        (close, EngineDead, "broke off", False),
        (whole(200, b"<html>hello</html>"), InvalidAnswer, "no answer", False),
        (whole(200, b'{"choices": [{"index": 0, '), InvalidAnswer, "no answer", False),
        (whole(200, {"choices": "many"}), InvalidAnswer, "no answer", False),
        (whole(200, {"object": "list"}), InvalidAnswer, "without its choices", False),
        (whole(200, {"choices": [{"index": 9}]}), InvalidAnswer, "choice 9", False),
        (whole(200, chat(message={"content": 7})), InvalidAnswer, "no answer", False),
        (whole(200, chat(finish_reason="content_filter")), Refused, "content filter", False),
        (whole(200, chat(message={"refusal": "I will not"})), Refused, "I will not", False),
        (whole(200, {**chat(), "usage": {"prompt_tokens": -1}}), InvalidAnswer, "as no one can", False),
        (whole(200, chat(), {"Content-Encoding": "gzip"}), InvalidAnswer, "compressed", False),
        (
            whole(200, chat(message={"tool_calls": [{"function": {"arguments": "{}"}}]})),
            InvalidAnswer,
            "name",
            False,
        ),
    ],
)
def test_each_fault_has_its_error(
    behaviour: Behaviour, kind: type[LLMError], told: str, definite: bool
) -> None:
    error, _server = failure(behaviour, retry=RetryPolicy(attempts=1))
    assert type(error) is kind
    assert told in str(error)
    assert error.definite == definite


@pytest.mark.parametrize(
    ("pieces_sent", "ending", "kind", "told"),
    [
        (events(chunk({"content": "a"}), done=False), "close", EngineDead, "broke off"),
        (events(chunk({"content": "a"}), done=False), "end", EngineDead, "broke off"),
        (events(chunk({"content": "a"})), "end", EngineDead, "broke off"),
        (events(chunk({"content": "a"}), b"{broken"), "end", InvalidAnswer, "broken"),
        (events(chunk({"content": "a"}), b"\xff\xfe"), "end", InvalidAnswer, "no answer"),
        ([b"data: {\n\ndata: }\n\n"], "end", InvalidAnswer, "no answer"),
        ([b"<html>hello</html>"], "end", EngineDead, "broke off"),
        (
            events(chunk({"content": "a"}), {"error": {"message": "engine died", "code": 500}}),
            "end",
            EngineDead,
            "died",
        ),
        (
            events(chunk({"tool_calls": [{"index": 10**9, "function": {}}]})),
            "end",
            InvalidAnswer,
            "at most 128",
        ),
        (events(chunk({}, "abort")), "end", EngineDead, "broke off"),
        (events(chunk({"content": "a"}, index=1)), "end", InvalidAnswer, "choice 1"),
    ],
)
def test_a_broken_stream_raises_and_does_not_end_as_if_it_were_whole(
    pieces_sent: list[bytes], ending: str, kind: type[LLMError], told: str
) -> None:
    error, server = failure(chunked(pieces_sent, ending=ending), stream=True)
    assert type(error) is kind
    assert told in str(error)
    assert not error.definite
    assert len(server.asked) == 1


def test_an_answer_without_end_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("inference.http_client.ANSWER_BYTES", 100_000)
    flood = [b"data: " + b"x" * 10_000] * 100
    error, _server = failure(chunked(flood), stream=True)
    assert isinstance(error, InvalidAnswer)
    assert "over 100,000 bytes" in str(error)
    error, _server = failure(chunked(flood, kind="application/json"))
    assert isinstance(error, InvalidAnswer)


@pytest.mark.parametrize("stream", [False, True])
def test_an_endpoint_that_hangs_meets_the_deadline_and_is_left(stream: bool) -> None:
    async def main() -> None:
        behaviour = chunked(events(chunk({"content": "a"}), done=False), ending="hang") if stream else hang
        async with serving(behaviour) as server, model_at(server) as model:
            request = Request.of("hi", timeout_s=0.2)
            with pytest.raises(DeadlinePassed, match=r"within 0\.2 s") as caught:
                await ask(model, request, stream)
            assert not caught.value.definite
            await server.left.wait()

    asyncio.run(main())


def test_an_endpoint_that_falls_silent_is_left() -> None:
    silent = chunked(events(chunk({"content": "a"}), done=False), ending="hang")
    error, _server = failure(silent, stream=True, idle_s=0.2)
    assert isinstance(error, DeadlinePassed)
    assert "silent" in str(error)


def test_an_endpoint_that_is_not_there_definitely_did_nothing() -> None:
    async def main() -> LLMError:
        async with serving(hang) as server:
            url = server.url
        async with OpenAICompatLLM(f"{url}/v1", "tiny", settings=settings(clock=Notebook())) as model:
            with pytest.raises(EngineDead, match="cannot be reached") as caught:
                await model.complete(Request.of("hi"))
            return caught.value

    assert asyncio.run(main()).definite


def test_a_caller_that_leaves_a_stream_frees_the_connection() -> None:
    async def main() -> None:
        behaviour = chunked(events(chunk({"content": "a"}), done=False), ending="hang")
        async with serving(behaviour) as server, model_at(server) as model:
            async with aclosing(model.stream(Request.of("hi"))) as stream:
                assert (await anext(stream)).text == "a"
            await server.left.wait()

    asyncio.run(main())


def test_after_any_fault_the_same_object_goes_on() -> None:
    async def main() -> None:
        faults = [whole(500, b""), close, whole(200, b"{"), chunked([b"data: {"], ending="close")]
        once = RetryPolicy(attempts=1)
        async with serving(*faults, openai) as server, model_at(server, retry=once) as model:
            for _fault in faults:
                with pytest.raises(LLMError):
                    await model.complete(Request.of("hi"))
            assert (await model.complete(Request.of("hi"))).text

    asyncio.run(main())


# --- Retries --------------------------------------------------------------------------------------------------


def waits(*behaviours: Behaviour, stream: bool = False, **options: Any) -> tuple[list[float], int, Any]:
    """What was waited, how often it was asked, and the text or the error."""

    async def main() -> tuple[list[float], int, Any]:
        clock = Notebook()
        async with serving(*behaviours) as server, model_at(server, clock=clock, **options) as model:
            try:
                result: Any = (await ask(model, Request.of("hi"), stream)).text
            except LLMError as error:
                result = error
            return clock.waits, len(server.asked), result

    return asyncio.run(main())


@pytest.mark.parametrize("stream", [False, True])
def test_retry_after_is_kept_to(stream: bool) -> None:
    limited = whole(429, {"error": {"message": "slow down"}}, {"Retry-After": "7"})
    waited, asked, result = waits(limited, limited, openai, stream=stream)
    assert asked == 3
    assert all(7 <= wait <= 7 + 1 for wait in waited)
    assert len(waited) == 2
    assert result in ("Hello there.", "Hello.")


def test_a_wait_that_is_too_long_goes_to_the_caller() -> None:
    waited, asked, result = waits(whole(429, {}, {"Retry-After": "3600"}), openai)
    assert (waited, asked) == ([], 1)
    assert isinstance(result, RateLimited)
    assert result.wait_s == 3600


def test_without_a_time_waits_grow_with_jitter_and_end() -> None:
    waited, asked, result = waits(whole(429, {}), retry=RetryPolicy(attempts=5, first_wait_s=1.0))
    assert (asked, len(waited)) == (5, 4)
    assert isinstance(result, RateLimited)
    assert all(0 <= wait <= 2.0**number for number, wait in enumerate(waited))
    assert len(set(waited)) == 4


def test_what_may_have_been_computed_is_not_asked_for_again_unless_one_says_so() -> None:
    assert waits(whole(500, b""), openai)[1] == 1
    assert waits(whole(503, b""), openai)[1:] == (2, "Hello there.")
    twice = RetryPolicy(indefinite=True)
    assert waits(whole(500, b""), close, openai, retry=twice)[1:] == (3, "Hello there.")


def test_a_stream_is_not_begun_again_after_its_first_piece() -> None:
    broken = chunked(events(chunk({"content": "a"}), done=False), ending="close")
    _waited, asked, result = waits(broken, openai, stream=True, retry=RetryPolicy(indefinite=True))
    assert asked == 1
    assert isinstance(result, EngineDead)


def test_the_deadline_covers_all_attempts() -> None:
    async def main() -> None:
        limited = whole(429, {}, {"Retry-After": "30"})
        async with serving(limited) as server, model_at(server) as model:
            with pytest.raises(DeadlinePassed) as caught:
                await model.complete(Request.of("hi", timeout_s=0.2))
            assert caught.value.definite  # it was refused each time, and is not under way

    asyncio.run(main())


# --- Keys -----------------------------------------------------------------------------------------------------


def test_the_key_goes_to_the_endpoint_and_nowhere_else(
    key: Secret, tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    """Every fault and every answer echoes the key; none of what is left holds it."""
    caplog.set_level(logging.DEBUG)
    echo = f"your key is {KEY}"
    faults = [
        whole(401, {"error": {"message": echo}}),
        whole(500, echo.encode()),
        whole(429, {"error": {"message": echo}}, {"Retry-After": "9999"}),
        whole(200, echo.encode()),
        chunked([echo.encode()], ending="close"),
        chunked(events({"error": {"message": echo}})),
    ]
    left: list[str] = []

    async def main() -> None:
        path = tmp_path / "x.jsonl"
        async with serving(*faults, whole(200, chat(echo))) as server:
            inner = model_at(server, key=key)
            async with RecordedLLM.record(path, inner) as model:
                for number, _fault in enumerate(faults):
                    with pytest.raises(LLMError) as caught:
                        await ask(model, Request.of("hi"), stream=number >= 4)
                    error = caught.value
                    left.extend([*traceback.format_exception(error), repr(error), repr(error.__dict__)])
                    left.append(repr(pickle.dumps(error)))
                completion = await model.complete(Request.of("hi"))
                left.extend([repr(completion), model.identity, repr(vars(inner)), repr(inner._settings)])
            left.append(path.read_text())
            assert {asked.headers["authorization"] for asked in server.asked} == {f"Bearer {KEY}"}
            assert completion.text == "your key is [key]"

    asyncio.run(main())
    told = capfd.readouterr()
    left += [told.out, told.err, caplog.text, repr(pickle.dumps(key)), repr(key)]
    left += [repr(vars(record)) for record in caplog.records]
    assert any("httpx" in record.name or "openai" in record.name for record in caplog.records)
    assert [text for text in left if KEY in text] == []


def test_nothing_of_the_environment_goes_to_an_endpoint(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_API_KEY", "OPENAI_ADMIN_KEY", "OPENAI_ORG_ID", "OPENAI_PROJECT_ID"):
        monkeypatch.setenv(name, KEY)
    monkeypatch.setenv("OPENAI_CUSTOM_HEADERS", f"X-Own: {KEY}")
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:1")

    async def main() -> None:
        async with serving(openai) as server, model_at(server) as model:
            await model.complete(Request.of("hi"))
            assert KEY not in json.dumps(server.asked[0].headers)
            assert "authorization" not in server.asked[0].headers

    asyncio.run(main())


def test_a_key_is_read_from_a_file_and_pickles_as_its_place(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text(f"{KEY}\n")
    secret = Secret(f"file:{file}")
    assert secret.reveal() == KEY
    file.write_text("another")
    assert pickle.loads(pickle.dumps(secret)).reveal() == "another"  # noqa: S301  # our own bytes


@pytest.mark.parametrize(
    ("source", "told"),
    [
        (KEY, "not the key"),
        ("env:", "env:NAME or file:PATH"),
        ("env:NO_SUCH_KEY", "set the environment variable NO_SUCH_KEY"),
        ("file:/no/such/key", "cannot read the key of file:/no/such/key"),
        ("env:BAD_KEY", "no header may have"),
    ],
)
def test_a_key_that_is_not_there_is_told_without_it(
    source: str, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BAD_KEY", f"{KEY}\r\nX: y")
    with pytest.raises(ConfigurationError, match=told) as caught:
        Secret(source)
    assert KEY not in str(caught.value)


def test_the_server_itself_speaks_http() -> None:
    """Else a fault of it would be taken for ours."""

    async def main() -> None:
        async with serving(whole(200, chat())) as server:
            reader, writer = await asyncio.open_connection(*server.url.removeprefix("http://").split(":"))
            writer.write(b"POST /x HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}")
            assert (await reader.readline()).startswith(b"HTTP/1.1 200")
            writer.close()
            assert server.asked[0].json == {}

    asyncio.run(main())
