"""Checks of fields as requests are made: each says which field, what it holds, and what to give instead."""

from typing import Any

import msgspec
from msgspec.structs import force_setattr

from inference.errors import BadRequest


def check_text(value: Any, what: str) -> None:
    """Raises `BadRequest` unless `value` is text that has an encoding."""
    if not isinstance(value, str):
        raise BadRequest(f"{what} must be text, not {value!r:.80} (a {type(value).__name__})")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise BadRequest(f"{what} cannot be encoded: {error}. Decode it with errors='replace'.") from None


def as_tuple(owner: msgspec.Struct, field: str, kinds: tuple[type, ...]) -> None:
    """Makes a field a tuple where it was given as a list, and raises `BadRequest` for members of other kinds."""
    values = getattr(owner, field)
    names = " or ".join(kind.__name__ for kind in kinds)
    if not isinstance(values, list | tuple):
        raise BadRequest(f"{field} must be a sequence of {names}, not {values!r:.80}")
    for number, value in enumerate(values):
        if not isinstance(value, kinds):
            raise BadRequest(f"{field}[{number}] must be a {names}, not {value!r:.80}")
    force_setattr(owner, field, tuple(values))


def check_float(owner: msgspec.Struct, name: str, least: float, most: float) -> None:
    """Makes a field a float, and raises `BadRequest` unless it lies in the range."""
    value = getattr(owner, name)
    if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most:
        raise BadRequest(f"{name} is {value!r}: give a number from {least:g} to {most:g}")
    force_setattr(owner, name, float(value) + 0.0)  # 1 and 1.0, 0.0 and -0.0 are one value, and have one hash


def check_int(owner: msgspec.Struct, name: str, least: int, most: int) -> None:
    """Raises `BadRequest` unless a field is an integer in the range."""
    value = getattr(owner, name)
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise BadRequest(f"{name} is {value!r}: give an integer from {least} to {most}")
