"""Scopes: who sees what, decided in one place."""

from itertools import product

import pytest

from memory.errors import InvalidScope
from memory.scope import SLOTS, Scope, checked


def test_a_reader_sees_what_names_no_level_otherwise() -> None:
    me = Scope("t", swarm="s", role="r", agent="r/1")
    assert me.sees(Scope("t"))
    assert me.sees(Scope("t", swarm="s"))
    assert me.sees(me)
    assert not me.sees(Scope("t", swarm="s", role="r", agent="r/2"))
    assert not me.sees(Scope("u"))
    assert not me.sees(Scope("t", swarm="s", role="r", agent="r/1", session="x"))


def test_who_leaves_a_level_out_sees_nothing_that_names_it() -> None:
    assert not Scope("t").sees(Scope("t", agent="r/1"))
    assert not Scope("t", swarm="s").sees(Scope("t", swarm="s", role="r"))


def test_what_is_listed_as_seen_is_exactly_what_is_seen() -> None:
    choices = [Scope(*names) for names in product("tu", ["", "s", "z"], ["", "r"], ["", "a", "b"], ["", "x"])]
    for reader in choices:
        listed = set(reader.seen())
        assert listed == {scope for scope in choices if reader.sees(scope)}
        assert reader.seen()[-1] == reader


def test_what_is_shared_is_erased_only_from_its_own_scope() -> None:
    me, swarm = Scope("t", swarm="s", agent="a"), Scope("t", swarm="s")
    assert me.may_erase(me)
    assert not me.may_erase(swarm)
    assert swarm.may_erase(swarm)
    assert not swarm.may_erase(me)


def test_a_path_is_read_back_whatever_the_names_hold() -> None:
    for name in ("a/b", "a=b", "a%2Fb", "ü", " ", "a/b=c&d"):
        scope = Scope(name, agent=name)
        assert Scope.parse(scope.path) == scope
        assert 0 <= scope.slot < SLOTS


@pytest.mark.parametrize(
    "text",
    [
        "",
        "acme",
        "tenant=",
        "swarm=s",
        "tenant=a/tenant=b",
        "tenant=a//swarm=b",
        "tenant=a/who=b",
        "tenant=a%0A",
    ],
)
def test_a_text_that_is_no_scope_is_an_error_and_not_a_wider_scope(text: str) -> None:
    with pytest.raises(InvalidScope):
        Scope.parse(text)


@pytest.mark.parametrize("wrong", [None, "tenant=a", 3, ("t",)])
def test_nothing_but_a_scope_is_a_scope(wrong: object) -> None:
    with pytest.raises(InvalidScope):
        checked(wrong)


@pytest.mark.parametrize("names", [{"tenant": ""}, {"tenant": "x" * 201}, {"tenant": "t", "agent": None}])
def test_names_that_cannot_be_kept_are_refused(names: dict[str, str]) -> None:
    with pytest.raises(InvalidScope):
        Scope(**names)
