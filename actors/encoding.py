"""Values as trees that MessagePack keeps: the encoding half of an agent's state.

Rules (`actors/state.py` has those of the whole):
* None, booleans, 64-bit integers, floats, text, bytes, lists, and dictionaries keyed by text or 64-bit
  integers are written as what they are. Every other type is an extension: its code, and its content as
  MessagePack, nested.
* The elements of a set are sorted by their bytes.
* A subclass is not its base: types are looked up exactly, then by family (enumerations, Structs, named
  tuples).
"""

import dataclasses
import sys
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable, Mapping
from datetime import date, datetime, time, timedelta, timezone, tzinfo
from decimal import Decimal
from enum import Enum, Flag, IntEnum
from fractions import Fraction
from functools import lru_cache
from pathlib import Path, PurePath, PurePosixPath, PureWindowsPath
from types import MemberDescriptorType
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import msgspec
import numpy as np
from msgspec.msgpack import Ext

DEPTH_LIMIT = 64
"""Containers may be nested this deep."""

PLAIN = frozenset({type(None), bool, float, bytes, int, str})
"""The scalars that MessagePack keeps (integers within 64 bits, text without half surrogate pairs)."""

FACTORIES: Mapping[str, type | None] = {
    "": None,
    "list": list,
    "dict": dict,
    "set": set,
    "int": int,
    "float": float,
}
"""What a `defaultdict` may make."""

_LEAVES = frozenset({type(None), bool, float, bytes})
_KEYS = frozenset({str, int})
_MEND = (
    "Keep numbers, text, bytes, collections, dates, dataclasses, enumerations or numeric arrays in "
    "attributes, and make anything else anew where it is used"
)
_INTEGER_MIN, _INTEGER_MAX = -(2**63), 2**64 - 1

encode = msgspec.msgpack.Encoder().encode
"""MessagePack of a tree."""


class Code(IntEnum):
    """The extension types. A number, once used, keeps its meaning."""

    INTEGER = 1
    TEXT = 2
    BYTEARRAY = 3
    TUPLE = 4
    SET = 5
    FROZENSET = 6
    DICT = 7
    DEQUE = 8
    COUNTER = 9
    DEFAULTDICT = 10
    ORDERED_DICT = 11
    DATETIME = 12
    DATE = 13
    TIME = 14
    TIMEDELTA = 15
    DECIMAL = 16
    FRACTION = 17
    UUID = 18
    PATH = 19
    ENUM = 20
    DATACLASS = 21
    STRUCT = 22
    NAMED_TUPLE = 23
    ARRAY = 24
    SCALAR = 25


class UnsupportedError(Exception):
    """Why a value cannot be encoded, and the mend. Where it is, is found out afterwards."""


def is_plain(value: dict[object, object]) -> bool:
    """Whether MessagePack alone keeps the types: text to scalars and lists of scalars."""
    for item in value.values():
        kind = type(item)
        if kind not in PLAIN and not (kind is list and PLAIN.issuperset(map(type, item))):  # type: ignore[call-overload]  # a list here
            return False
    return _KEYS.issuperset(map(type, value))


def attributes_of(instance: Any) -> dict[str, Any]:
    """The attributes of an instance: its slots by name, then its `__dict__` in order. Not to be changed."""
    slots = slots_of(type(instance))  # type: ignore[arg-type]  # mypy looks at the __hash__ of instances
    if not slots:
        own: dict[str, Any] = vars(instance)
        return own
    attributes: dict[str, Any] = {}
    for name, member in slots:
        try:
            attributes[name] = member.__get__(instance)
        except AttributeError:
            continue  # a slot that was never assigned
    attributes.update(getattr(instance, "__dict__", {}))
    return attributes


@lru_cache(maxsize=4096)
def slots_of(kind: type) -> tuple[tuple[str, MemberDescriptorType], ...]:
    """The slots of a class by name, its own and its ancestors', in the order of their names."""
    slots: dict[str, MemberDescriptorType] = {}
    for ancestor in kind.__mro__:
        if "__slots__" in vars(ancestor):
            for name, member in vars(ancestor).items():
                if isinstance(member, MemberDescriptorType):
                    slots.setdefault(name, member)
    return tuple(sorted(slots.items()))


def tree_of(value: Any, depth: int) -> Any:
    kind = type(value)
    if kind in _LEAVES:
        return value
    if depth > DEPTH_LIMIT:
        raise UnsupportedError(
            f"nested deeper than {DEPTH_LIMIT} levels, or holding itself. "
            "Refer to parents and peers by name or index"
        )
    form = _FORMS.get(kind)
    if form is not None:
        return form(value, depth)
    for family, form_of_family in _FAMILIES:
        if isinstance(value, family):
            return form_of_family(value, depth)
    if dataclasses.is_dataclass(kind):
        return _dataclass_tree(value, depth)
    raise UnsupportedError(f"not plain data. {_MEND}")


