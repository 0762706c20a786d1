"""The laws of a semilattice, convergence under repetition and disorder, and each type against what it stands for."""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.errors import ConfigurationError
from coordination.crdt import Element, GCounter, LWWMap, ORSet, PNCounter, Versions

Update = Callable[[Any, str, Random], Any]
REPLICAS = ("a", "b", "c")


def add_to_set(state: ORSet, replica: str, rng: Random) -> ORSet:
    element = rng.choice((1, 2, "x"))
    return state.add(replica, element) if rng.random() < 0.6 else state.remove(element)


def write_to_map(state: LWWMap, replica: str, rng: Random) -> LWWMap:
    key = rng.choice("pq")
    return state.put(replica, key, rng.randrange(9)) if rng.random() < 0.7 else state.remove(replica, key)


KINDS: dict[str, tuple[Any, Update]] = {
    "GCounter": (GCounter(), lambda state, replica, rng: state.add(replica, rng.randrange(3))),
    "PNCounter": (PNCounter(), lambda state, replica, rng: state.add(replica, rng.randint(-3, 3))),
    "ORSet": (ORSet(), add_to_set),
    "LWWMap": (LWWMap(), write_to_map),
}
EVERY_KIND = pytest.mark.parametrize("kind", KINDS)


def states_after(kind: str, seed: int, steps: int = 14) -> list[Any]:
    """Three replicas that update and merge at random: states that a run can reach."""
    rng = Random(seed)
    empty, update = KINDS[kind]
    states = [empty] * len(REPLICAS)
    for _ in range(steps):
        here, there = rng.randrange(3), rng.randrange(3)
        if rng.random() < 0.6:
            states[here] = update(states[here], REPLICAS[here], rng)
        else:
            states[here] = states[here].merge(states[there])
    return states


@EVERY_KIND
@settings(max_examples=150, deadline=None, derandomize=True)
@given(seed=st.integers(0, 2**32))
def test_merge_commutes_associates_and_is_idempotent(kind: str, seed: int) -> None:
    one, two, three = states_after(kind, seed)
    assert one.merge(two) == two.merge(one)
    assert one.merge(two).merge(three) == one.merge(two.merge(three))
    assert one.merge(one) == one
    assert one.merge(KINDS[kind][0]) == one


@EVERY_KIND
@settings(max_examples=100, deadline=None, derandomize=True)
@given(seed=st.integers(0, 2**32))
def test_every_update_goes_up(kind: str, seed: int) -> None:
    rng = Random(seed)
    state = states_after(kind, seed)[0]
    later = KINDS[kind][1](state, REPLICAS[0], rng)
    assert state.merge(later) == later


@EVERY_KIND
@settings(max_examples=100, deadline=None, derandomize=True)
@given(seed=st.integers(0, 2**32))
def test_the_wire_form_is_plain_data_and_reads_as_it_was(kind: str, seed: int) -> None:
    state = states_after(kind, seed)[0]
    wire = state.to_wire()
    for carried in (json.loads(json.dumps(wire)), msgspec.msgpack.decode(msgspec.msgpack.encode(wire))):
        assert type(state).from_wire(carried) == state


@dataclass
class Lossy:
    """Replicas that send their states over a network that loses, repeats and reorders them."""

    states: list[Any]
    rng: Random
    under_way: list[tuple[int, Any]] = field(default_factory=list)

    def send(self, source: int, to: int) -> None:
        self.under_way += [(to, self.states[source].to_wire())] * self.rng.choice((0, 1, 1, 2))

    def deliver(self) -> None:
        to, wire = self.under_way.pop(self.rng.randrange(len(self.under_way)))
        self.states[to] = self.states[to].merge(type(self.states[to]).from_wire(wire))


@EVERY_KIND
def test_replicas_converge_whatever_is_lost_repeated_and_out_of_order(kind: str) -> None:
    empty, update = KINDS[kind]
    for seed in range(60):
        rng = Random(seed)
        net = Lossy([empty] * 3, rng)
        for _ in range(40):
            here = rng.randrange(3)
            net.states[here] = update(net.states[here], REPLICAS[here], rng)
            net.send(here, rng.randrange(3))
            if net.under_way and rng.random() < 0.7:
                net.deliver()
        best = net.states[0].merge(net.states[1]).merge(net.states[2])
        for _ in range(
            2
        ):  # two rounds of everybody to everybody, in any order, some twice, the old ones among them
            net.under_way += [(to, state.to_wire()) for state in net.states for to in range(3)] * rng.choice(
                (1, 2)
            )
            while net.under_way:
                net.deliver()
        assert net.states == [best] * 3, f"seed {seed}"


@dataclass(frozen=True)
class Tagged:
    """The set that `ORSet` stands for (Shapiro et al. 2011): unique tags, and a tombstone for each that was removed."""

    tags: frozenset[tuple[Element, str, int]] = frozenset()
    gone: frozenset[tuple[Element, str, int]] = frozenset()

    def add(self, replica: str, element: Element, number: int) -> "Tagged":
        return Tagged(self.tags | {(element, replica, number)}, self.gone)

    def remove(self, element: Element) -> "Tagged":
        return Tagged(self.tags, self.gone | {tag for tag in self.tags if tag[0] == element})

    def merge(self, other: "Tagged") -> "Tagged":
        return Tagged(self.tags | other.tags, self.gone | other.gone)

    @property
    def value(self) -> frozenset[Element]:
        return frozenset(tag[0] for tag in self.tags - self.gone)


