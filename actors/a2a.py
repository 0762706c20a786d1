"""Messages, tasks and cards as the JSON of the Agent2Agent protocol, version 1.0, and back, without loss.

The model is `specification/a2a.proto`; the JSON is ProtoJSON (https://protobuf.dev/programming-guides/json):
camelCase names, enumerations by name, bytes as base64, a part's content by the name of its member.

Rules:
* Lossless or refused: what JSON cannot say (NaN, bytes or keys that are not text inside data) raises `InvalidContent`.
* What the protocol requires is always written and must be there when read (a list or map of a card may be left out
  for empty). Other fields are written when they differ from their default, so absent and empty stay apart wherever
  the protocol tells them apart.
* Read as ProtoJSON parsers do: original field names (`message_id`), enumerations by number, base64 of either alphabet,
  padded or not, and null for an absent field are taken; fields that are not known are ignored, as the protocol asks.
* What only our transport knows (sender, recipient, sequence, kind, answered message) travels in a message's metadata
  under `TRANSPORT`, announced in its extensions, and is taken out again. An outsider's word for it is not taken.

JSON numbers in data are Python's (1 and 1.0 stay apart); peers that hold them as doubles lose integers beyond 2**53.
"""

from base64 import b64decode, b64encode
from binascii import Error as Base64Error
from datetime import UTC, datetime
from enum import StrEnum
from functools import cache
from math import isfinite
from re import compile as pattern
from types import NoneType, UnionType
from typing import Any, NamedTuple, NoReturn, TypeVar, get_args, get_origin

import msgspec

from actors import card as cards
from actors.errors import InvalidContent
from actors.message import Message, MessageRole, Part
from actors.task import Task, TaskStatus

TRANSPORT = "urn:rayswarm:transport:1"
"""The extension, and the key in a message's metadata, that carries what A2A has no field for."""

DEPTH = 100
"""Levels that data may be nested, as in protobuf's own parsers."""

Value = TypeVar("Value", bound=msgspec.Struct)


def to_json(value: msgspec.Struct) -> dict[str, Any]:
    """A message, part, task, status, artifact, card or skill as A2A JSON, ready for `json.dumps`.

    Raises `InvalidContent`, naming the field, for what A2A's JSON cannot say.
    """
    kind = type(value)
    result: dict[str, Any] = _convert(kind, value, kind.__name__, reading=False)
    return result


def from_json(kind: type[Value], value: Any) -> Value:
    """The `kind` (`Message`, `Task`, `AgentCard`, ...) in A2A JSON, as `json.loads` gives it.

    Raises `InvalidContent`, naming the field, what was found and what is allowed.
    """
    result: Value = _convert(kind, value, kind.__name__, reading=True)
    return result


def message_from_json(
    value: Any, *, sender: str | None = None, recipient: str = "", sequence: int = 0
) -> Message:
    """The message in A2A JSON; with a `sender` an outsider's, going from there to `recipient` as a plain message.

    An outsider must not choose whom it speaks for, nor start, stop or answer for an agent, so what its JSON says of
    the transport is dropped.
    """
    wire = _convert(_WireMessage, value, "Message", reading=True)
    return _from_wire(wire, "Message", None if sender is None else (sender, recipient, sequence))


# --- Fields -------------------------------------------------------------------------------------------------


class _WireMessage(msgspec.Struct, frozen=True):
    """`Message` as the protocol has it."""

    message_id: str
    role: MessageRole
    parts: tuple[Part, ...]
    context_id: str = ""
    task_id: str = ""
    metadata: dict[str, Any] | None = None
    extensions: tuple[str, ...] = ()
    reference_task_ids: tuple[str, ...] = ()


# Required by the protocol although they have a default here. Fields without a default are required as well.
_REQUIRED: dict[type, frozenset[str]] = {
    Task: frozenset({"status"}),
    cards.AgentInterface: frozenset({"protocol_version"}),
    cards.AgentSkill: frozenset({"tags"}),
    cards.AgentCard: frozenset(
        {
            "version",
            "skills",
            "capabilities",
            "default_input_modes",
            "default_output_modes",
            "supported_interfaces",
        }
    ),
}
_ONE_OF = (cards.SecurityScheme, cards.OAuthFlows)