def _ext(code: Code, content: object) -> Ext:
    return Ext(int(code), encode(content))


def _integer_tree(value: int, _depth: int) -> object:
    if _INTEGER_MIN <= value <= _INTEGER_MAX:
        return value
    return _ext(Code.INTEGER, value.to_bytes((value.bit_length() + 8) // 8, "little", signed=True))


def _text_tree(value: str, _depth: int) -> object:
    if value.isascii():
        return value
    try:
        value.encode()
    except UnicodeEncodeError:
        return _ext(Code.TEXT, value.encode("utf-8", "surrogatepass"))
    return value


def _raw(value: object) -> msgspec.Raw | None:
    """A flat value of plain types, encoded in one step; None if a part of it needs an extension."""
    try:
        return msgspec.Raw(encode(value))
    except (OverflowError, UnicodeEncodeError):
        return None


def _list_tree(value: Any, depth: int) -> object:
    if PLAIN.issuperset(map(type, value)) and (raw := _raw(value)):
        return raw
    return [tree_of(item, depth + 1) for item in value]


def _dict_tree(value: dict[Any, Any], depth: int) -> object:
    if _KEYS.issuperset(map(type, value)):
        if PLAIN.issuperset(map(type, value.values())) and (raw := _raw(value)):
            return raw
        if _raw(list(value)):
            return {key: tree_of(item, depth + 1) for key, item in value.items()}
    return _ext(Code.DICT, _pairs(value, depth))


def _pairs(value: dict[Any, Any], depth: int) -> list[object]:
    return [tree_of(part, depth + 1) for pair in value.items() for part in pair]


def _elements(value: Any, depth: int) -> list[msgspec.Raw]:
    return [msgspec.Raw(data) for data in sorted(encode(tree_of(item, depth + 1)) for item in value)]


def _defaultdict_tree(value: defaultdict[Any, Any], depth: int) -> Ext:
    for name, factory in FACTORIES.items():
        if value.default_factory is factory:
            return _ext(Code.DEFAULTDICT, [name, _pairs(value, depth)])
    raise UnsupportedError(
        f"a defaultdict of {value.default_factory!r}. "
        "Its factory may be list, dict, set, int, float or None; else use a dict"
    )


def _plain_subclass(code: Code) -> Callable[[Any, int], Ext]:
    def tree(value: Any, depth: int) -> Ext:
        _refuse_attributes(value)
        return _ext(code, _pairs(value, depth))

    return tree


def _refuse_attributes(value: object) -> None:
    if getattr(value, "__dict__", None):
        raise UnsupportedError("carrying attributes of its own. Use a dataclass to keep them")


def _zone(zone: tzinfo | None) -> object:
    if zone is None:
        return None
    if type(zone) is timezone:
        offset = zone.utcoffset(None)
        parts: list[object] = [offset.days, offset.seconds, offset.microseconds]
        name = zone.tzname(None)
        return parts if timezone(offset).tzname(None) == name else [*parts, name]
    if type(zone) is ZoneInfo and zone.key is not None:
        return zone.key
    raise UnsupportedError(
        f"a time in the zone {zone!r}. Use datetime.timezone, or zoneinfo.ZoneInfo with a key"
    )


def _datetime_tree(value: datetime, _depth: int) -> Ext:
    day = [value.year, value.month, value.day]
    clock = [value.hour, value.minute, value.second, value.microsecond]
    return _ext(Code.DATETIME, [*day, *clock, value.fold, _zone(value.tzinfo)])


def _time_tree(value: time, _depth: int) -> Ext:
    clock = [value.hour, value.minute, value.second, value.microsecond]
    return _ext(Code.TIME, [*clock, value.fold, _zone(value.tzinfo)])


def _path_tree(value: PurePath, depth: int) -> Ext:
    kind = "path" if isinstance(value, Path) else "posix" if isinstance(value, PurePosixPath) else "windows"
    return _ext(Code.PATH, [kind, _text_tree(str(value), depth)])


def _enum_tree(value: Enum, depth: int) -> Ext:
    kind = type(value)
    if value.name in kind.__members__:
        return _ext(Code.ENUM, [_class_name(kind), value.name])
    if not isinstance(value, Flag):
        raise UnsupportedError("not one of its members. Declare it in the enumeration")
    return _ext(Code.ENUM, [_class_name(kind), _integer_tree(value.value, depth)])  # several flags at once


def _dataclass_tree(value: Any, depth: int) -> Ext:
    kind: Any = type(value)
    if not is_plain_dataclass(kind):
        raise UnsupportedError(f"a dataclass that is made by more than its fields. {_MEND}")
    attributes = {name: tree_of(item, depth + 1) for name, item in attributes_of(value).items()}
    return _ext(Code.DATACLASS, [_class_name(kind), attributes])


def _struct_tree(value: msgspec.Struct, depth: int) -> Ext:
    _refuse_attributes(value)
    fields = [tree_of(getattr(value, name), depth + 1) for name in value.__struct_fields__]
    return _ext(Code.STRUCT, [_class_name(type(value)), fields])


def _named_tuple_tree(value: tuple[object, ...], depth: int) -> Ext:
    kind: type = type(value)
    if not hasattr(kind, "_fields"):
        raise UnsupportedError("a subclass of tuple. Use a NamedTuple or a dataclass")
    _refuse_attributes(value)
    return _ext(Code.NAMED_TUPLE, [_class_name(kind), [tree_of(item, depth + 1) for item in value]])


def _array_tree(value: np.ndarray[Any, Any], _depth: int) -> Ext:
    if not is_numeric(value.dtype):
        raise UnsupportedError(
            f"an array of {value.dtype}. Use a numeric or boolean dtype of at most 64 bits, or a list"
        )
    if value.flags.c_contiguous:
        order = "C"
    elif value.flags.f_contiguous:
        order = "F"
    else:
        raise UnsupportedError("a view that is not contiguous. Keep numpy.ascontiguousarray(view) instead")
    content = [value.dtype.str, order, value.flags.writeable, value.shape, value.tobytes("A")]
    return _ext(Code.ARRAY, content)


def _scalar_tree(value: np.generic, _depth: int) -> Ext:
    dtype = value.dtype
    if not is_numeric(dtype) or np.dtype(dtype.str).type is not type(value):
        raise UnsupportedError(
            "not a numeric or boolean scalar of a fixed width. Use numpy.float64, numpy.int64 or their like"
        )
    return _ext(Code.SCALAR, [dtype.str, value.tobytes()])


def is_numeric(dtype: np.dtype[Any]) -> bool:
    # Wider floats hold padding, whose bytes are not a function of the value.
    return dtype.kind in "biufc" and dtype.itemsize <= (16 if dtype.kind == "c" else 8)


def is_plain_dataclass(kind: Any) -> bool:
    """Whether the attributes of an instance are all there is to it."""
    return dataclasses.is_dataclass(kind) and kind.__new__ is object.__new__


@lru_cache(maxsize=4096)
def _class_name(kind: type) -> str:
    name = f"{kind.__module__}:{kind.__qualname__}"
    if find_class(name) is not kind:
        raise UnsupportedError(
            "of a class that cannot be found by its name. Define the class at the top of a module"
        )
    return name


def find_class(name: str) -> object:
    module, _, path = name.partition(":")
    found: Any = sys.modules.get(module)
    for step in path.split("."):
        # vars, not getattr: a module or class may run code when an attribute is asked for.
        found = None if found is None or not hasattr(found, "__dict__") else vars(found).get(step)
    return found


_FORMS: Mapping[type, Callable[[Any, int], object]] = {
    int: _integer_tree,
    str: _text_tree,
    bytearray: lambda value, _: _ext(Code.BYTEARRAY, value),
    list: _list_tree,
    tuple: lambda value, depth: _ext(Code.TUPLE, _list_tree(value, depth)),
    set: lambda value, depth: _ext(Code.SET, _elements(value, depth)),
    frozenset: lambda value, depth: _ext(Code.FROZENSET, _elements(value, depth)),
    dict: _dict_tree,
    deque: lambda value, depth: _ext(
        Code.DEQUE, [value.maxlen, [tree_of(item, depth + 1) for item in value]]
    ),
    Counter: _plain_subclass(Code.COUNTER),
    OrderedDict: _plain_subclass(Code.ORDERED_DICT),
    defaultdict: _defaultdict_tree,
    datetime: _datetime_tree,
    date: lambda value, _: _ext(Code.DATE, [value.year, value.month, value.day]),
    time: _time_tree,
    timedelta: lambda value, _: _ext(Code.TIMEDELTA, [value.days, value.seconds, value.microseconds]),
    Decimal: lambda value, _: _ext(Code.DECIMAL, str(value)),
    Fraction: lambda value, depth: _ext(
        Code.FRACTION, [_integer_tree(value.numerator, depth), _integer_tree(value.denominator, depth)]
    ),
    UUID: lambda value, _: _ext(Code.UUID, value.bytes),
    type(Path()): _path_tree,
    PurePosixPath: _path_tree,
    PureWindowsPath: _path_tree,
    np.ndarray: _array_tree,
}
_FAMILIES: tuple[tuple[type, Callable[[Any, int], object]], ...] = (
    (Enum, _enum_tree),
    (msgspec.Struct, _struct_tree),
    (np.generic, _scalar_tree),
    (tuple, _named_tuple_tree),
)
