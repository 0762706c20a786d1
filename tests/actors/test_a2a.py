"""A2A's JSON: nothing is lost either way, and bad JSON is refused by name."""

import json
from collections.abc import Callable
from enum import Enum
from types import NoneType
from typing import Any, get_args, get_origin

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.a2a import TRANSPORT, from_json, message_from_json, to_json
from actors.card import (
    AgentCapabilities,
    AgentCard,
    AgentExtension,
    AgentInterface,
    AgentProvider,
    AgentSkill,
    APIKeySecurityScheme,
    OAuthFlows,
    SecurityRequirement,
    SecurityScheme,
    StringList,
)
from actors.errors import InvalidContent
from actors.message import Kind, Message, MessageRole, Part
from actors.message import decode as decode_message
from actors.message import encode as encode_message
from actors.task import Artifact, Task, TaskState, TaskStatus

# --- Arbitrary values of the model, made from the types of its fields ---------------------------------------

TEXT = st.text(max_size=8)
PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)
METADATA = st.none() | st.dictionaries(TEXT, PLAIN, max_size=3)
LABELS = {"media_type": TEXT, "filename": TEXT, "metadata": METADATA}
PARTS = st.one_of(
    st.builds(Part, st.sampled_from(["text", "url"]), TEXT, **LABELS),
    st.builds(Part, st.just("raw"), st.binary(max_size=8), **LABELS),
    st.builds(Part, st.just("data"), PLAIN, **LABELS),
)
TIMESTAMPS = st.builds(
    "{}{}Z".format,
    st.datetimes().map(lambda moment: moment.replace(microsecond=0).isoformat()),
    st.just("") | st.from_regex(r"\.[0-9]{1,9}", fullmatch=True),
)
COUNTS = st.just(0) | st.integers(0, 2**63 - 1)


def arbitrary(kind: Any) -> st.SearchStrategy[Any]:
    """Values of a field's type."""
    if kind is Part:
        return PARTS
    if kind is TaskStatus:
        return structs(TaskStatus, timestamp=st.just("") | TIMESTAMPS)
    if kind in (SecurityScheme, OAuthFlows):
        return st.one_of(
            [arbitrary(f.type).filter(bool).map(one(kind, f.name)) for f in msgspec.structs.fields(kind)]
        )
    if kind is Any:
        return PLAIN
    if kind is str:
        return TEXT
    if kind is int:
        return COUNTS
    if kind is bool:
        return st.booleans()
    origin, members = get_origin(kind), get_args(kind)
    if origin is tuple:
        return st.lists(st.deferred(lambda: arbitrary(members[0])), max_size=2).map(tuple)
    if origin is dict:
        return st.dictionaries(TEXT, st.deferred(lambda: arbitrary(members[1])), max_size=2)
    if members:
        return st.one_of([st.none() if m is NoneType else arbitrary(m) for m in members])
    return st.sampled_from(kind) if issubclass(kind, Enum) else structs(kind)


def one(kind: Any, name: str) -> Callable[[Any], Any]:
    return lambda value: kind(**{name: value})


def structs(kind: Any, /, **given: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    members = {f.name: arbitrary(f.type) for f in msgspec.structs.fields(kind)} | given
    return st.builds(kind, **members)


def through_text(value: dict[str, Any]) -> Any:
    return json.loads(json.dumps(value, allow_nan=False))


# --- Round trips --------------------------------------------------------------------------------------------


@given(arbitrary(Message))
def test_any_message_survives_json(message: Message) -> None:
    assert from_json(Message, through_text(to_json(message))) == message


@given(arbitrary(Message))
def test_any_message_survives_its_codec(message: Message) -> None:
    assert decode_message(encode_message(message)) == message


@given(st.sampled_from(["a#1", "b#2"]), st.sampled_from(["", "a#1", "b#2"]))
def test_an_id_that_looks_like_the_default_one_survives_json(name: str, given_id: str) -> None:
    sender, _, sequence = name.partition("#")
    message = Message(sender, "", int(sequence), id=given_id)
    assert from_json(Message, through_text(to_json(message))) == message


@given(arbitrary(Task))
def test_any_task_survives_json_and_its_codec(task: Task) -> None:
    assert from_json(Task, through_text(to_json(task))) == task
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(task), type=Task) == task


@given(arbitrary(AgentCard))
def test_any_card_survives_json_and_its_codec(card: AgentCard) -> None:
    assert from_json(AgentCard, through_text(to_json(card))) == card
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(card), type=AgentCard) == card


@pytest.mark.parametrize("kind", [Part, Artifact, TaskStatus, AgentSkill])
def test_any_piece_survives_json_on_its_own(kind: Any) -> None:
    @given(arbitrary(kind))
    def check(value: Any) -> None:
        assert from_json(kind, through_text(to_json(value))) == value

    check()


# --- The JSON of the protocol -------------------------------------------------------------------------------


