"""The rules of `actors/state.py`: types kept exactly, canonical bytes, clear refusals, nothing run."""

import dataclasses
import math
import os
import struct
import subprocess
import sys
import types
from collections import Counter, OrderedDict, defaultdict, deque
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Enum, Flag, IntEnum, StrEnum
from fractions import Fraction
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any, NamedTuple
from uuid import UUID
from zoneinfo import ZoneInfo

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.encoding import Code, encode
from actors.errors import InvalidContent
from actors.message import Message, MessageRole, Part
from actors.state import decode_state, encode_state

ROOT = Path(__file__).parents[2]


class Mood(Enum):
    CALM = "calm"
    ANGRY = ("very", 2)


class Level(IntEnum):
    LOW = 1


class Colour(StrEnum):
    RED = "red"


class Access(Flag):
    READ = 1
    WRITE = 2


@dataclass
class Plan:
    steps: list[Any]
    best: float = 0.0


@dataclass(frozen=True, slots=True)
class Edge:
    source: str
    target: str
    weight: int = 1


@dataclass
class Careful:
    limit: int
    made: int = field(init=False, default=0)

    def __post_init__(self) -> None:
        self.made += 1


class Point(NamedTuple):
    x: float
    y: float


class Order(msgspec.Struct):
    item: str
    count: int = 1

    def __post_init__(self) -> None:
        self.count += 1


class Socket:
    """Stands for what is not plain data."""


class Name(str):
    __slots__ = ()


zones = st.none() | st.builds(timezone, st.timedeltas(timedelta(hours=-23), timedelta(hours=23)))
leaves = (
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats()
    | st.text(st.characters(), max_size=5)
    | st.binary(max_size=5)
    | st.binary(max_size=5).map(bytearray)
    | st.datetimes(timezones=zones)
    | st.dates()
    | st.times(timezones=zones)
    | st.timedeltas()
    | st.decimals()
    | st.fractions()
    | st.uuids()
    | st.sampled_from(
        [*Mood, *Level, *Colour, *Access, Access(0), Access.READ | Access.WRITE, MessageRole.USER]
    )
    | st.sampled_from([Path("a/b"), Path("/"), PurePosixPath("x"), PureWindowsPath("c:\\x")])
    | st.floats(width=32).map(np.float32)
    | st.integers(0, 255).map(np.uint8)
    | st.lists(st.floats(), max_size=3).map(np.array)
    | st.lists(st.booleans(), max_size=3).map(lambda items: np.array(items, dtype=bool))
)
keys = st.recursive(
    st.none()
    | st.integers(-(2**66), 2**66)
    | st.text(max_size=3)
    | st.binary(max_size=3)
    | st.dates()
    | st.sampled_from([*Mood])
    | st.builds(Edge, st.text(max_size=2), st.text(max_size=2)),
    lambda inner: st.tuples(inner, inner) | st.frozensets(inner, max_size=3),
    max_leaves=4,
)