class _Field(NamedTuple):
    name: str
    json_name: str
    kind: Any
    default: Any
    required: bool


@cache
def _fields_of(kind: type[msgspec.Struct]) -> tuple[_Field, ...]:
    return tuple(
        _Field(
            field.name,
            _camel(field.name),
            field.type,
            field.default if field.default_factory is msgspec.NODEFAULT else field.default_factory(),
            field.required or field.name in _REQUIRED.get(kind, ()),
        )
        for field in msgspec.structs.fields(kind)
    )


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)


# --- The walk -----------------------------------------------------------------------------------------------


def _convert(kind: Any, value: Any, where: str, *, reading: bool) -> Any:
    """`value` of a field of type `kind`, from JSON if `reading`, else to it. `where` is the path to it, for errors."""
    origin = get_origin(kind)
    if origin is UnionType:
        (kind,) = (member for member in get_args(kind) if member is not NoneType)
        origin = get_origin(kind)
    if origin is tuple:
        (item, _) = get_args(kind)
        items = _checked(value, list | tuple, "an array", where)
        array = (_convert(item, each, f"{where}[{n}]", reading=reading) for n, each in enumerate(items))
        return tuple(array) if reading else list(array)
    if origin is dict:
        (_, item) = get_args(kind)
        entries = _checked(value, dict, "an object", where).items()
        return {
            _text(key, where): _convert(item, each, f"{where}.{key}", reading=reading)
            for key, each in entries
        }
    if kind is Any:
        return _plain(value, where)
    if kind is str:
        return _text(value, where)
    if kind is bool:
        return _checked(value, bool, "true or false", where)
    if issubclass(kind, StrEnum):
        member = _member(kind, value, where)
        return member if reading else member.value
    return _read_struct(kind, value, where) if reading else _write_struct(kind, value, where)


def _write_struct(kind: type[msgspec.Struct], value: Any, where: str) -> dict[str, Any]:
    if not isinstance(value, kind):
        _refuse(where, f"a value of type {kind.__name__}", value)
    if isinstance(value, Part):
        return _write_part(value, where)
    if isinstance(value, Message):
        return _write_struct(_WireMessage, _to_wire(value, where), where)
    _check_choice(value, where)
    result = {}
    for field in _fields_of(kind):
        item = getattr(value, field.name)
        if field.required or item != field.default:
            result[field.json_name] = _convert(field.kind, item, f"{where}.{field.json_name}", reading=False)
    if kind is TaskStatus and "timestamp" in result:
        result["timestamp"] = _in_utc(result["timestamp"], f"{where}.timestamp")
    return result


def _read_struct(kind: type[msgspec.Struct], value: Any, where: str) -> Any:
    if kind is Part:
        return _read_part(value, where)
    if kind is Message:
        return _from_wire(_read_struct(_WireMessage, value, where), where, None)
    entries = _checked(value, dict, "an object", where)
    found: dict[str, Any] = {}
    for field in _fields_of(kind):
        item = entries.get(field.json_name, entries.get(field.name))
        if item is not None:
            found[field.name] = _convert(field.kind, item, f"{where}.{field.json_name}", reading=True)
        elif field.required and field.name != "parts" and get_origin(field.kind) in (tuple, dict):
            # Protobuf's printers leave out empty lists and maps, required or not; but who sends no parts says nothing.
            found[field.name] = get_origin(field.kind)()
        elif field.required:
            raise InvalidContent(f"A2A: {where}.{field.json_name} is missing. The protocol requires it.")
    if kind is TaskStatus and found.get("timestamp"):
        found["timestamp"] = _in_utc(found["timestamp"], f"{where}.timestamp")
    result = kind(**found)
    _check_choice(result, where)
    return result


def _check_choice(value: msgspec.Struct, where: str) -> None:
    """Raises if not exactly one member of a choice is given."""
    if isinstance(value, _ONE_OF):
        members = [_camel(name) for name in value.__struct_fields__]
        given = [_camel(name) for name in value.__struct_fields__ if getattr(value, name) is not None]
        if len(given) != 1:
            raise InvalidContent(
                f"A2A: {where} holds {_listed(given)}. Give exactly one of {', '.join(members)}."
            )


