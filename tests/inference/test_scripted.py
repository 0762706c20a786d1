"""The scripted model: deterministic from request and seed, within a model's limits, in virtual time."""

import asyncio
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inference.clock import VirtualClock
from inference.errors import BadRequest, ConfigurationError, ContextTooLong, DeadlinePassed
from inference.message import ChatMessage, ToolCall
from inference.price import FREE, Price
from inference.request import Request, ResponseSchema, Sampling, Tool
from inference.script_file import load_script
from inference.scripted import Answer, Rule, ScriptedLLM
from inference.simple_tokenizer import count_text, prompt_tokens, tokens_of
from tests.inference.conformance import check_model, pieces

RULES = (
    Rule(r"vote on (?P<motion>\w+)", ("yes to {motion}", "no to {motion}")),
    Rule("add", '{"a": {"b": 1}}', tool="add", role="user"),
    Rule(".*", "the sum is {0}", role="tool"),
    Rule(".*", "as {0}", system="parrot"),
)


def answer(model: ScriptedLLM, text: str, **options: Any) -> str:
    return asyncio.run(model.complete(Request.of(text, **options))).text


def draws(_request: Request, rng: Random) -> Answer:
    return f"I drew {rng.randrange(10**9)}"


def test_it_keeps_to_what_all_models_keep_to() -> None:
    asyncio.run(check_model(ScriptedLLM(draws)))


def test_the_first_rule_that_fits_answers() -> None:
    model = ScriptedLLM(RULES)
    assert answer(model, "please vote on budgets") in ("yes to budgets", "no to budgets")
    assert answer(model, "hello\nyou", system="a parrot") == "as hello\nyou"
    call = asyncio.run(model.complete(Request.of("add", tools=(Tool("add"),)))).tool_calls[0]
    assert (call.name, call.values()) == ("add", {"a": {"b": 1}})
    talk = (ChatMessage.user("add"), ChatMessage.assistant("", [call]), ChatMessage.tool(call.id, "7"))
    assert asyncio.run(model.complete(Request(talk))).text == "the sum is 7"
    with pytest.raises(BadRequest, match="no rule fits 'hello'"):
        answer(model, "hello")


def test_an_answer_depends_on_request_and_seed_and_on_nothing_else() -> None:
    requests = [Request.of(f"question {number}", sampling=Sampling(n=2)) for number in range(20)]

    async def all_at_once(order: list[Request], seed: int = 0) -> dict[str, tuple[str, ...]]:
        model = ScriptedLLM(draws, seed=seed)
        done = await asyncio.gather(*(model.complete(request) for request in order))
        return {
            request.messages[-1].text: tuple(choice.text for choice in completion.choices)
            for request, completion in zip(order, done, strict=True)
        }

    first = asyncio.run(all_at_once(requests))
    assert first == asyncio.run(all_at_once(requests[::-1]))
    assert first == asyncio.run(all_at_once([*requests[::2], *requests]))
    assert not set(first.values()) & set(asyncio.run(all_at_once(requests, seed=1)).values())
    samples = [text for texts in first.values() for text in texts]
    assert len(set(samples)) == len(samples)


def test_a_seed_of_the_request_gives_another_answer() -> None:
    model = ScriptedLLM(draws)
    texts = {answer(model, "x", sampling=Sampling(seed=seed)) for seed in range(5)}
    assert len(texts) == 5


def test_max_tokens_cuts_and_stop_stops() -> None:
    model = ScriptedLLM([Rule("", "one two three END four")])
    cut = asyncio.run(model.complete(Request.of("x", sampling=Sampling(max_tokens=2))))
    assert (cut.text, cut.finish_reason, cut.usage.completion_tokens) == ("one two", "length", 2)
    stopped = asyncio.run(model.complete(Request.of("x", sampling=Sampling(stop=("END", "three ")))))
    assert (stopped.text, stopped.finish_reason) == ("one two ", "stop")


def test_a_prompt_over_the_context_raises_with_the_counts_and_a_tight_one_is_told() -> None:
    model = ScriptedLLM([Rule("", "a b c d e f g h")], context_tokens=20)
    with pytest.raises(ContextTooLong) as caught:
        answer(model, "word " * 30)
    assert caught.value.limit_tokens == 20
    assert caught.value.prompt_tokens == prompt_tokens(Request.of("word " * 30))
    completion = asyncio.run(model.complete(Request.of("w " * 12)))
    assert completion.finish_reason == "length"
    assert completion.usage.total_tokens == 20
    assert "cut at" in completion.notes[0]


def test_ids_and_logprobs_come_for_each_token_on_request() -> None:
    request = Request.of("x", sampling=Sampling(logprobs=0), token_ids=True)
    choice = asyncio.run(ScriptedLLM([Rule("", "one two one")]).complete(request)).choices[0]
    assert choice.token_ids is not None
    assert choice.logprobs is not None
    assert [entry.token for entry in choice.logprobs] == ["one", " two", " one"]
    assert len(set(choice.token_ids)) == 3
    bare = asyncio.run(ScriptedLLM([Rule("", "one")]).complete(Request.of("x"))).choices[0]
    assert (bare.token_ids, bare.logprobs) == (None, None)