def containers(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    pairs = st.dictionaries(keys, inner, max_size=4)
    return (
        st.lists(inner, max_size=4)
        | st.lists(inner, max_size=4).map(tuple)
        | pairs
        | st.dictionaries(st.text(max_size=4), inner, max_size=4)
        | pairs.map(OrderedDict)
        | pairs.map(lambda items: defaultdict(list, items))
        | st.sets(keys, max_size=4)
        | st.frozensets(keys, max_size=4)
        | st.builds(deque, st.lists(inner, max_size=4), st.none() | st.integers(0, 5))
        | st.builds(Plan, st.lists(inner, max_size=2), st.floats())
        | st.builds(Point, inner, inner)
        | st.builds(lambda value: Message("a", "b", 1, (Part("data", value),)), inner)
    )


values = st.recursive(leaves, containers, max_leaves=12)


def shape(value: Any) -> Any:
    """A value as plain parts, equal for two values that agree in type and value, NaN and order included."""
    if isinstance(value, Enum):
        parts: Any = value.name
    elif isinstance(value, float | np.generic):
        parts = struct.pack("d", value)
    elif isinstance(value, np.ndarray):
        parts = (value.dtype, value.shape, value.tobytes())
    elif isinstance(value, Decimal):
        parts = value.as_tuple()
    elif isinstance(value, dict):
        parts = [(shape(key), shape(item)) for key, item in value.items()]
    elif isinstance(value, list | tuple | deque):
        parts = [shape(item) for item in value]
    elif dataclasses.is_dataclass(value):
        parts = [shape(getattr(value, f.name)) for f in dataclasses.fields(value)]
    elif isinstance(value, msgspec.Struct):
        parts = [shape(getattr(value, name)) for name in value.__struct_fields__]
    else:
        parts = value
    return type(value), parts


def same(left: Any, right: Any) -> bool:
    return bool(shape(left) == shape(right))


@settings(max_examples=400, deadline=None)
@given(values)
def test_every_value_comes_back_with_its_type_and_the_same_bytes(value: Any) -> None:
    data = encode_state(value)
    back = decode_state(data)
    assert same(value, back)
    assert encode_state(back) == data


@given(
    st.dictionaries(
        st.text(max_size=3), st.integers() | st.text(st.characters(), max_size=3) | st.lists(st.integers())
    )
)
def test_the_fast_path_gives_the_bytes_of_the_long_one(value: dict[str, Any]) -> None:
    # Inside a list, a dictionary does not take the fast path.
    assert encode_state([value]) == b"\x91" + encode_state(value)


@given(st.lists(keys, unique=True, max_size=12), st.randoms(use_true_random=False))
def test_the_bytes_of_a_set_do_not_depend_on_how_it_was_filled(items: list[Any], shuffle: Any) -> None:
    data = encode_state(set(items))
    shuffle.shuffle(items)
    grown = set(range(1000, 1100)) | set(items)
    grown -= set(range(1000, 1100)) - set(items)
    assert encode_state(grown) == data


def test_the_order_of_a_dictionary_is_kept() -> None:
    assert list(decode_state(encode_state({"b": 1, "a": 2}))) == ["b", "a"]
    assert encode_state({"b": 1, "a": 2}) != encode_state({"a": 2, "b": 1})


SAMPLE = """
import sys
from dataclasses import dataclass
from actors.state import encode_state
@dataclass(frozen=True)
class Edge:
    source: str
    target: str
words = [f"word{n}" for n in range(50)]
pairs = list(zip(words, words[1:]))
value = {"words": set(words), "pairs": frozenset(pairs), "edges": {Edge(a, b) for a, b in pairs}}
print(encode_state(value).hex())
"""


def test_bytes_are_the_same_in_processes_with_other_hash_seeds() -> None:
    def bytes_under(seed: str) -> str:
        environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT)}
        done = subprocess.run(
            [sys.executable, "-c", SAMPLE], env=environment, capture_output=True, text=True, check=True
        )
        return done.stdout

    first = bytes_under("1")
    assert len(first) > 1000
    assert bytes_under("2") == first
    assert bytes_under("3") == first


def test_special_floats_keep_their_bits() -> None:
    quiet_nan = struct.unpack("<d", struct.pack("<Q", 0xFFF8000000000123))[0]
    back = decode_state(encode_state([math.inf, -math.inf, -0.0, quiet_nan]))
    assert back[:2] == [math.inf, -math.inf]
    assert math.copysign(1, back[2]) == -1
    assert struct.pack("<d", back[3]) == struct.pack("<Q", 0xFFF8000000000123)


@pytest.mark.parametrize("factory", [list, dict, set, int, float, None])
def test_a_defaultdict_keeps_its_factory(factory: Any) -> None:
    back = decode_state(encode_state(defaultdict(factory, {"a": 1})))
    assert type(back) is defaultdict
    assert back.default_factory is factory
    assert back == {"a": 1}


