"""What is sent is what arrives: the codec, the copies, the limits."""

import math
from enum import IntEnum
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors import InvalidContent, Kind, Message, Part
from actors.message import (
    MessageRole,
    copy_metadata,
    copy_value,
    decode,
    decode_batch,
    encode,
    frozen,
    parts_of,
    printable,
)

TEXT = st.text(st.characters(exclude_categories=["Cs"]))
INTEGERS = st.integers(-(2**63), 2**64 - 1)
SCALARS = st.none() | st.booleans() | INTEGERS | st.floats(allow_nan=False) | TEXT | st.binary()
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner) | st.dictionaries(TEXT, inner), max_leaves=8)
METADATA = st.none() | st.dictionaries(TEXT, VALUES, max_size=3)
PARTS = st.one_of(
    st.builds(Part, st.sampled_from(["text", "url"]), TEXT, TEXT, TEXT, METADATA),
    st.builds(Part, st.just("raw"), st.binary(), TEXT, TEXT, METADATA),
    st.builds(Part, st.just("data"), VALUES, TEXT, TEXT, METADATA),
)
MESSAGES = st.builds(
    Message,
    sender=TEXT,
    recipient=TEXT,
    sequence=st.integers(0, 2**64 - 1),
    parts=st.lists(PARTS, max_size=3).map(tuple),
    kind=st.sampled_from([int(kind) for kind in Kind]),
    reply_to=st.integers(0, 2**64 - 1),
    context_id=TEXT,
    task_id=TEXT,
    metadata=METADATA,
    id=TEXT,
    role=st.sampled_from(MessageRole),
    extensions=st.lists(TEXT, max_size=2).map(tuple),
    reference_task_ids=st.lists(TEXT, max_size=2).map(tuple),
)


@given(MESSAGES)
def test_a_message_is_the_same_after_the_wire(message: Message) -> None:
    assert decode(encode(message)) == message


@given(st.lists(MESSAGES, max_size=4))
def test_so_is_a_batch(messages: list[Message]) -> None:
    assert decode_batch(encode(messages)) == messages


@given(st.binary(max_size=50))
def test_bytes_that_are_no_message_are_refused(data: bytes) -> None:
    with pytest.raises(msgspec.DecodeError):
        decode(b"\xc1" + data)  # 0xc1 begins nothing in MessagePack


@given(VALUES)
def test_content_arrives_with_its_value_and_type(value: Any) -> None:
    (part,) = decode(encode(Message("a", "b", 1, parts_of(value)))).parts
    assert part.value == value
    assert type(part.value) is type(value)
    assert part.kind == {str: "text", bytes: "raw"}.get(type(value), "data")


@given(PARTS)
def test_a_part_arrives_as_it_was_made(part: Part) -> None:
    assert decode(encode(Message("a", "b", 1, parts_of(part)))).parts == (part,)


@pytest.mark.parametrize("value", [-(2**63), -1, 0, 2**63 - 1, 2**63, 2**64 - 1])
def test_integers_of_64_bits_are_exact(value: int) -> None:
    assert decode(encode(Message("a", "b", 1, parts_of(value)))).data == value
    assert decode(encode(Message("a", "b", 1, parts_of([value])))).data == [value]


@pytest.mark.parametrize("value", [-(2**63) - 1, 2**64, 10**30])
def test_longer_integers_are_refused_with_the_mend(value: int) -> None:
    with pytest.raises(InvalidContent, match="Send it as text"):
        parts_of(value)
    with pytest.raises(InvalidContent, match="within 64 bits"):
        parts_of({"deep": [value]})


@pytest.mark.parametrize("value", [math.inf, -math.inf, math.nan, -0.0])
def test_floats_keep_what_json_would_lose(value: float) -> None:
    arrived = decode(encode(Message("a", "b", 1, parts_of(value)))).data
    assert math.copysign(1, arrived) == math.copysign(1, value)
    assert math.isnan(arrived) if math.isnan(value) else arrived == value


def loop() -> list[Any]:
    inner: list[Any] = []
    inner.append(inner)
    return inner


@pytest.mark.parametrize("content", [object(), {"f": print}, [lambda: 0], 1j, [1j], loop()])
def test_what_is_no_plain_data_is_refused_and_named(content: Any) -> None:
    with pytest.raises(InvalidContent, match="cannot send a"):
        parts_of(content)