def test_a_choice_is_kept_to() -> None:
    model = ScriptedLLM([Rule("", "perhaps")])
    assert answer(model, "x", response_schema=ResponseSchema.choice("yes", "no")) in ("yes", "no")
    assert answer(model, "x", response_schema=ResponseSchema.choice("no", "perhaps")) == "perhaps"


def test_delays_pass_on_the_clock_that_is_given() -> None:
    async def main() -> tuple[float, list[float], float]:
        clock = VirtualClock()
        model = ScriptedLLM([Rule("", "a b c")], first_token_s=10, token_s=2, clock=clock)
        done = await asyncio.gather(*(model.complete(Request.of(str(number))) for number in range(3)))
        now = clock.now()
        deltas = await pieces(model, Request.of("x"))
        last = deltas[-1].completion
        assert last is not None
        assert last.timing.first_token_s == 12
        return now, [completion.timing.total_s or 0.0 for completion in done], clock.now()

    assert asyncio.run(main()) == (16, [16, 16, 16], 32)


def test_a_deadline_ends_the_wait() -> None:
    async def main() -> float:
        clock = VirtualClock()
        model = ScriptedLLM([Rule("", "a b c")], first_token_s=10, clock=clock)
        with pytest.raises(DeadlinePassed):
            await model.complete(Request.of("x", timeout_s=3))
        return clock.now()

    assert asyncio.run(main()) == 3


def test_the_price_is_paid_and_one_that_is_not_known_is_none() -> None:
    script = [Rule("", "a b c")]
    assert asyncio.run(ScriptedLLM(script).complete(Request.of("x"))).cost_usd is None
    assert asyncio.run(ScriptedLLM(script, price=FREE).complete(Request.of("x"))).cost_usd == 0
    paid = asyncio.run(ScriptedLLM(script, price=Price(1, 10)).complete(Request.of("x")))
    assert paid.cost_usd == pytest.approx((paid.usage.prompt_tokens + 30) / 1e6)


def test_a_function_that_gives_no_answer_is_told() -> None:
    with pytest.raises(ConfigurationError, match="gave 7"):
        answer(ScriptedLLM(lambda _request, _rng: 7), "x")  # type: ignore[arg-type,return-value]  # what is tested


def test_rules_are_told_apart_by_their_identity() -> None:
    same = [ScriptedLLM([Rule("", text)]).identity for text in ("a", "a", "b")]
    assert same[0] == same[1] != same[2]


# --- Files ----------------------------------------------------------------------------------------------------


def test_a_script_is_read_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "voters.yaml"
    file.write_text('rules:\n  - {pattern: "vote on (.*)", answers: "yes to {1}"}\nseed: 4\n')
    model = load_script(file)
    assert answer(model, "vote on it") == "yes to it"
    assert model.identity.startswith("scripted:voters@4-")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("rules: 3", "array"),
        ("[]", "A script has rules"),
        ("rules: []\nsed: 1", "sed"),
        ("rules:\n  - {patern: x}", r"rules\[0\]: there is no 'patern'"),
        ("rules:\n  - {pattern: '('}", "no regular expression"),
        ("rules:\n  - {pattern: '', answers: []}", "no answer"),
        ("rules:\n  - {pattern: 'x', answers: 'a {name}'}", "no such group"),
        ("rules: [", "no YAML"),
        ("\x00", "no YAML"),
    ],
)
def test_a_faulty_script_is_told_with_its_place(tmp_path: Path, text: str, told: str) -> None:
    file = tmp_path / "script.yaml"
    file.write_text(text)
    with pytest.raises(ConfigurationError, match=told) as caught:
        load_script(file)
    assert "script.yaml" in str(caught.value)


def test_a_script_that_is_missing_or_huge_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot read the script"):
        load_script(tmp_path / "none.yaml")
    (tmp_path / "huge.yaml").write_text("#" * (1 << 20) + "\nrules: []")
    with pytest.raises(ConfigurationError, match="over 1,048,576 bytes"):
        load_script(tmp_path / "huge.yaml")


# --- The tokenizer --------------------------------------------------------------------------------------------


@given(st.text())
def test_tokens_joined_are_the_text(text: str) -> None:
    tokens = tokens_of(text)
    assert "".join(tokens) == text
    assert count_text(text) == len(tokens)


def test_a_prompt_counts_all_that_a_model_reads() -> None:
    plain = Request.of("hello world")
    assert prompt_tokens(plain) == 6
    call = ToolCall("1", "add", '{"a": 1}')
    longer = [
        Request.of("hello world", system="be brief"),
        Request.of("hello world", tools=(Tool("add"),)),
        Request.of("hello world", response_schema=ResponseSchema.choice("a")),
        Request((*plain.messages, ChatMessage.assistant("", [call]))),
        Request((ChatMessage.user("hello world", ["https://host/a.png"]),)),
    ]
    assert all(prompt_tokens(request) > 6 for request in longer)
