"""OpenAI-compatible endpoints that answer badly, hang, refuse or go away: each fault has its error, and its retry."""

import asyncio
import time
from contextlib import aclosing
from email.utils import formatdate
from typing import Any

import pytest

from inference.errors import (
    BadRequest,
    ContextTooLong,
    DeadlinePassed,
    EngineDead,
    InvalidAnswer,
    LLMError,
    QueueFull,
    RateLimited,
    Refused,
)
from inference.openai_endpoint import OpenAICompatLLM
from inference.request import Request
from inference.retry import RetryPolicy
from tests.inference.needs import needs
from tests.inference.openai_calls import Notebook, ask, failure, model_at, settings
from tests.inference.server import (
    Behaviour,
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


@pytest.fixture(autouse=True)
def _endpoints() -> None:
    needs("openai", "httpx2")


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


def test_calls_beyond_the_connections_wait_and_are_told_that_they_did_not_go_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("inference.http_client.CONNECTIONS", 1)

    async def main() -> None:
        once = RetryPolicy(attempts=1)
        held = chunked(events(chunk({"content": "a"}), done=False), ending="hang")
        async with serving(held) as server, model_at(server, idle_s=1.0, retry=once) as model:
            async with aclosing(model.stream(Request.of("hi"))) as stream:
                assert (await anext(stream)).text == "a"
                with pytest.raises(QueueFull, match="1 calls of this object are under way") as caught:
                    await model.complete(Request.of("hi"))
            assert caught.value.definite
            assert len(server.asked) == 1

    asyncio.run(main())


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


@pytest.mark.parametrize("status", [429, 503])
def test_retry_after_may_be_a_date(status: int) -> None:
    at = formatdate(time.time() + 3000, usegmt=True)
    _waited, asked, result = waits(whole(status, {}, {"Retry-After": at}), openai)
    assert isinstance(result, RateLimited)
    assert result.wait_s is not None
    assert 2_000 < result.wait_s <= 3_000
    assert asked == 1


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