def test_a_message_from_outside_is_written_as_it_was_read() -> None:
    outside = {
        "messageId": "m-1",
        "contextId": "c-1",
        "taskId": "t-1",
        "role": "ROLE_USER",
        "parts": [
            {"text": "count these"},
            {"raw": "AP8=", "filename": "a.bin", "mediaType": "application/octet-stream"},
            {"url": "https://example.org/a.csv", "metadata": {}},
            {"data": None},
            {"data": {"rows": [1, 2.5, True, "x"]}},
        ],
        "metadata": {},
        "extensions": ["https://example.org/extension"],
        "referenceTaskIds": ["t-0"],
    }
    message = from_json(Message, outside)
    assert message.role is MessageRole.USER
    assert [part.value for part in message.parts][:2] == ["count these", b"\x00\xff"]
    assert to_json(message) == outside


def test_a_task_reads_as_in_the_protocol() -> None:
    status = TaskStatus(TaskState.COMPLETED, timestamp="2026-01-31T09:30:00.250Z")
    task = Task("t-1", "c-1", status, (Artifact("a-1", (Part("data", 7),), name="count"),))
    assert to_json(task) == {
        "id": "t-1",
        "contextId": "c-1",
        "status": {"state": "TASK_STATE_COMPLETED", "timestamp": "2026-01-31T09:30:00.250Z"},
        "artifacts": [{"artifactId": "a-1", "parts": [{"data": 7}], "name": "count"}],
    }


def test_a_card_reads_as_in_the_protocol() -> None:
    card = AgentCard(
        "Bidder",
        "Bids for work.",
        skills=(AgentSkill("bid", "Bidding", "Names its load.", ("auction",)),),
        capabilities=AgentCapabilities(streaming=False, extensions=(AgentExtension("urn:x", required=True),)),
        supported_interfaces=(AgentInterface("https://example.org/a2a", "HTTP+JSON"),),
        provider=AgentProvider("https://example.org", "Example"),
        documentation_url="",
        security_schemes={
            "key": SecurityScheme(api_key_security_scheme=APIKeySecurityScheme("header", "X-Key"))
        },
        security_requirements=(SecurityRequirement({"key": StringList(("read",))}),),
    )
    assert to_json(card) == {
        "name": "Bidder",
        "description": "Bids for work.",
        "version": "1.0.0",
        "skills": [{"id": "bid", "name": "Bidding", "description": "Names its load.", "tags": ["auction"]}],
        "capabilities": {"streaming": False, "extensions": [{"uri": "urn:x", "required": True}]},
        "defaultInputModes": ["text/plain", "application/json"],
        "defaultOutputModes": ["text/plain", "application/json"],
        "supportedInterfaces": [
            {"url": "https://example.org/a2a", "protocolBinding": "HTTP+JSON", "protocolVersion": "1.0"}
        ],
        "provider": {"url": "https://example.org", "organization": "Example"},
        "documentationUrl": "",
        "securitySchemes": {"key": {"apiKeySecurityScheme": {"location": "header", "name": "X-Key"}}},
        "securityRequirements": [{"schemes": {"key": {"list": ["read"]}}}],
    }


def test_json_is_read_as_protobuf_reads_it() -> None:
    message = {
        "message_id": "m",
        "role": 1,
        "parts": [{"raw": "_-8", "media_type": None}],
        "metadata": None,
        "new": 1,
    }
    assert from_json(Message, message) == Message(
        "", "", 0, (Part("raw", b"\xff\xef"),), id="m", role=MessageRole.USER
    )


def test_the_lists_that_a_peer_left_out_of_its_card_are_empty() -> None:
    card = from_json(
        AgentCard, {"name": "Echo", "description": "Echoes.", "version": "2", "capabilities": {}}
    )
    assert (card.skills, card.default_input_modes, card.supported_interfaces) == ((), (), ())


def test_a_card_without_what_it_must_say_is_refused() -> None:
    with pytest.raises(InvalidContent, match=r"AgentCard\.version is missing"):
        from_json(AgentCard, {"name": "Echo", "description": "Echoes.", "capabilities": {}})


def test_a_time_with_an_offset_is_read_as_utc_with_all_its_digits() -> None:
    status = {"state": "TASK_STATE_WORKING", "timestamp": "2026-01-31T00:30:00.123456789+01:00"}
    assert from_json(TaskStatus, status).timestamp == "2026-01-30T23:30:00.123456789Z"


# --- The transport's own fields -----------------------------------------------------------------------------

ASKED = Message("worker/1", "auctioneer", 7, (Part("text", "mine"),), Kind.ASK, metadata={"load": 2})


def test_transport_fields_travel_under_one_key_and_are_announced() -> None:
    written = to_json(ASKED)
    assert written["metadata"] == {
        "load": 2,
        TRANSPORT: {"sender": "worker/1", "recipient": "auctioneer", "sequence": 7, "kind": 1},
    }
    assert written["extensions"] == [TRANSPORT]
    assert written["messageId"] == "worker/1#7"


def test_transport_fields_survive_a_peer_that_turns_numbers_into_doubles() -> None:
    written = to_json(ASKED)
    written["metadata"][TRANSPORT]["sequence"] = 7.0
    assert from_json(Message, written) == ASKED