def sets_differ(kind: type[ORSet], seed: int) -> bool:
    """Whether a set and the one with tombstones are ever told apart, in one run of three replicas."""
    rng = Random(seed)
    sets, oracles = [kind()] * 3, [Tagged()] * 3
    for step in range(60):
        here, there, element = rng.randrange(3), rng.randrange(3), rng.choice((1, "x"))
        what = rng.randrange(3)
        if what == 0:
            sets[here] = sets[here].add(REPLICAS[here], element)
            oracles[here] = oracles[here].add(REPLICAS[here], element, step)
        elif what == 1:
            sets[here] = sets[here].remove(element)
            oracles[here] = oracles[here].remove(element)
        else:
            sets[here] = sets[here].merge(sets[there])
            oracles[here] = oracles[here].merge(oracles[there])
        if [each.value for each in sets] != [each.value for each in oracles]:
            return True
    return False


def test_the_set_without_tombstones_is_the_one_with_them() -> None:
    assert [seed for seed in range(300) if sets_differ(ORSet, seed)] == []


class Union(ORSet):
    """A mutant: removed elements come back."""

    def merge(self, other: ORSet) -> ORSet:
        versions = {name: max(self.versions.get(name, 0), other.versions.get(name, 0)) for name in REPLICAS}
        return Union(
            {name: number for name, number in versions.items() if number}, {**self.dots, **other.dots}
        )

    def add(self, replica: str, element: Element) -> ORSet:
        return _as(Union, super().add(replica, element))

    def remove(self, element: Element) -> ORSet:
        return _as(Union, super().remove(element))


class RemoveWins(Union):
    """A mutant: of two sets that share an element, what one lacks is taken for removed."""

    def merge(self, other: ORSet) -> ORSet:
        merged = ORSet.merge(self, other)
        both: dict[Element, Versions] = {
            element: dots
            for element, dots in merged.dots.items()
            if element in self.dots and element in other.dots
        }
        return _as(RemoveWins, ORSet(merged.versions, both or merged.dots))


def _as(kind: type[ORSet], state: ORSet) -> ORSet:
    return kind(state.versions, state.dots)


@pytest.mark.parametrize("mutant", [Union, RemoveWins])
def test_the_set_with_tombstones_finds_a_broken_one(mutant: type[ORSet]) -> None:
    assert any(sets_differ(mutant, seed) for seed in range(300))


def test_an_add_wins_over_a_remove_that_did_not_know_of_it() -> None:
    first = ORSet().add("a", "x")
    second = first.add("b", "x")
    assert first.remove("x").merge(second).value == {"x"}
    assert second.remove("x").merge(first).value == frozenset()


def test_a_set_keeps_nothing_of_what_was_removed_but_the_numbers_of_its_replicas() -> None:
    state = ORSet()
    for element in range(500):
        state = state.add("a", element).remove(element)
    assert state.to_wire() == [{"a": 500}, []]


def test_counters_count_what_every_replica_added() -> None:
    one = PNCounter().add("a", 5).add("a", -2)
    two = PNCounter().add("b", -4)
    assert one.merge(two).merge(two).value == -1
    assert GCounter().add("a").add("a").merge(GCounter().add("b")).value == 3
    with pytest.raises(ConfigurationError, match=r"it only grows\. Use a PNCounter"):
        GCounter().add("a", -1)


def test_the_last_write_of_a_key_wins_and_a_removed_key_stays_away() -> None:
    one = LWWMap().put("a", "k", 1)
    two = one.put("b", "k", 2)
    assert one.merge(two).value == {"k": 2}
    gone = two.remove("a", "k")
    assert gone.merge(one).merge(two).value == {}
    assert gone.put("c", "k", [3]).merge(gone).value == {"k": [3]}


def test_writes_at_one_time_are_ordered_by_replica_and_an_earlier_time_changes_nothing() -> None:
    one, two = LWWMap().put("a", "k", 1, time=7), LWWMap().put("b", "k", 2, time=7)
    assert one.merge(two).value == two.merge(one).value == {"k": 2}
    assert one.put("a", "k", 0, time=6) == one


@pytest.mark.parametrize(
    ("kind", "data", "error"),
    [
        (GCounter, [], "there is no dict"),
        (GCounter, {"a": 0}, "the number of replica 'a' is 0, not 1 or more"),
        (GCounter, {"a": True}, "is True, not 1 or more"),
        (GCounter, {1: 1}, "the key 1 is no text"),
        (PNCounter, [{}], "there are not two parts"),
        (ORSet, [{}, [["x", {"a": 1}]]], "the element 'x' has an add that its versions do not know"),
        (ORSet, [{"a": 1}, [["x", {}]]], "the element 'x' has an add that its versions do not know"),
        (ORSet, [{"a": 1}, [[1.5, {"a": 1}]]], "the element 1.5 is no text or integer"),
        (ORSet, [{"a": 1}, [["x", {"a": 1}], ["y", {"a": 1}]]], "an element or an add is in it twice"),
        (ORSet, [{"a": 2}, [["x", {"a": 1}], ["x", {"a": 2}]]], "an element or an add is in it twice"),
        (ORSet, [{"a": 1}, {"x": {"a": 1}}], "there is no list"),
        (LWWMap, {"k": [1, "a", True]}, "Expected `array` of at least length 4, got 3"),
        (LWWMap, {"k": ["1", "a", True, 0]}, "Expected `int`, got `str`"),
        (LWWMap, {"k": [1, "a", False, 0]}, "the key 'k' is removed and has a value"),
    ],
)
def test_what_no_replica_can_have_made_is_refused(kind: Any, data: Any, error: str) -> None:
    with pytest.raises(ConfigurationError, match=re.escape(error) + r".*Send what its to_wire gives"):
        kind.from_wire(data)
