"""Real vLLM in this process, on a model of random weights: what is asked is what the engine does."""

import asyncio
import json
from collections.abc import Iterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest

from benchmarks.inference_model import CONTEXT, make_adapter, make_model
from inference.completion import Delta
from inference.errors import (
    BadRequest,
    ConfigurationError,
    ContextTooLong,
    DeadlinePassed,
    EngineDead,
    LLMError,
    QueueFull,
)
from inference.message import ChatMessage, ToolCall
from inference.request import Request, ResponseSchema, Sampling, Tool
from inference.vllm_arguments import Platform
from inference.vllm_engine import VLLMEngine
from inference.vllm_settings import VLLMSettings
from tests.inference.conformance import check_model, pieces
from tests.inference.needs import needs_vllm
from tests.inference.vllm_cast import LoopThread, quiet_vllm

pytestmark = [pytest.mark.ray, *quiet_vllm()]
GREEDY = Sampling(temperature=0, max_tokens=12)
CITY = {
    "type": "object",
    "properties": {"city": {"type": "string", "maxLength": 12}, "sure": {"type": "boolean"}},
    "required": ["city", "sure"],
    "additionalProperties": False,
}
WEATHER = Tool("weather", "Now, in a city.", CITY)
VOTE = Tool(
    "vote",
    "Says yes or no.",
    {"type": "object", "properties": {"yes": {"type": "boolean"}}, "required": ["yes"]},
)


class Engine:
    """An engine, and the loop that it lives in."""

    def __init__(self, folder: Path) -> None:
        self.folder = make_model(folder / "random")
        adapter = make_adapter(folder / "adapter")
        settings = VLLMSettings(
            cache_bytes=32 << 20,
            running_requests=32,
            unfinished_requests=40,
            adapters={"judge": str(adapter)},
        )
        self.llm = VLLMEngine(str(self.folder), settings)
        self.loop = LoopThread()

    def complete(self, request: Request, **options: Any) -> Any:
        return self.loop.run(self.llm.complete(request, **options))

    def stream(self, request: Request) -> list[Delta]:
        return self.loop.run(pieces(self.llm, request))

    def fails(self, kind: type[LLMError], request: Request, **options: Any) -> Any:
        """The error of a request, after which the engine serves."""
        with pytest.raises(kind) as caught:
            self.complete(request, **options)
        assert self.complete(Request.of("Go on.", sampling=GREEDY)).text
        return caught.value


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    needs_vllm()
    made = Engine(tmp_path_factory.mktemp("vllm"))
    made.loop.run(made.llm.start())
    yield made
    made.loop.run(made.llm.aclose())
    made.loop.close()


def test_an_engine_is_a_model(engine: Engine) -> None:
    engine.loop.run(check_model(engine.llm))


def test_it_tells_what_a_manifest_needs(engine: Engine) -> None:
    told = engine.llm.describe()
    assert told["identity"] == engine.llm.identity == f"vllm:random@{told['revision']}"
    assert len(told["tokenizer"]) == len(told["revision"]) == 16
    assert told["revision_is_of"] == "all bytes"
    assert (told["context_tokens"], told["tool_parser"], told["device"]) == (CONTEXT, "hermes", "cpu")
    assert told["batch_invariant"] is False
    assert "not asked for" in told["determinism"]
    assert told["settings"]["running_requests"] == 32
    json.dumps(told)


def test_the_same_seed_gives_the_same_answer_alone_and_among_others(engine: Engine) -> None:
    request = Request.of("vote", sampling=Sampling(seed=5, max_tokens=16), token_ids=True)
    alone = engine.complete(request).choices[0].token_ids

    async def among() -> Any:
        others = [Request.of(f"vote {number}", sampling=Sampling(seed=number)) for number in range(20)]
        return (await asyncio.gather(engine.llm.complete(request), *map(engine.llm.complete, others)))[0]

    assert engine.loop.run(among()).choices[0].token_ids == alone
    assert (
        engine.complete(Request.of("vote", sampling=Sampling(seed=6, max_tokens=16), token_ids=True))
        .choices[0]
        .token_ids
        != alone
    )


def test_seeded_prompts_of_more_tokens_than_a_step_takes_do_not_kill_the_engine(engine: Engine) -> None:
    async def crowd() -> Any:
        asked = [
            Request.of(f"{number} " + "budgets " * 300, sampling=Sampling(seed=number, max_tokens=4))
            for number in range(40)
        ]
        return await asyncio.gather(*map(engine.llm.complete, asked))

    told = engine.loop.run(crowd())
    # vLLM's step on a CPU takes some thousand tokens: with prompts in pieces the engine died here.
    assert sum(each.usage.prompt_tokens for each in told) > 10_000
    assert engine.llm.health().restarts == 0


