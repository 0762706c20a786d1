"""The rules of `actors/state.py` for agents: all their attributes, slots and order included, and no others."""

from dataclasses import dataclass
from typing import Any

import pytest

from actors.agent import Agent
from actors.errors import InvalidContent
from actors.state import capture, encode_state, restore


@dataclass(frozen=True, slots=True)
class Edge:
    left: str
    right: str


class Walker(Agent):
    def __init__(self, speed: int = 1) -> None:
        self.speed = speed
        self.seen: set[str] = set()
        self.plan: list[Any] = []


class Slotted(Walker):
    __slots__ = ("goal", "unused")
    goal: str
    unused: int


class Sealed:
    __slots__ = ("a", "b")
    a: int
    b: Any


class Guarded(Agent):
    def __setattr__(self, name: str, value: object) -> None:
        raise AssertionError("restore must not call this")


class Socket:
    """Stands for what is not plain data."""


def test_an_agent_gets_back_all_its_attributes_and_no_others() -> None:
    walker = Walker(3)
    walker.seen = {"a", "b"}
    walker.plan = [Edge("a", "b"), {"step": (1, 2)}]
    walker.late = None  # type: ignore[attr-defined]  # attributes may come later
    fresh = Walker(9)
    fresh.stray = 1  # type: ignore[attr-defined]  # must go
    restore(fresh, capture(walker))
    assert vars(fresh) == vars(walker)
    assert list(vars(fresh)) == list(vars(walker))
    assert capture(fresh) == capture(walker)


def test_the_order_of_attributes_is_restored() -> None:
    walker = Walker()
    del walker.speed
    walker.speed = 5
    fresh = Walker()
    restore(fresh, capture(walker))
    assert list(vars(fresh)) == ["seen", "plan", "speed"]


@pytest.mark.parametrize("assigned", [True, False])
def test_slots_are_captured_and_restored(assigned: bool) -> None:
    before, after = Slotted(2), Slotted(1)
    after.unused = 1
    if assigned:
        before.goal = "x"
    restore(after, capture(before))
    assert getattr(after, "goal", None) == ("x" if assigned else None)
    assert not hasattr(after, "unused")
    assert after.speed == 2


def test_an_object_of_slots_alone_is_captured_and_restored() -> None:
    before, after = Sealed(), Sealed()
    before.a, before.b, after.b = 1, [2], 3
    del before.b
    restore(after, capture(before))
    assert after.a == 1
    assert not hasattr(after, "b")


def test_restoring_does_not_call_setattr() -> None:
    guarded = Guarded()
    restore(guarded, encode_state({"x": 1}))
    assert vars(guarded) == {"x": 1}


def test_an_agent_that_cannot_be_captured_is_named() -> None:
    walker = Walker()
    walker.plan = [Socket()]
    with pytest.raises(InvalidContent, match=r"Walker: state\.plan\[0\] is a .*Socket"):
        capture(walker)


def test_restoring_what_was_not_captured_is_refused() -> None:
    with pytest.raises(InvalidContent, match="not attributes"):
        restore(Walker(), encode_state([1]))
    with pytest.raises(InvalidContent, match="cannot take its saved attributes"):
        restore(Sealed(), encode_state({"c": 1}))