# --- Parts --------------------------------------------------------------------------------------------------

_CONTENT = ("text", "raw", "url", "data")
_URL_SAFE = str.maketrans("-_", "+/")


def _write_part(part: Part, where: str) -> dict[str, Any]:
    if part.kind not in _CONTENT:
        _refuse(f"{where}.kind", f"one of {', '.join(_CONTENT)}", part.kind)
    content = f"{where}.{part.kind}"
    result: dict[str, Any] = {}
    if part.kind == "data":
        result["data"] = _plain(part.value, content)
    elif part.kind == "raw":
        result["raw"] = b64encode(_checked(part.value, bytes, "bytes", content)).decode()
    else:
        result[part.kind] = _text(part.value, content)
    if part.metadata is not None:
        result["metadata"] = _convert(dict[str, Any], part.metadata, f"{where}.metadata", reading=False)
    if part.filename:
        result["filename"] = _text(part.filename, f"{where}.filename")
    if part.media_type:
        result["mediaType"] = _text(part.media_type, f"{where}.mediaType")
    return result


def _read_part(value: Any, where: str) -> Part:
    entries = _checked(value, dict, "an object", where)
    # Null is a value for `data` and means absent for the others; beside another member it is absent for `data` too.
    given = [name for name in _CONTENT if entries.get(name) is not None] or [
        n for n in ("data",) if n in entries
    ]
    if len(given) != 1:
        raise InvalidContent(
            f"A2A: {where} holds {_listed(given)}. Give exactly one of {', '.join(_CONTENT)}."
        )
    kind = given[0]
    content: Any = entries[kind]
    if kind == "raw":
        content = _base64(content, f"{where}.raw")
    elif kind == "data":
        content = _plain(content, f"{where}.data")
    else:
        content = _text(content, f"{where}.{kind}")
    metadata = entries.get("metadata")
    if metadata is not None:
        metadata = _convert(dict[str, Any], metadata, f"{where}.metadata", reading=True)
    media_type = entries.get("mediaType", entries.get("media_type")) or ""
    filename = entries.get("filename") or ""
    return Part(
        kind,  # type: ignore[arg-type]  # one of _CONTENT, which are the literals
        content,
        _text(media_type, f"{where}.mediaType"),
        _text(filename, f"{where}.filename"),
        metadata,
    )


def _base64(value: Any, where: str) -> bytes:
    text = _text(value, where).translate(_URL_SAFE).rstrip("=")
    try:
        return b64decode(text + "=" * (-len(text) % 4), validate=True)
    except Base64Error as error:
        raise InvalidContent(
            f"A2A: {where} is not base64: {error}. Encode the bytes as in RFC 4648."
        ) from error


# --- The transport's own fields -----------------------------------------------------------------------------


def _to_wire(message: Message, where: str) -> _WireMessage:
    block = {
        "sender": message.sender,
        "recipient": message.recipient,
        "sequence": message.sequence,
        "kind": int(message.kind),
        "replyTo": message.reply_to,
        # An id that was given, but is the one that it would have had: nothing else tells the two apart.
        "id": message.id if message.id == f"{message.sender}#{message.sequence}" else "",
    }
    block = {name: value for name, value in block.items() if value not in ("", 0)}
    metadata, extensions = message.metadata, message.extensions
    if TRANSPORT in (metadata or ()) or TRANSPORT in extensions:
        raise InvalidContent(
            f"A2A: {where} uses {TRANSPORT!r} in its metadata or extensions, kept for the transport. Rename it."
        )
    if block:
        if metadata == {}:
            block["metadata"] = True
        metadata = {**(metadata or {}), TRANSPORT: block}
        extensions = (*extensions, TRANSPORT)
    return _WireMessage(
        message.message_id,
        message.role,
        message.parts,
        message.context_id,
        message.task_id,
        metadata,
        extensions,
        message.reference_task_ids,
    )


