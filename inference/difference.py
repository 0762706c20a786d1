"""How two pieces of plain data differ, told to a person: the places, and around the first difference the texts."""

from collections.abc import Iterator
from typing import Any

_SHOWN = 3
_AROUND = 24
_ABSENT = object()


def leaves(value: Any, place: str = "") -> Iterator[tuple[str, Any]]:
    """(place, value) for each value that is no list and no object; places read `messages[1].parts[0].text`."""
    if isinstance(value, dict) and value:
        for key, inner in value.items():
            yield from leaves(inner, f"{place}.{key}" if place else str(key))
    elif isinstance(value, list | tuple) and value:
        for number, inner in enumerate(value):
            yield from leaves(inner, f"{place}[{number}]")
    else:
        yield place, value


def differences(one: Any, other: Any) -> list[tuple[str, Any, Any]]:
    """(place, value in one, value in the other) wherever they differ; a value that is absent is told by `shown`."""
    mine, theirs = dict(leaves(one)), dict(leaves(other))
    places = [*mine, *(place for place in theirs if place not in mine)]
    found = [(place, mine.get(place, _ABSENT), theirs.get(place, _ABSENT)) for place in places]
    return [(place, a, b) for place, a, b in found if a is _ABSENT or b is _ABSENT or a != b]


def alike(found: list[tuple[str, Any, Any]]) -> int:
    """How many characters the differing texts share at their beginnings: ranks those with as many differences."""
    return sum(_start(a, b) for _place, a, b in found)


def told(found: list[tuple[str, Any, Any]], one: str, other: str) -> str:
    """Differences in a sentence; `one` and `other` name the sides."""
    parts = [
        f"{place}: {one} {_shown(a, _start(a, b))}, {other} {_shown(b, _start(a, b))}"
        for place, a, b in found[:_SHOWN]
    ]
    more = len(found) - _SHOWN
    return "; ".join(parts) + (f"; and {more} more" if more > 0 else "")


def _start(a: Any, b: Any) -> int:
    """Where two texts begin to differ."""
    if not isinstance(a, str) or not isinstance(b, str):
        return 0
    shorter = min(len(a), len(b))
    return next((number for number in range(shorter) if a[number] != b[number]), shorter)


def _shown(value: Any, start: int) -> str:
    if value is _ABSENT:
        return "nothing"
    if not isinstance(value, str):
        return repr(value)[: 2 * _AROUND]
    low = max(0, start - _AROUND)
    high = start + _AROUND
    return f"{'...' if low else ''}{value[low:high]!r}{'...' if high < len(value) else ''}"