def test_a_deque_keeps_its_bound() -> None:
    assert decode_state(encode_state(deque([1, 2], 2))).maxlen == 2


def test_a_counter_keeps_order_and_counts() -> None:
    back = decode_state(encode_state(Counter({"b": 2, "a": -1, "c": 0})))
    assert type(back) is Counter
    assert list(back.items()) == [("b", 2), ("a", -1), ("c", 0)]


def test_times_keep_zone_and_fold() -> None:
    times = [
        datetime(2026, 10, 25, 2, 30, tzinfo=ZoneInfo("UTC"), fold=1),
        datetime(2026, 1, 1, tzinfo=UTC),
        datetime(2026, 1, 1, tzinfo=timezone(timedelta(hours=1), "CET")),
        time(1, 2, 3, 4, fold=1),
    ]
    for before, after in zip(times, decode_state(encode_state(times)), strict=True):
        assert repr(before) == repr(after)


def test_arrays_keep_dtype_shape_layout_and_writeability() -> None:
    frozen = np.arange(3)
    frozen.flags.writeable = False
    arrays = [
        np.arange(6, dtype=">i4").reshape(2, 3),
        np.asfortranarray(np.ones((2, 3))),
        np.array(3.5),
        np.zeros((0, 4), dtype=np.float16),
        np.array([1 + 2j]),
        frozen,
    ]
    for before, after in zip(arrays, decode_state(encode_state(arrays)), strict=True):
        assert same(before, after)
        assert before.flags.f_contiguous == after.flags.f_contiguous
        assert before.flags.writeable == after.flags.writeable


def test_decoding_runs_no_initialiser_of_a_dataclass_and_keeps_what_a_struct_held() -> None:
    careful, order = Careful(3), Order("tea", 4)
    careful.made, order.count = 10, 20
    back, ordered = decode_state(encode_state([careful, order]))
    assert back == careful
    assert ordered == order


def test_attributes_beyond_the_fields_of_a_dataclass_are_kept() -> None:
    plan = Plan([1])
    plan.note = "extra"  # type: ignore[attr-defined]  # that is the point
    assert vars(decode_state(encode_state(plan))) == {"steps": [1], "best": 0.0, "note": "extra"}


# Refusals


@pytest.mark.parametrize(
    ("value", "path"),
    [
        ({"plan": [1, 2, 3, {"client": Socket()}]}, r"state\.plan\[3\]\['client'\] is a .*Socket"),
        ({"m": Message("a", "b", 1, (), metadata={"k": Socket()})}, r"state\.m\.metadata\['k'\] is a"),
        ({"q": deque([Plan([Socket()])])}, r"state\.q\[0\]\.steps\[0\] is a"),
        ({"p": Point(1.0, Socket())}, r"state\.p\.y is a"),  # type: ignore[arg-type]  # that is the point
        ({"f": lambda: 1}, r"state\.f is a function"),
        ({"k": {Socket(): 1}}, r"state\.k\[.*\] \(the key\) is a"),
        ({"s": {Socket()}}, r"state\.s\{.*\} is a"),
        ({"d": defaultdict(lambda: 1)}, r"state\.d .*factory may be list"),
        ({"n": Name("x")}, r"state\.n is a .*Name"),
        ({"c": Socket}, r"state\.c is a type"),
        ({"c": Careful}, r"state\.c is a type"),
        ({"v": np.arange(9)[::2]}, r"state\.v .*ascontiguousarray"),
        ({"o": np.array([None])}, r"state\.o .*array of object"),
        ({"w": np.zeros(1, dtype=np.longdouble)}, r"state\.w .*64 bits"),
        (Socket(), r"state is a"),
    ],
)
def test_what_cannot_be_kept_is_refused_by_path_and_type(value: Any, path: str) -> None:
    with pytest.raises(InvalidContent, match=path):
        encode_state(value)