def test_n_samples_are_one_prefill(engine: Engine) -> None:
    before = engine.llm.metrics()
    prompt = "motions on budgets " * 20
    completion = engine.complete(Request.of(prompt, sampling=Sampling(n=3, seed=1, max_tokens=8)))
    assert len({choice.text for choice in completion.choices}) == 3
    assert completion.usage.completion_tokens <= 24
    after = engine.llm.metrics()
    # Two of three samples find the prompt's whole blocks in the cache.
    assert after.cached_tokens - before.cached_tokens >= 2 * (completion.usage.prompt_tokens // 32 - 1) * 32


def test_one_prompt_with_many_seeds_is_one_prefill_and_each_answer_is_that_of_its_seed_alone(
    engine: Engine,
) -> None:
    prompt = "seeds for budgets " * 20
    requests = [Request.of(prompt, sampling=Sampling(seed=seed, max_tokens=8)) for seed in range(8)]

    async def at_once() -> Any:
        return await asyncio.gather(*map(engine.llm.complete, requests))

    told = engine.loop.run(at_once())
    blocks = told[0].usage.prompt_tokens // 32 * 32
    cached = sorted(each.usage.cached_tokens or 0 for each in told)
    assert cached[0] == 0
    assert cached[1:] == [blocks] * 7
    assert len({each.text for each in told}) > 1
    assert [each.text for each in told] == [engine.complete(request).text for request in requests]


def test_log_probabilities_and_token_ids_are_those_of_the_answer(engine: Engine) -> None:
    sampling = Sampling(temperature=0, max_tokens=6, logprobs=3)
    (choice,) = engine.complete(Request.of("vote", sampling=sampling, token_ids=True)).choices
    assert choice.token_ids is not None
    assert choice.logprobs is not None
    assert len(choice.token_ids) == len(choice.logprobs) == 6
    for each in choice.logprobs:
        assert len(each.top) == 3
        assert each.logprob == each.top[0][1] >= each.top[1][1] >= each.top[2][1]  # greedy: the likeliest
    streamed = engine.stream(Request.of("vote", sampling=sampling, token_ids=True))[-1].completion
    assert streamed is not None
    assert streamed.choices[0].token_ids == choice.token_ids
    assert streamed.choices[0].logprobs == choice.logprobs


def test_a_stop_text_ends_the_answer_and_is_no_part_of_it(engine: Engine) -> None:
    whole = engine.complete(Request.of("vote", sampling=Sampling(seed=2, max_tokens=40))).text
    stop = whole[len(whole) // 2 :][:2]
    cut = engine.complete(Request.of("vote", sampling=Sampling(seed=2, max_tokens=40, stop=(stop,))))
    assert cut.text == whole[: whole.index(stop)]
    assert cut.finish_reason == "stop"


@pytest.mark.parametrize(
    ("schema", "allowed"),
    [
        (ResponseSchema.choice("yes", "no"), lambda text: text in ("yes", "no")),
        (ResponseSchema("regex", "[0-9]{3}-[a-c]{2}"), lambda text: len(text) == 6 and text[3] == "-"),
        (
            ResponseSchema("grammar", 'root ::= "vote" (" yes" | " no")'),
            lambda text: text in ("vote yes", "vote no"),
        ),
    ],
    ids=["choice", "regex", "grammar"],
)
def test_even_random_weights_keep_to_the_form(engine: Engine, schema: ResponseSchema, allowed: Any) -> None:
    for seed in range(3):
        completion = engine.complete(Request.of("vote", sampling=Sampling(seed=seed), response_schema=schema))
        assert allowed(completion.text), completion.text
        assert completion.finish_reason == "stop"


def test_strings_of_bounded_length_come_out_as_valid_json(engine: Engine) -> None:
    async def all_of_them() -> list[str]:
        asked = [
            Request.of(
                "vote",
                sampling=Sampling(seed=seed, max_tokens=100),
                response_schema=ResponseSchema.json(CITY),
            )
            for seed in range(24)
        ]
        return [each.text for each in await asyncio.gather(*map(engine.llm.complete, asked))]

    for text in engine.loop.run(all_of_them()):
        values = json.loads(text)
        assert len(values["city"]) <= 12
        assert isinstance(values["sure"], bool)


def test_a_named_tool_is_called_with_arguments_of_its_schema(engine: Engine) -> None:
    request = Request.of(
        "vote", sampling=Sampling(seed=3, max_tokens=100), tools=[WEATHER, VOTE], tool_choice="weather"
    )
    completion = engine.complete(request)
    assert completion.finish_reason == "tool_calls"
    (call,) = completion.tool_calls
    assert (call.id, call.name) == ("call_1_0", "weather")
    assert set(call.values()) == {"city", "sure"}
    assert completion.text == ""
    *texts, last = engine.stream(request)
    assert last.completion is not None
    assert last.completion.tool_calls == completion.tool_calls
    assert texts == []


def test_a_required_tool_is_called(engine: Engine) -> None:
    request = Request.of(
        "vote",
        sampling=Sampling(seed=1, max_tokens=400, temperature=0.5),
        tools=[VOTE],
        tool_choice="required",
    )
    completion = engine.complete(request)
    assert completion.finish_reason in ("tool_calls", "length")
    if completion.finish_reason == "tool_calls":
        assert {call.name for call in completion.tool_calls} == {"vote"}


def test_a_talk_with_calls_and_results_is_rendered(engine: Engine) -> None:
    question = ChatMessage.user("How is the weather?")
    call = ChatMessage.assistant("", [ToolCall("c1", "weather", '{"city": "Rome", "sure": true}')])
    talk = Request([question, call, ChatMessage.tool("c1", "sunny")], GREEDY, [WEATHER])
    ids = engine.loop.run(engine.llm.render(talk))
    assert engine.loop.run(engine.llm.count_tokens(talk)).tokens == len(ids)
    assert engine.complete(talk).usage.prompt_tokens == len(ids)
    # With the ids in place of the messages the answer is the same.
    assert engine.complete(talk, prompt_ids=ids).text == engine.complete(talk).text


def test_what_many_begin_with_is_read_once(engine: Engine) -> None:
    persona = "You are a brief judge of motions. " * 12
    first = engine.complete(Request.of("One.", system=persona, sampling=GREEDY))
    second = engine.complete(Request.of("Two, and more.", system=persona, sampling=GREEDY))
    assert first.usage.cached_tokens == 0
    assert second.usage.cached_tokens is not None
    assert second.usage.cached_tokens >= 64
    assert second.usage.cached_tokens % 32 == 0


def test_an_adapter_changes_the_answer_and_an_unknown_one_is_told(engine: Engine) -> None:
    request = Request.of("vote", sampling=GREEDY)
    judge = engine.llm.adapter("judge")
    assert judge.identity.startswith(f"{engine.llm.identity}+judge@")
    assert engine.loop.run(judge.complete(request)).text != engine.complete(request).text
    with pytest.raises(BadRequest, match=r"no LoRA adapter 'clerk': there are judge"):
        engine.llm.adapter("clerk")
    engine.fails(BadRequest, request, adapter="clerk")


def test_a_prompt_over_the_context_is_told_with_its_counts(engine: Engine) -> None:
    request = Request.of("budgets " * CONTEXT)
    error = engine.fails(ContextTooLong, request)
    assert error.limit_tokens == CONTEXT
    assert error.prompt_tokens == engine.loop.run(engine.llm.count_tokens(request)).tokens > CONTEXT


def test_an_answer_that_the_context_cuts_says_so(engine: Engine) -> None:
    ids = [99] * (CONTEXT - 10)
    completion = engine.complete(
        Request.of("x", sampling=Sampling(temperature=0, max_tokens=500)), prompt_ids=ids
    )
    assert completion.finish_reason == "length"
    assert completion.usage.completion_tokens == 10
    assert completion.notes == (
        f"the context cut the answer: the prompt's {CONTEXT - 10:,} tokens left 10 of the 500 that max_tokens allows",
    )


@pytest.mark.parametrize(
    ("request_", "options", "told"),
    [
        (Request.of("x", response_schema=ResponseSchema("regex", "(((")), {}, "parenthesis is not closed"),
        (Request.of("x", response_schema=ResponseSchema("grammar", "root ::= x")), {}, "grammar"),
        (
            Request.of("x", tools=[VOTE], response_schema=ResponseSchema.choice("a")),
            {},
            "an answer has one form",
        ),
        (Request([ChatMessage.user("x", ["http://h/i.png"])]), {}, "holds an image"),
        (Request.of("x"), {"prompt_ids": [99_999]}, "out of vocabulary"),
        (Request.of("x"), {"prompt_ids": []}, "1 to"),
        (Request.of("x"), {"prompt_ids": [-1]}, "whole numbers from 0"),
    ],
    ids=["regex", "grammar", "two forms", "image", "vocabulary", "no ids", "negative"],
)
def test_what_the_model_cannot_do_is_told_and_others_are_served(
    engine: Engine, request_: Request, options: Any, told: str
) -> None:
    assert told in str(engine.fails(BadRequest, request_, **options))


def test_beyond_the_queue_callers_are_told_to_hold_back(engine: Engine) -> None:
    async def crowd() -> list[Any]:
        asked = [
            Request.of(f"vote {number}", sampling=Sampling(seed=1, max_tokens=64)) for number in range(60)
        ]
        return await asyncio.gather(*map(engine.llm.complete, asked), return_exceptions=True)

    told = engine.loop.run(crowd())
    refused = [each for each in told if isinstance(each, QueueFull)]
    assert len(refused) == 20
    assert all(each.definite and "40 may be" in str(each) for each in refused)
    assert sum(not isinstance(each, BaseException) for each in told) == 40


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"gpus": 1}, "ask for 1 GPU.*runs on the CPU"),
        ({"cache_bytes": 1 << 50}, "bytes of memory are free: give at most"),
        ({"cache_bytes": 1 << 16}, "takes 524,288: give more, or context_tokens of at most 128"),
        ({"context_tokens": 1 << 20}, "vLLM does not take the settings"),
        ({"quantization": "none_such"}, "vLLM does not take the settings"),
        ({"engine_arguments": {"none_such": 1}}, "names 'none_such', which vLLM 0.32"),
        ({"engine_arguments": {"seed": 1}}, "a setting stands for it already"),
    ],
    ids=lambda each: next(iter(each)) if isinstance(each, dict) else "",
)
def test_what_cannot_start_is_told_before_an_engine_is_started(
    engine: Engine, settings: Any, told: str
) -> None:
    llm = VLLMEngine(str(engine.folder), VLLMSettings(**settings))
    with pytest.raises(ConfigurationError, match=told):
        engine.loop.run(llm.start())
    assert llm.health().state == "dead"
    with pytest.raises(ConfigurationError, match=told):  # told again, and not tried again
        engine.loop.run(llm.complete(Request.of("x")))