def _from_wire(wire: _WireMessage, where: str, route: tuple[str, str, int] | None) -> Message:
    metadata, extensions, block = wire.metadata, wire.extensions, {}
    if TRANSPORT in extensions:
        extensions = tuple(uri for uri in extensions if uri != TRANSPORT)
    if metadata is not None and TRANSPORT in metadata:
        at = f"{where}.metadata.{TRANSPORT}"
        block = _checked(metadata[TRANSPORT], dict, "an object", at)
        metadata = {key: value for key, value in metadata.items() if key != TRANSPORT}
        metadata = metadata or ({} if block.get("metadata") else None)
    if route is None:
        at = f"{where}.metadata.{TRANSPORT}"
        sender, recipient, given = (
            _text(block.get(n, ""), f"{at}.{n}") for n in ("sender", "recipient", "id")
        )
        sequence, kind, reply_to = (
            _whole(block.get(n, 0), f"{at}.{n}") for n in ("sequence", "kind", "replyTo")
        )
    else:
        (sender, recipient, sequence), given, kind, reply_to = route, "", 0, 0
    return Message(
        sender=sender,
        recipient=recipient,
        sequence=sequence,
        parts=wire.parts,
        kind=kind,
        reply_to=reply_to,
        context_id=wire.context_id,
        task_id=wire.task_id,
        metadata=metadata,
        id=given if wire.message_id == f"{sender}#{sequence}" else wire.message_id,
        role=wire.role,
        extensions=extensions,
        reference_task_ids=wire.reference_task_ids,
    )


# --- Values -------------------------------------------------------------------------------------------------


def _checked(value: Any, kind: Any, expected: str, where: str) -> Any:
    if not isinstance(value, kind):
        _refuse(where, expected, value)
    return value


def _text(value: Any, where: str) -> str:
    text: str = _checked(value, str, "text", where)
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise InvalidContent(
                f"A2A: {where} holds half of a surrogate pair, which is not text: {error}."
            ) from error
    return text


def _member(kind: type[StrEnum], value: Any, where: str) -> StrEnum:
    members = list(kind)
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < len(members):
        return members[value]
    if value not in members:
        _refuse(where, f"one of {', '.join(members)}", value)
    return kind(value)


def _whole(value: Any, where: str) -> int:
    # Metadata that went through protobuf comes back with all its numbers as doubles.
    if (
        isinstance(value, bool)
        or not isinstance(value, int | float)
        or value != value // 1
        or abs(value) >= 2**63
    ):
        _refuse(where, "a whole number within 64 bits", value)
    return int(value)


def _plain(value: Any, where: str, depth: int = DEPTH) -> Any:
    """A copy of any JSON value. Raises for what JSON, or a message, cannot hold."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return _text(value, where)
    if isinstance(value, int) and -(2**63) <= value < 2**64:
        return value
    if isinstance(value, float) and isfinite(value):
        return value
    if depth == 0:
        raise InvalidContent(f"A2A: {where[:100]}... is nested more than {DEPTH} levels. Send it as text.")
    if isinstance(value, list | tuple):
        return [_plain(item, f"{where}[{n}]", depth - 1) for n, item in enumerate(value)]
    if isinstance(value, dict):
        return {
            _text(key, f"{where} (a key)"): _plain(v, f"{where}.{key}", depth - 1) for key, v in value.items()
        }
    return _refuse(
        where, "text, a finite number within 64 bits, true, false, null, an array or an object", value
    )


_TIMESTAMP = pattern(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(\.\d{1,9})?(Z|[+-]\d\d:\d\d)")


def _in_utc(value: str, where: str) -> str:
    """The timestamp in UTC, with every digit of its fraction."""
    match = _TIMESTAMP.fullmatch(value)
    try:
        moment = datetime.fromisoformat(match[1] + match[3]) if match else None
        if match and moment:
            return moment.astimezone(UTC).replace(tzinfo=None).isoformat() + (match[2] or "") + "Z"
    except (ValueError, OverflowError):
        pass
    return _refuse(where, "a time of RFC 3339, such as 2026-01-31T09:30:00.250Z", value)


def _refuse(where: str, expected: str, found: Any) -> NoReturn:
    shown = repr(found)
    what = (
        "null"
        if found is None
        else f"{shown[:60]}{'...' * (len(shown) > 60)} (a Python {type(found).__name__})"
    )
    raise InvalidContent(f"A2A: {where} must be {expected}, but is {what}.")


def _listed(names: list[str]) -> str:
    return " and ".join(names) or "none of them"
