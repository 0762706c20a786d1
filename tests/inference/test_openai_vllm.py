"""Endpoints against the real thing: vLLM's own server, with a model of random weights."""

import asyncio
import json
import re
from collections.abc import Iterator
from contextlib import aclosing
from pathlib import Path
from random import Random
from typing import Any

import pytest
from msgspec.structs import replace

from benchmarks.inference_model import CONTEXT, make_model
from inference.completion import Completion
from inference.endpoint import EndpointSettings
from inference.errors import BadRequest, ContextTooLong, DeadlinePassed, EngineDead, LLMError
from inference.message import ChatMessage
from inference.openai_endpoint import OpenAICompatLLM
from inference.recorded import RecordedLLM
from inference.request import Request, ResponseSchema, Sampling, Tool
from inference.retry import RetryPolicy
from inference.secret import Secret
from tests.inference.conformance import check_model, pieces
from tests.inference.needs import needs, needs_vllm
from tests.inference.openai_calls import ask
from tests.inference.vllm_server import KEY, NAME, kill_engine, vllm_server, wait_until

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.timeout(400)]

GREEDY = Sampling(temperature=0, max_tokens=16)
WEATHER = Tool(
    "weather",
    "Now, in a city.",
    {
        "type": "object",
        "properties": {"city": {"type": "string", "enum": ["Paris", "Rome"]}},
        "required": ["city"],
        "additionalProperties": False,
    },
)
VOTE = {
    "type": "object",
    "properties": {"vote": {"enum": ["yes", "no"]}, "ticket": {"type": "integer"}},
    "required": ["vote", "ticket"],
    "additionalProperties": False,
}
ENDLESS = Request.of(
    "Go on.", sampling=Sampling(seed=1, max_tokens=900), response_schema=ResponseSchema("regex", "[ab]{3000}")
)
"""An answer of some seconds, whatever the model would rather say."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    needs("openai", "httpx2")
    needs_vllm()
    with vllm_server(make_model(tmp_path_factory.mktemp("model"))) as url:
        yield url


@pytest.fixture(autouse=True)
def _key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("THE_KEY", KEY)
    monkeypatch.setenv("A_WRONG_KEY", "sk-a-wrong-one")


def model_of(url: str, name: str = NAME, key: str | None = "env:THE_KEY") -> OpenAICompatLLM:
    settings = EndpointSettings(
        key=None if key is None else Secret(key),
        retry=RetryPolicy(attempts=1),
        rng=Random(1),
        timeout_s=120.0,
    )
    return OpenAICompatLLM(f"{url}/v1", name, settings=settings)


def answer(url: str, request: Request, *, stream: bool = False) -> Completion:
    async def main() -> Completion:
        async with model_of(url) as model:
            return await ask(model, request, stream)

    return asyncio.run(main())


def failure(url: str, request: Request, *, stream: bool = False, **options: Any) -> LLMError:
    async def main() -> LLMError:
        async with model_of(url, **options) as model:
            with pytest.raises(LLMError) as caught:
                await ask(model, request, stream)
            return caught.value

    return asyncio.run(main())


def test_it_keeps_to_what_all_models_keep_to(server: str) -> None:
    async def main() -> None:
        async with model_of(server) as model:
            await check_model(model)

    asyncio.run(main())


def test_a_stream_says_what_the_whole_answer_says_and_counts_it_alike(server: str) -> None:
    request = Request.of("Say something.", system="You are brief.", sampling=GREEDY)
    whole, streamed = answer(server, request), answer(server, request, stream=True)
    assert streamed.choices == whole.choices
    assert whole.model == streamed.model == NAME
    assert (whole.usage.prompt_tokens, whole.usage.completion_tokens) == (
        streamed.usage.prompt_tokens,
        streamed.usage.completion_tokens,
    )
    assert not whole.usage.estimated
    assert whole.finish_reason == "length"
    assert whole.notes == ()
    assert streamed.timing.first_token_s is not None


def test_all_sampling_parameters_are_taken_and_a_seed_gives_the_same_again(server: str) -> None:
    sampling = Sampling(0.9, 0.95, 50, 0.01, 0.1, 0.1, 1.1, ("a judge",), 7, 12)
    request = Request.of("Vote.", sampling=sampling)
    assert answer(server, request).choices == answer(server, request).choices


@pytest.mark.parametrize("stream", [False, True])
def test_samples_come_with_their_logprobs_and_token_ids(server: str, stream: bool) -> None:
    sampling = Sampling(max_tokens=4, n=3, seed=4, logprobs=2)
    completion = answer(server, Request.of("Vote.", sampling=sampling, token_ids=True), stream=stream)
    assert len({choice.token_ids for choice in completion.choices}) == 3
    for choice in completion.choices:
        assert choice.logprobs is not None
        assert choice.token_ids is not None
        assert len(choice.logprobs) == len(choice.token_ids) <= 4
        for place in choice.logprobs:
            assert place.logprob < 0
            assert 2 <= len(place.top) <= 3
            assert list(place.top) == sorted(place.top, key=lambda told: -told[1])
            assert (place.token, place.logprob) in place.top


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("choice", ["required", "weather"])
def test_a_tool_that_must_be_called_is_called_as_its_schema_says(
    server: str, choice: str, stream: bool
) -> None:
    sampling = Sampling(seed=5, max_tokens=300)
    request = Request.of("How is the weather?", sampling=sampling, tools=(WEATHER,), tool_choice=choice)
    completion = answer(server, request, stream=stream)
    assert completion.finish_reason == "tool_calls"
    assert completion.text.strip() == ""
    for call in completion.tool_calls:
        assert call.name == "weather"
        assert call.id
        assert call.values()["city"] in ("Paris", "Rome")
    # The model's own template takes the conversation back, call and result included.
    results = [
        ChatMessage.tool(call.id, f"sunny {number}") for number, call in enumerate(completion.tool_calls)
    ]
    talk = (*request.messages, completion.message(), *results)
    after = answer(server, Request(talk, GREEDY, (WEATHER,), "none"))
    assert after.usage.prompt_tokens > completion.usage.prompt_tokens


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("schema", "form"),
    [
        (ResponseSchema.choice("yes", "no"), r"yes|no"),
        (ResponseSchema("regex", "[a-c]{3}"), r"[a-c]{3}"),
        (ResponseSchema("grammar", 'root ::= "ab" | "cd"'), r"ab|cd"),
        (ResponseSchema.json(VOTE), r"\{.*\}"),
    ],
    ids=lambda told: told.kind if isinstance(told, ResponseSchema) else "",
)
def test_the_answer_has_the_form_that_was_asked_for(
    server: str, schema: ResponseSchema, form: str, stream: bool
) -> None:
    request = Request.of("Vote.", sampling=Sampling(seed=3, max_tokens=100), response_schema=schema)
    completion = answer(server, request, stream=stream)
    assert completion.finish_reason == "stop"
    assert re.fullmatch(form, completion.text)
    if schema.kind == "json_schema":
        vote = json.loads(completion.text)
        assert vote["vote"] in ("yes", "no")
        assert isinstance(vote["ticket"], int)


@pytest.mark.parametrize("stream", [False, True])
def test_the_tokens_that_the_prefix_cache_held_are_told(server: str, stream: bool) -> None:
    request = Request.of(f"{stream} " + "vote on motions " * 60, sampling=GREEDY)
    first = answer(server, request, stream=stream).usage
    again = answer(server, request, stream=stream).usage
    assert first.cached_tokens == 0
    assert again.cached_tokens is not None
    assert again.prompt_tokens > again.cached_tokens >= 128


def test_an_answer_cut_by_the_context_says_so(server: str) -> None:
    sampling = Sampling(temperature=0, max_tokens=CONTEXT - 100)
    completion = answer(server, Request.of("vote on motions " * 100, sampling=sampling))
    assert completion.finish_reason == "length"
    assert completion.usage.total_tokens <= CONTEXT
    assert "cut before max_tokens" in completion.notes[0]


# --- What goes wrong ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stream", [False, True])
def test_a_prompt_that_is_too_long_is_told_with_the_counts(server: str, stream: bool) -> None:
    error = failure(server, Request.of("vote on motions " * 1_000, sampling=GREEDY), stream=stream)
    assert isinstance(error, ContextTooLong)
    assert error.limit_tokens == CONTEXT
    assert error.prompt_tokens is not None
    assert error.prompt_tokens > CONTEXT
    assert error.definite


@pytest.mark.parametrize("key", [None, "env:A_WRONG_KEY"])
def test_without_the_key_it_refuses(server: str, key: str | None) -> None:
    error = failure(server, Request.of("hi", sampling=GREEDY), key=key)
    assert isinstance(error, BadRequest)
    assert "Check the key" in str(error)
    assert "sk-" not in str(error)


def test_a_model_that_it_has_not_is_told(server: str) -> None:
    error = failure(server, Request.of("hi", sampling=GREEDY), name="huge")
    assert isinstance(error, BadRequest)
    assert "Check the model's name" in str(error)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    "schema",
    [
        ResponseSchema("regex", "((("),
        ResponseSchema("grammar", 'root ::= "ab'),
        ResponseSchema.json({"type": "object", "$ref": "#/nowhere"}),
    ],
    ids=lambda schema: schema.kind,
)
def test_a_form_that_no_answer_can_have_is_refused_and_the_server_goes_on(
    server: str, schema: ResponseSchema, stream: bool
) -> None:
    error = failure(server, Request.of("hi", sampling=GREEDY, response_schema=schema), stream=stream)
    assert isinstance(error, BadRequest)
    assert answer(server, Request.of("hi", sampling=GREEDY)).usage.completion_tokens


def test_images_for_a_model_without_eyes_are_refused(server: str) -> None:
    request = Request((ChatMessage.user("look", ["data:image/png;base64,AAAA"]),), GREEDY)
    assert isinstance(failure(server, request), BadRequest)


def test_who_leaves_a_stream_frees_the_sequence(server: str) -> None:
    async def main() -> None:
        async with model_of(server) as model:
            async with aclosing(model.stream(ENDLESS)) as stream:
                await anext(stream)
                await asyncio.to_thread(wait_until, server, busy=True)
            await asyncio.to_thread(wait_until, server, busy=False)

    asyncio.run(main())


def test_a_deadline_and_a_cancelled_call_free_their_sequences(server: str) -> None:
    async def main() -> None:
        async with model_of(server) as model:
            with pytest.raises(DeadlinePassed):
                await model.complete(replace(ENDLESS, timeout_s=0.2))
            await asyncio.to_thread(wait_until, server, busy=False)
            call = asyncio.create_task(model.complete(ENDLESS))
            await asyncio.to_thread(wait_until, server, busy=True)
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call
            await asyncio.to_thread(wait_until, server, busy=False)

    asyncio.run(main())


def test_a_recording_replays_without_the_server_and_holds_no_key(server: str, tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    requests = [
        Request.of("Vote.", sampling=Sampling(seed=3, max_tokens=4, n=2, logprobs=1), token_ids=True),
        Request.of(
            "Weather?", sampling=Sampling(seed=5, max_tokens=300), tools=(WEATHER,), tool_choice="weather"
        ),
    ]

    async def main() -> None:
        async with RecordedLLM.record(path, model_of(server)) as model:
            answers = [await ask(model, request, stream) for request in requests for stream in (False, True)]
            with pytest.raises(ContextTooLong):
                await model.complete(Request.of("vote on motions " * 1_000))
        async with RecordedLLM.replay(path) as model:
            assert [
                await ask(model, request, stream) for request in requests for stream in (False, True)
            ] == answers
            with pytest.raises(ContextTooLong) as caught:
                await model.complete(Request.of("vote on motions " * 1_000))
            assert caught.value.limit_tokens == CONTEXT
        assert KEY not in path.read_text()

    asyncio.run(main())


def test_many_callers_share_one_object(server: str) -> None:
    async def main() -> None:
        async with model_of(server) as model:
            requests = [Request.of(f"Vote {number}.", sampling=GREEDY) for number in range(40)]
            together = await asyncio.gather(*map(model.complete, requests))
            assert all(completion.usage.completion_tokens == 16 for completion in together)
            assert (await pieces(model, requests[0]))[-1].completion is not None

    asyncio.run(main())


def test_an_engine_that_dies_in_mid_stream_is_told_and_the_stream_does_not_end_as_if_it_were_whole(
    server: str,
) -> None:
    """The last test: vLLM's server ends with its engine."""

    async def main() -> None:
        async with model_of(server) as model:
            async with aclosing(model.stream(ENDLESS)) as stream:
                await anext(stream)
                kill_engine(server)
                with pytest.raises(EngineDead) as caught:
                    async for _delta in stream:
                        pass
            assert not caught.value.definite
            with pytest.raises(EngineDead):
                await model.complete(ENDLESS)

    asyncio.run(main())