def test_a_class_inside_a_function_is_refused() -> None:
    @dataclass
    class Hidden:
        x: int

    with pytest.raises(InvalidContent, match="at the top of a module"):
        encode_state({"hidden": Hidden(1)})


def test_a_counter_with_attributes_is_refused_rather_than_losing_them() -> None:
    counter: Counter[str] = Counter()
    counter.owner = "me"  # type: ignore[attr-defined]  # that is the point
    with pytest.raises(InvalidContent, match="attributes of its own"):
        encode_state([counter])


def test_a_cycle_is_refused() -> None:
    loop: list[Any] = []
    loop.append(loop)
    with pytest.raises(InvalidContent, match=r"state\.loop\[0\].* deeper than 64 levels, or holding itself"):
        encode_state({"loop": loop})


def test_sixty_four_levels_are_kept_and_sixty_five_refused() -> None:
    nested: Any = 1
    for _ in range(64):
        nested = [nested]
    assert decode_state(encode_state(nested)) == nested
    with pytest.raises(InvalidContent, match="deeper than 64"):
        encode_state([nested])


# Damage and hostile bytes


def ext(code: int, content: object) -> bytes:
    return encode(msgspec.msgpack.Ext(int(code), encode(content)))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xc1",
        ext(99, None),
        ext(Code.DATACLASS, ["os:environ", {}]),
        ext(Code.DATACLASS, ["subprocess:Popen", {"args": "true"}]),
        ext(Code.ENUM, ["builtins:eval", "x"]),
        ext(Code.STRUCT, ["builtins:int", ["1"]]),
        ext(Code.NAMED_TUPLE, ["builtins:tuple", [1]]),
        ext(Code.NAMED_TUPLE, ["builtins:list", [1]]),
        ext(Code.ARRAY, ["O", "C", True, [1], b"\0" * 8]),
        ext(Code.ARRAY, ["<f8", "C", True, [9], b"\0" * 8]),
        ext(Code.DATE, [2026, 13, 1]),
        ext(Code.DICT, [1]),
        ext(Code.TUPLE, "abc"),
        ext(Code.SET, [[1]]),
        ext(Code.DEFAULTDICT, ["eval", []]),
        ext(Code.DECIMAL, "x"),
        b"\x91" * 100_000,
    ],
)
def test_hostile_bytes_are_an_error_and_run_nothing(data: bytes) -> None:
    with pytest.raises(InvalidContent, match="cannot be decoded"):
        decode_state(data)


def test_decoding_does_not_import_a_module() -> None:
    assert "this" not in sys.modules
    with pytest.raises(InvalidContent, match="import its module"):
        decode_state(ext(Code.DATACLASS, ["this:Zen", {}]))
    assert "this" not in sys.modules


def test_a_class_that_is_not_what_it_was_is_refused() -> None:
    module: Any = types.ModuleType("vanishing")
    sys.modules["vanishing"] = module
    try:
        module.Shape = dataclasses.make_dataclass("Shape", ["side"])
        module.Shape.__module__ = "vanishing"
        data = encode_state(module.Shape(2))
        module.Shape = Socket
        with pytest.raises(InvalidContent, match="not a dataclass"):
            decode_state(data)
    finally:
        del sys.modules["vanishing"]


@given(values, st.data())
def test_a_flipped_bit_is_decoded_or_refused_but_never_another_error(value: Any, data: Any) -> None:
    encoded = bytearray(encode_state(value))
    bit = data.draw(st.integers(0, 8 * len(encoded) - 1))
    encoded[bit // 8] ^= 1 << bit % 8
    try:
        decode_state(bytes(encoded))
    except InvalidContent as error:
        assert "cannot be decoded" in str(error)  # noqa: PT017  # decoding may also succeed


def test_a_uuid_and_a_fraction_keep_their_values() -> None:
    value = (UUID(int=7), Fraction(2**80, 3), Decimal("-0E+5"), Decimal("sNaN7"), date(1, 1, 1))
    assert repr(decode_state(encode_state(value))) == repr(value)
