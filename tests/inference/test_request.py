"""Messages and requests: what is refused and how it is told, and the hash that names a request."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from inference.errors import BadRequest
from inference.message import ChatMessage, ImagePart, TextPart, ToolCall
from inference.request import Caller, Request, ResponseSchema, Sampling, Tool, request_hash

ROOT = Path(__file__).resolve().parents[2]
ADD = Tool("add", "Adds.", {"type": "object", "properties": {"a": {"type": "integer"}}})
CALL = ToolCall("call_1", "add", '{"a": 1}')
TALK = (ChatMessage.user("1 + 1?"), ChatMessage.assistant("", [CALL]), ChatMessage.tool("call_1", "2"))

REFUSED: list[tuple[Any, str]] = [
    (lambda: Request(()), "give 1 to"),
    (lambda: Request("hello"), "must be a sequence of ChatMessage"),  # type: ignore[arg-type]  # what is tested
    (lambda: Request(["hello"]), r"messages\[0\] must be a ChatMessage"),  # type: ignore[arg-type,list-item]  # what is tested
    (lambda: ChatMessage("robot", (TextPart("x"),)), "system, user, assistant, tool"),  # type: ignore[arg-type]  # what is tested
    (lambda: ChatMessage("user"), "is empty"),
    (lambda: ChatMessage("user", (TextPart("x"),), (CALL,)), "only an assistant's"),
    (lambda: ChatMessage("tool", (TextPart("x"),)), r"ChatMessage\.tool"),
    (lambda: ChatMessage("user", (TextPart("x"),), tool_call_id="1"), "leave tool_call_id empty"),
    (lambda: ChatMessage.user("\ud800"), "cannot be encoded"),
    (lambda: ChatMessage.user(3), "must be text"),  # type: ignore[arg-type]  # what is tested
    (lambda: ImagePart("file:///etc/passwd"), "http"),
    (lambda: Request((ChatMessage.tool("call_9", "2"),)), "keep the assistant's message"),
    (lambda: Sampling(temperature=-0.1), "temperature is -0.1: give a number from 0 to 2"),
    (lambda: Sampling(temperature=float("nan")), "temperature is nan"),
    (lambda: Sampling(temperature=True), "temperature is True"),
    (lambda: Sampling(top_p=0), "top_p is 0"),
    (lambda: Sampling(max_tokens=0), "max_tokens is 0: give an integer from 1"),
    (lambda: Sampling(max_tokens=1.5), "max_tokens is 1.5"),  # type: ignore[arg-type]  # what is tested
    (lambda: Sampling(n=1000), "n is 1000"),
    (lambda: Sampling(seed=-1), "seed is -1"),
    (lambda: Sampling(logprobs=21), "logprobs is 21"),
    (lambda: Sampling(stop="END"), "must be a sequence of str"),  # type: ignore[arg-type]  # what is tested
    (lambda: Sampling(stop=("",)), "none empty"),
    (lambda: Tool("two words"), "1 to 64 letters"),
    (lambda: Tool("f", parameters={"type": "array"}), '"type": "object"'),
    (lambda: Tool("f", parameters={"type": "objet"}), "no JSON schema: type"),
    (lambda: Tool("f", parameters={"type": {1, 2}}), "cannot be written as JSON|no JSON schema"),
    (lambda: Request.of("x", tools=(ADD, ADD)), "a name of its own"),
    (lambda: Request.of("x", tool_choice="add"), "there are no tools"),
    (lambda: Request.of("x", tools=(ADD,), tool_choice="sub"), "required or one of add"),
    (lambda: Request.of("x", timeout_s=-1), "timeout_s is -1"),
    (lambda: Caller(priority=101), "priority is 101"),
    (lambda: Caller(agent=3), "caller's agent must be text"),  # type: ignore[arg-type]  # what is tested
    (lambda: ResponseSchema.json({"type": 7}), "no JSON schema"),
    (lambda: ResponseSchema.json([1]), "an object"),  # type: ignore[arg-type]  # what is tested
    (ResponseSchema.choice, "at least one"),
    (lambda: ResponseSchema.choice("a", "a"), "different"),
    (lambda: ResponseSchema("regex", ""), "must not be empty"),
    (lambda: ResponseSchema("yaml", "x"), "json_schema, regex, choice or grammar"),  # type: ignore[arg-type]  # what is tested
]


@pytest.mark.parametrize(("make", "told"), REFUSED, ids=[told for _, told in REFUSED])
def test_what_no_model_could_answer_is_refused_with_the_mend(make: Any, told: str) -> None:
    with pytest.raises(BadRequest, match=told) as caught:
        make()
    assert caught.value.definite


def test_a_request_of_all_there_is_goes_through_json_unchanged() -> None:
    request = Request(
        TALK,
        Sampling(temperature=0.5, stop=("END",), seed=4, n=2, logprobs=3),
        (ADD,),
        "add",
        ResponseSchema.json({"type": "object"}),
        token_ids=True,
        caller=Caller("a/1", "a", "run", "talk", 3),
        timeout_s=5,
    )
    assert msgspec.json.decode(msgspec.json.encode(request), type=Request) == request
    again = msgspec.convert(request.content(), Request)
    assert again.content() == request.content()
    assert request_hash(again, "m") == request_hash(request, "m")


def test_a_schema_is_copied() -> None:
    schema: dict[str, Any] = {"type": "object", "properties": {}}
    tool = Tool("f", parameters=schema)
    schema["properties"]["later"] = {"type": "string"}
    assert tool.parameters == {"type": "object", "properties": {}}


def test_arguments_that_are_no_json_are_shown() -> None:
    assert CALL.values() == {"a": 1}
    with pytest.raises(ValueError, match="not a JSON object"):
        ToolCall("1", "add", "{broken").values()


# --- The hash -------------------------------------------------------------------------------------------------

VARIANTS = [
    Request.of("hello"),
    Request.of("hello "),
    Request.of("hello", system="hello"),
    Request((ChatMessage.system("hello"),)),
    Request((ChatMessage.user("hello"), ChatMessage.user("hello"))),
    Request((ChatMessage("user", (TextPart("hel"), TextPart("lo"))),)),
    Request((ChatMessage("user", (TextPart("hello"),), name="ann"),)),
    Request((ChatMessage.user("hello", ["https://host/a.png"]),)),
    Request(TALK),
    Request.of("hello", tools=(ADD,)),
    Request.of("hello", tools=(ADD,), tool_choice="required"),
    Request.of("hello", tools=(Tool("add", "Adds.", ADD.parameters, strict=False),)),
    Request.of("hello", response_schema=ResponseSchema.choice("a", "b")),
    Request.of("hello", response_schema=ResponseSchema.choice("b", "a")),
    Request.of("hello", response_schema=ResponseSchema("regex", "a")),
    Request.of("hello", response_schema=ResponseSchema("grammar", "a")),
    Request.of("hello", token_ids=True),
    *(
        Request.of("hello", sampling=Sampling(**{name: value}))
        for name, value in {
            "temperature": 0.5,
            "top_p": 0.5,
            "top_k": 5,
            "min_p": 0.5,
            "frequency_penalty": 0.5,
            "presence_penalty": 0.5,
            "repetition_penalty": 0.5,
            "stop": ("a",),
            "seed": 5,
            "max_tokens": 5,
            "n": 5,
            "logprobs": 5,
        }.items()
    ),
]


def test_all_that_decides_the_answer_decides_the_hash() -> None:
    hashes = [request_hash(request, model) for request in VARIANTS for model in ("m", "n")]
    assert len(set(hashes)) == 2 * len(VARIANTS)


def test_every_field_of_sampling_is_among_the_variants() -> None:
    told = {name for request in VARIANTS for name in request.content().get("sampling", {})}
    assert told == set(Sampling.__struct_fields__)


def test_who_asks_and_until_when_do_not_decide_the_hash() -> None:
    plain = Request.of("hello")
    mine = Request.of("hello", caller=Caller("a/1", "a", "run", "talk", 9), timeout_s=3)
    assert request_hash(plain, "m") == request_hash(mine, "m")


def test_one_value_has_one_hash_however_it_is_written() -> None:
    one = Request([ChatMessage.user("x")], Sampling(temperature=1, top_p=1, presence_penalty=-0.0))  # type: ignore[arg-type]  # a list is taken too
    assert one == Request.of("x")
    assert request_hash(one, "m") == request_hash(Request.of("x"), "m")
    two = [Tool("f", parameters={"type": "object", key: {}}) for key in ("properties", "$defs")]
    both = [
        Tool("f", parameters={"type": "object", "properties": {}, "$defs": {}}),
        Tool("f", parameters={"$defs": {}, "properties": {}, "type": "object"}),
    ]
    assert len({request_hash(Request.of("x", tools=(tool,)), "m") for tool in two}) == 2
    assert len({request_hash(Request.of("x", tools=(tool,)), "m") for tool in both}) == 1


def test_the_hash_is_the_same_in_every_process_and_stays_as_it_was() -> None:
    code = (
        "from inference.request import *\n"
        "print(request_hash(Request.of('x', system='s', tools=(Tool('f'),), sampling=Sampling(seed=1)), 'm'))"
    )
    told = set()
    for seed in ("1", "2"):
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONHASHSEED": seed}
        told.add(subprocess.check_output([sys.executable, "-c", code], env=environment, text=True).strip())
    assert told == {"05e14ed7469cf5d08d071f81936148b8"}


@given(st.lists(st.text(), min_size=1, max_size=4), st.lists(st.text(), min_size=1, max_size=4))
def test_texts_are_never_run_together(one: list[str], other: list[str]) -> None:
    hashes = [
        request_hash(Request(tuple(ChatMessage.user(text) for text in texts)), "m") for texts in (one, other)
    ]
    assert (hashes[0] == hashes[1]) == (one == other)