def test_batch_invariance_is_said_to_be_missing_where_it_is(engine: Engine) -> None:
    settings = VLLMSettings(deterministic=True)
    platform = Platform(settings)
    assert platform.batch_invariant is False
    assert "asked for and not offered here" in platform.determinism(settings)
    assert engine.llm.health().state == "serving"


async def unfinished(llm: VLLMEngine, number: int) -> None:
    """Returns when the engine has so many requests; a sequence that is not freed fails here."""
    for _turn in range(1000):
        if llm.health().unfinished == number and (number or llm.load == 0):
            return
        await asyncio.sleep(0.005)
    raise AssertionError(f"{number} were awaited, and there are {llm.health()}, load {llm.load}")


LONG = Sampling(temperature=0, max_tokens=900)


def test_who_goes_away_frees_the_sequence(engine: Engine) -> None:
    async def leave() -> None:
        tasks = [
            asyncio.ensure_future(engine.llm.complete(Request.of(f"{n}", sampling=LONG))) for n in range(8)
        ]
        await unfinished(engine.llm, 8)
        for task in tasks:
            task.cancel()
        assert all(
            isinstance(each, asyncio.CancelledError)
            for each in await asyncio.gather(*tasks, return_exceptions=True)
        )
        await unfinished(engine.llm, 0)
        async with aclosing(engine.llm.stream(Request.of("stream", sampling=LONG))) as stream:
            await anext(stream)
            assert engine.llm.health().unfinished == 1
        await unfinished(engine.llm, 0)

    engine.loop.run(leave())


def test_a_deadline_frees_the_sequence(engine: Engine) -> None:
    error = engine.fails(DeadlinePassed, Request.of("x", sampling=LONG, timeout_s=0.05))
    assert not error.definite
    engine.loop.run(unfinished(engine.llm, 0))
    assert engine.fails(DeadlinePassed, Request.of("x", sampling=LONG, timeout_s=0)).definite


def test_a_drained_engine_answers_what_it_has_and_takes_no_more(engine: Engine) -> None:
    async def drain() -> None:
        had = asyncio.ensure_future(engine.llm.complete(Request.of("had", sampling=LONG)))
        await unfinished(engine.llm, 1)
        assert await engine.llm.drain(0.0) is False
        with pytest.raises(EngineDead, match="draining") as caught:
            await engine.llm.complete(Request.of("late"))
        assert caught.value.definite
        assert await engine.llm.drain(60.0) is True
        assert (await had).text
        assert engine.llm.health().state == "draining"

    engine.loop.run(drain())