HALF = "\ud800"
"""Half a surrogate pair: text in Python, and in no encoding."""


@pytest.mark.parametrize("content", [HALF, [HALF], {HALF: 1}, Part("text", HALF), Part("url", HALF)])
def test_text_that_cannot_be_encoded_is_refused_when_it_is_sent(content: Any) -> None:
    with pytest.raises(InvalidContent, match="surrogates not allowed"):
        parts_of(content)


@pytest.mark.parametrize(
    ("part", "problem"),
    [
        (Part("text", 5), "must be text, not 5"),
        (Part("raw", "text"), "holds bytes, not a str"),
        (Part("bogus", 1), "no part of kind 'bogus'"),  # type: ignore[arg-type]  # the mistake under test
        (Part("data", 1, media_type=None), "media type must be text"),  # type: ignore[arg-type]  # as above
        (Part("data", 1, filename=7), "file name must be text"),  # type: ignore[arg-type]  # as above
        (Part("data", 1, metadata={1: 2}), "keys are text"),  # type: ignore[dict-item]  # as above
        (Part("data", 1, metadata=[]), "keys are text"),  # type: ignore[arg-type]  # as above
        (Part("data", object()), "cannot send a object"),
    ],
)
def test_a_part_that_no_recipient_could_read_is_refused(part: Part, problem: str) -> None:
    with pytest.raises(InvalidContent, match=problem):
        parts_of([part])


def test_metadata_has_text_for_keys() -> None:
    assert copy_metadata({"a": [1]}) == {"a": [1]}
    with pytest.raises(InvalidContent, match="keys are text"):
        copy_metadata({1: 2})  # type: ignore[dict-item]  # the mistake under test


def test_content_is_copied_when_it_is_sent() -> None:
    value = {"list": [1]}
    part = Part("data", value, metadata={"list": [1]})
    sent = [*parts_of(value), *parts_of(part)]
    value["list"].append(2)
    part.metadata["list"].append(2)  # type: ignore[index]  # it is there
    assert [copy.value for copy in sent] == [{"list": [1]}] * 2
    assert sent[1].metadata == {"list": [1]}


def test_tuples_arrive_as_lists_wherever_the_recipient_lives() -> None:
    assert copy_value((1, (2,))) == [1, [2]]


class Colour(IntEnum):
    RED = 1


def test_an_enumeration_arrives_as_its_value() -> None:
    assert type(parts_of(Colour.RED)[0].value) is int


def test_a_frozen_message_stays_what_it_is() -> None:
    for message in [
        Message("a", "b", 1, parts_of([1])),
        Message("a", "b", 1, parts_of({"a": 1})),
        Message("a", "b", 1, metadata={"a": [1]}),
        Message("a", "b", 1, (Part("text", "x", metadata={"a": [1]}),)),
    ]:
        before = encode(message)
        kept = frozen(message)
        for holder in (message.data, message.metadata, message.parts[0].metadata if message.parts else None):
            if isinstance(holder, list):
                holder.append(2)
            elif holder is not None:
                holder["new"] = 2
        assert encode(message) != before
        assert encode(kept) == before


@pytest.mark.parametrize("content", ["text", 1, 0.5, None, True, b"raw", ()])
def test_a_message_that_cannot_change_needs_no_copy(content: Any) -> None:
    message = Message("a", "b", 1, parts_of(content) if content != () else ())
    assert frozen(message) is message


@given(st.text())
def test_printable_text_can_be_encoded_and_looks_the_same_if_it_could_before(text: str) -> None:
    assert isinstance(printable(text).encode(), bytes)
    assert printable(text) == text or "\\ud" in printable(text)


def test_text_and_data_are_found_among_the_parts() -> None:
    parts = (Part("data", 1), Part("text", "a"), Part("url", "u"), Part("text", "b"), Part("data", 2))
    assert (Message("a", "b", 1, parts).text, Message("a", "b", 1, parts).data) == ("a\nb", 1)
    assert (Message("a", "b", 1).text, Message("a", "b", 1).data) == ("", None)


def test_a_message_is_named_by_its_sender_and_number_unless_it_came_with_a_name() -> None:
    assert Message("worker/1", "b", 7).message_id == "worker/1#7"
    assert Message("worker/1", "b", 7, id="given").message_id == "given"