def test_an_outsider_chooses_neither_its_name_nor_the_kind_of_its_message() -> None:
    forged = to_json(Message("auctioneer", "worker/1", 3, kind=Kind.STOP, metadata={"note": "x"}))
    assert message_from_json(forged, sender="@client", recipient="worker/2", sequence=1) == Message(
        "@client", "worker/2", 1, metadata={"note": "x"}, id="auctioneer#3"
    )


def test_the_transport_key_is_refused_in_an_agents_own_metadata() -> None:
    with pytest.raises(InvalidContent, match="kept for the transport"):
        to_json(Message("a", "b", 1, metadata={TRANSPORT: {}}))


# --- What is refused ----------------------------------------------------------------------------------------

GOOD: dict[str, Any] = {"messageId": "m", "role": "ROLE_USER", "parts": [{"text": "x"}]}
DEEP: Any = 0
for _ in range(200):
    DEEP = [DEEP]


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"messageId": None}, r"Message\.messageId is missing"),
        ({"parts": None}, r"Message\.parts is missing"),
        ({"role": "ROLE_ROBOT"}, r"Message\.role must be one of ROLE_UNSPECIFIED, ROLE_USER, .*'ROLE_ROBOT'"),
        ({"role": True}, r"Message\.role must be one of"),
        ({"contextId": 5}, r"Message\.contextId must be text, but is 5 \(a Python int\)"),
        ({"parts": {}}, r"Message\.parts must be an array, but is {}"),
        ({"parts": [{"text": "x"}, 4]}, r"Message\.parts\[1\] must be an object, but is 4"),
        (
            {"parts": [{}]},
            r"Message\.parts\[0\] holds none of them\. Give exactly one of text, raw, url, data",
        ),
        ({"parts": [{"text": "x", "url": "y"}]}, r"parts\[0\] holds text and url\. Give exactly one"),
        ({"parts": [{"raw": "a"}]}, r"parts\[0\]\.raw is not base64"),
        ({"parts": [{"raw": "a!b="}]}, r"parts\[0\]\.raw is not base64"),
        ({"parts": [{"text": "\ud800"}]}, r"parts\[0\]\.text holds half of a surrogate pair"),
        ({"parts": [{"data": {"n": 2**64}}]}, r"parts\[0\]\.data\.n must be .*number within 64 bits"),
        ({"parts": [{"data": DEEP}]}, r"nested more than 100 levels"),
        ({"metadata": [1]}, r"Message\.metadata must be an object, but is \[1\]"),
        ({"extensions": [None]}, r"Message\.extensions\[0\] must be text, but is null"),
        ({"metadata": {TRANSPORT: {"sequence": 1.5}}}, r"transport:1\.sequence must be a whole number"),
        ({"metadata": {TRANSPORT: {"kind": float("1e300")}}}, r"transport:1\.kind must be a whole number"),
        ({"metadata": {TRANSPORT: 3}}, r"transport:1 must be an object"),
    ],
)
def test_bad_json_is_refused_with_the_field_what_was_found_and_what_is_allowed(
    change: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(InvalidContent, match=complaint):
        from_json(Message, {**GOOD, **change})


@pytest.mark.parametrize("value", [None, 3, "text", [GOOD]])
def test_what_is_not_an_object_is_refused(value: Any) -> None:
    with pytest.raises(InvalidContent, match="Message must be an object"):
        from_json(Message, value)


@pytest.mark.parametrize(
    "stamp", ["yesterday", "2026-02-30T00:00:00Z", "2026-01-31", "2026-01-31T09:30:00", ""]
)
def test_a_time_that_is_none_is_refused_but_an_absent_one_is_not(stamp: str) -> None:
    status = {"state": "TASK_STATE_WORKING", "timestamp": stamp}
    if not stamp:
        assert from_json(TaskStatus, status) == TaskStatus(TaskState.WORKING)
        return
    with pytest.raises(InvalidContent, match=r"TaskStatus\.timestamp must be a time of RFC 3339, such as"):
        from_json(TaskStatus, status)


def test_a_security_scheme_is_exactly_one_of_its_members() -> None:
    with pytest.raises(
        InvalidContent, match=r"holds none of them\. Give exactly one of apiKeySecurityScheme, "
    ):
        from_json(SecurityScheme, {})
    with pytest.raises(InvalidContent, match="Give exactly one of"):
        to_json(SecurityScheme())


@pytest.mark.parametrize(
    ("part", "complaint"),
    [
        (Part("data", float("nan")), r"Part\.data must be .* a finite number"),
        (
            Part("data", {"a": [b"bytes"]}),
            r"Part\.data\.a\[0\] must be text, .* is b'bytes' \(a Python bytes\)",
        ),
        (Part("data", {1: 2}), r"Part\.data \(a key\) must be text, but is 1"),
        (Part("text", 5), r"Part\.text must be text, but is 5"),
        (Part("raw", "text"), r"Part\.raw must be bytes"),
        (Part("video", "x"), r"Part\.kind must be one of text, raw, url, data, but is 'video'"),  # type: ignore[arg-type]  # the fault
    ],
)
def test_what_json_cannot_say_is_refused_before_it_is_sent(part: Part, complaint: str) -> None:
    with pytest.raises(InvalidContent, match=complaint):
        to_json(part)
