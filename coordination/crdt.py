"""State-based replicated data types: every replica updates its own copy at once, and copies are merged when they meet.

Rules:
* States form a semilattice: `merge` is the least upper bound, so it commutes, associates and is idempotent, and every
  update goes up. Hence replicas that got the same updates are equal, whatever was repeated, lost on the way and sent
  again, or came in another order (Shapiro et al., "Conflict-free replicated data types", SSS 2011).
* Nothing is agreed on: no leader, no quorum, no time-out. Any replica may be away for as long as it likes.
* Values are frozen: an update gives a new one. An update names the replica that makes it, and a replica names only
  itself; it goes on from its own last state, also after a restart. Two that write under one name break convergence.
* The wire form is plain data, at home in a message's part. `from_wire` takes nothing that a replica cannot have made.

| type | an update costs | a merge costs | size | source |
|---|---|---|---|---|
| `GCounter`, `PNCounter` | O(replicas) | O(replicas) | a number (two) a replica | Shapiro et al. 2011 |
| `ORSet` | O(elements) | O(elements) | a number a replica, 1 or more an element | Bieniusa et al. 2012 |
| `LWWMap` | O(keys) | O(keys) | an entry a key, removed ones too | Shapiro et al. 2011, after Thomas 1979 |

Messages: the whole state to whomever one meets; by push-pull gossip all have an update after O(log n) rounds.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, Self, TypeAlias

import msgspec

from actors.errors import ConfigurationError

MOST_ENTRIES = 1_000_000
"""`from_wire` takes no more replicas, elements or keys."""

Element: TypeAlias = str | int
Versions: TypeAlias = Mapping[str, int]
"""How many updates of each replica are known: a version vector. Replicas that made none are left out."""


class Replicated(Protocol):
    """A state-based replicated data type."""

    @property
    def value(self) -> Any:
        """What users see."""
        ...

    def merge(self, other: Self) -> Self:
        """The least state that has all updates of both."""
        ...

    def to_wire(self) -> Any:
        """Plain data: lists, maps with text keys, text, numbers."""
        ...

    @classmethod
    def from_wire(cls, data: Any) -> Self:
        """The state that `to_wire` gave. Raises `ConfigurationError` for anything else."""
        ...


# --- Counters -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class GCounter:
    """A counter that grows: how much each replica added."""

    counts: Versions = field(default_factory=dict)

    @property
    def value(self) -> int:
        """The sum."""
        return sum(self.counts.values())

    def add(self, replica: str, amount: int = 1) -> "GCounter":
        """The replica adds 0 or more."""
        if amount < 0:
            raise ConfigurationError(f"a GCounter cannot add {amount}: it only grows. Use a PNCounter")
        return GCounter({**self.counts, replica: self.counts.get(replica, 0) + amount}) if amount else self

    def merge(self, other: "GCounter") -> "GCounter":
        """As `Replicated.merge`."""
        return GCounter(_joined(self.counts, other.counts))

    def to_wire(self) -> dict[str, int]:
        """The count of each replica."""
        return _sorted(self.counts)

    @classmethod
    def from_wire(cls, data: Any) -> "GCounter":
        """As `Replicated.from_wire`."""
        return cls(_versions("GCounter", data))


@dataclass(frozen=True)
class PNCounter:
    """A counter that grows and shrinks: two that grow."""

    added: GCounter = field(default_factory=GCounter)
    taken: GCounter = field(default_factory=GCounter)

    @property
    def value(self) -> int:
        """What was added less what was taken."""
        return self.added.value - self.taken.value

    def add(self, replica: str, amount: int = 1) -> "PNCounter":
        """The replica adds a number of either sign."""
        if amount < 0:
            return PNCounter(self.added, self.taken.add(replica, -amount))
        return PNCounter(self.added.add(replica, amount), self.taken)

    def merge(self, other: "PNCounter") -> "PNCounter":
        """As `Replicated.merge`."""
        return PNCounter(self.added.merge(other.added), self.taken.merge(other.taken))

    def to_wire(self) -> list[dict[str, int]]:
        """What each replica added, and what it took."""
        return [self.added.to_wire(), self.taken.to_wire()]

    @classmethod
    def from_wire(cls, data: Any) -> "PNCounter":
        """As `Replicated.from_wire`."""
        added, taken = _parts("PNCounter", data)
        return cls(GCounter.from_wire(added), GCounter.from_wire(taken))


# --- Set ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class ORSet:
    """A set in which an add wins over a remove that did not know of it. No tombstones.

    An add gets a number of its replica (a dot), which stands for the older dots of that element that the replica knew.
    A remove forgets the element's dots. In a merge a dot that one side lacks was removed there if that side's versions
    reach it, and else is new (Bieniusa et al., "An optimized conflict-free replicated set", arXiv 1210.3368, 2012).
    """

    versions: Versions = field(default_factory=dict)
    dots: Mapping[Element, Versions] = field(default_factory=dict)
    """Of each element: the number of the last add of each replica that is not removed."""

    @property
    def value(self) -> frozenset[Element]:
        """The elements."""
        return frozenset(self.dots)

    def __contains__(self, element: Element) -> bool:
        """Whether it is an element."""
        return element in self.dots

    def __len__(self) -> int:
        """How many elements."""
        return len(self.dots)

    def __iter__(self) -> Iterator[Element]:
        """The elements, sorted: integers, then texts."""
        return iter(sorted(self.dots, key=_rank))

    def add(self, replica: str, element: Element) -> "ORSet":
        """The replica adds an element."""
        number = self.versions.get(replica, 0) + 1
        return ORSet({**self.versions, replica: number}, {**self.dots, element: {replica: number}})

    def remove(self, element: Element) -> "ORSet":
        """Removes an element as far as it is known here: every add that was seen."""
        return ORSet(self.versions, {known: dots for known, dots in self.dots.items() if known != element})

    def merge(self, other: "ORSet") -> "ORSet":
        """As `Replicated.merge`."""
        merged = {}
        for element in {**self.dots, **other.dots}:
            mine, theirs = self.dots.get(element, {}), other.dots.get(element, {})
            kept = _kept(mine, theirs, other.versions) | _kept(theirs, mine, self.versions)
            if kept:
                merged[element] = kept
        return ORSet(_joined(self.versions, other.versions), merged)

    def to_wire(self) -> list[Any]:
        """The versions, and pairs of an element and its dots, sorted."""
        return [_sorted(self.versions), [[element, _sorted(self.dots[element])] for element in self]]

    @classmethod
    def from_wire(cls, data: Any) -> "ORSet":
        """As `Replicated.from_wire`."""
        given, pairs = _parts("ORSet", data)
        versions = _versions("ORSet", given)
        dots: dict[Element, Versions] = {}
        for pair in _bounded("ORSet", pairs, list):
            element, numbers = _parts("ORSet", pair)
            if type(element) not in (str, int):
                raise _malformed("ORSet", f"the element {element!r} is no text or integer")
            dots[element] = _versions("ORSet", numbers)
            unknown = [name for name, number in dots[element].items() if number > versions.get(name, 0)]
            if unknown or not dots[element]:
                raise _malformed("ORSet", f"the element {element!r} has an add that its versions do not know")
        numbers = [dot for own in dots.values() for dot in own.items()]
        if len(dots) != len(pairs) or len(set(numbers)) != len(numbers):
            raise _malformed("ORSet", "an element or an add is in it twice")
        return cls(versions, dots)


def _kept(mine: Versions, theirs: Versions, their_versions: Versions) -> dict[str, int]:
    """Of my dots, those that they have too, or have not heard of."""
    return {
        replica: number
        for replica, number in mine.items()
        if theirs.get(replica) == number or number > their_versions.get(replica, 0)
    }


# --- Map ------------------------------------------------------------------------------------------------------


class Written(msgspec.Struct, frozen=True, array_like=True):
    """The last write of a key. `present` is false if it was removed; the value is then None."""

    time: int
    replica: str
    present: bool
    value: Any


@dataclass(frozen=True)
class LWWMap:
    """A map in which the last write of a key wins: by its time, then by its replica's name.

    A time is an integer that the caller hands in, or else one more than any that this copy has seen (Lamport's clock,
    CACM 21(7), 1978): then a write that knew of another always wins over it. Values are plain data. Removed keys leave
    an entry behind, or an older write that comes late would bring them back.
    """

    entries: Mapping[str, Written] = field(default_factory=dict)

    @property
    def value(self) -> dict[str, Any]:
        """What is in the map, sorted by key."""
        return {key: entry.value for key, entry in sorted(self.entries.items()) if entry.present}

    @property
    def latest(self) -> int:
        """The greatest time in it; 0 if it is empty."""
        return max((entry.time for entry in self.entries.values()), default=0)

    def put(self, replica: str, key: str, value: Any, time: int | None = None) -> "LWWMap":
        """The replica writes a key."""
        return self._with(key, Written(self.latest + 1 if time is None else time, replica, True, value))

    def remove(self, replica: str, key: str, time: int | None = None) -> "LWWMap":
        """The replica removes a key."""
        return self._with(key, Written(self.latest + 1 if time is None else time, replica, False, None))

    def merge(self, other: "LWWMap") -> "LWWMap":
        """As `Replicated.merge`."""
        entries = dict(self.entries)
        for key, entry in other.entries.items():
            entries[key] = max(entries.get(key, entry), entry, key=_precedence)
        return LWWMap(entries)

    def to_wire(self) -> dict[str, list[Any]]:
        """Of each key: time, replica, whether it is present, value."""
        return {
            key: [entry.time, entry.replica, entry.present, entry.value]
            for key, entry in sorted(self.entries.items())
        }

    @classmethod
    def from_wire(cls, data: Any) -> "LWWMap":
        """As `Replicated.from_wire`."""
        entries = {}
        for key, fields in _bounded("LWWMap", data, dict).items():
            entries[_text("LWWMap", key)] = entry = _decoded("LWWMap", fields, Written)
            if not entry.present and entry.value is not None:
                raise _malformed("LWWMap", f"the key {key!r} is removed and has a value")
        return cls(entries)

    def _with(self, key: str, entry: Written) -> "LWWMap":
        return self.merge(LWWMap({key: entry}))


def _precedence(entry: Written) -> tuple[int, str, bool, bytes]:
    """What wins: the greatest. The value itself decides only if a replica wrote twice at one time."""
    return entry.time, entry.replica, entry.present, msgspec.json.encode(entry.value, order="deterministic")


# --- Wire -----------------------------------------------------------------------------------------------------


def _joined(first: Versions, second: Versions) -> dict[str, int]:
    joined = dict(first)
    for replica, number in second.items():
        joined[replica] = max(number, joined.get(replica, 0))
    return joined


def _sorted(versions: Versions) -> dict[str, int]:
    return {replica: versions[replica] for replica in sorted(versions)}


def _rank(element: Element) -> tuple[bool, int, str]:
    return (True, 0, element) if isinstance(element, str) else (False, element, "")


def _malformed(kind: str, text: str) -> ConfigurationError:
    return ConfigurationError(f"{kind}: {text}. Send what its to_wire gives")


def _bounded(kind: str, data: Any, shape: type[list[Any]] | type[dict[Any, Any]]) -> Any:
    if not isinstance(data, shape) or len(data) > MOST_ENTRIES:
        raise _malformed(kind, f"there is no {shape.__name__} of at most {MOST_ENTRIES:,} entries")
    return data


def _parts(kind: str, data: Any) -> tuple[Any, Any]:
    if not isinstance(data, list | tuple) or len(data) != 2:
        raise _malformed(kind, "there are not two parts")
    return data[0], data[1]


def _text(kind: str, data: Any) -> str:
    if not isinstance(data, str):
        raise _malformed(kind, f"the key {data!r} is no text")
    return data


def _decoded(kind: str, data: Any, shape: Callable[..., Any]) -> Any:
    try:
        return msgspec.convert(data, shape, strict=True)
    except msgspec.ValidationError as error:
        raise _malformed(kind, str(error)) from None


def _versions(kind: str, data: Any) -> dict[str, int]:
    versions: dict[str, int] = {}
    for replica, number in _bounded(kind, data, dict).items():
        if type(number) is not int or number < 1:
            raise _malformed(kind, f"the number of replica {replica!r} is {number!r}, not 1 or more")
        versions[_text(kind, replica)] = number
    return versions
