"""Selectors: who is chosen, and that the choice is the same everywhere."""

from itertools import pairwise

import pytest
from scipy import stats

from actors.errors import ConfigurationError
from actors.selector import Group, Selector, select

COUNTS = {"worker": 1000, "voter": 10, "boss": None}


def group(*entries: str | Selector | dict[str, object], seed: int = 1) -> Group:
    return Group(select(*entries), seed, COUNTS)


@pytest.mark.parametrize(
    ("entry", "inside", "outside"),
    [
        ("boss", ["boss"], ["worker/0", "bos"]),
        ("worker", ["worker/0", "worker/999", "worker/spawned"], ["boss", "@worker/0", "workers/0"]),
        ("worker/*", ["worker/0", "worker/spawned"], ["voter/0"]),
        ("worker/3", ["worker/3"], ["worker/30", "worker/03", "voter/3"]),
        (
            "worker/0..9",
            ["worker/0", "worker/9"],
            ["worker/10", "worker/09", "worker/x", "worker/", "worker"],
        ),
        ("worker/a..b", ["worker/a..b"], ["worker/a"]),
    ],
)
def test_text_selects_by_address(entry: str, inside: list[str], outside: list[str]) -> None:
    chosen = group(entry)
    assert all(address in chosen for address in inside)
    assert not any(address in chosen for address in outside)


def test_a_count_takes_exactly_that_many_and_a_smaller_count_some_of_them() -> None:
    chosen = [set(group({"role": "voter", "count": count}).declared()) for count in range(11)]
    assert [len(agents) for agents in chosen] == list(range(11))
    assert all(smaller < larger for smaller, larger in pairwise(chosen))


def test_a_share_takes_about_its_share_and_a_smaller_share_some_of_them() -> None:
    few = set(group({"role": "worker", "share": 0.1}).declared())
    many = set(group({"role": "worker", "share": 0.2}).declared())
    assert few < many
    low, high = stats.binom(1000, 0.2).interval(0.9999)
    assert low <= len(many) <= high


def test_a_choice_depends_on_the_seed_and_on_its_draw_alone() -> None:
    def chosen(seed: int, draw: str) -> list[str]:
        return list(group({"role": "worker", "count": 5, "draw": draw}, seed=seed).declared())

    assert chosen(1, "") == chosen(1, "")
    assert len({tuple(chosen(seed, draw)) for seed in (1, 2) for draw in ("", "b")}) == 4


def test_a_choice_can_be_among_a_range() -> None:
    chosen = set(group({"role": "worker/10..19", "count": 4}).declared())
    assert len(chosen) == 4
    assert all(10 <= int(address.removeprefix("worker/")) <= 19 for address in chosen)


def test_declared_agents_are_listed_once_and_spawned_ones_not() -> None:
    assert list(group("voter/3", "voter/3", "boss", "voter/77", "voter/extra").declared()) == [
        "voter/3",
        "boss",
    ]
    assert list(group("voter/8..20", "voter/9").declared()) == ["voter/8", "voter/9"]


def test_a_group_knows_which_roles_it_touches_and_covers() -> None:
    chosen = group("boss", "worker/3")
    assert (chosen.touches("worker"), chosen.covers("worker")) == (True, False)
    assert (chosen.touches("boss"), chosen.covers("boss")) == (True, True)
    assert (chosen.touches("voter"), chosen.covers("voter")) == (False, False)


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ("", "'' is not a role"),
        ("worker/", "'worker/' has no key"),
        ("worker/9..3", "the range 9..3 is empty. Give the smaller number first: worker/3..9"),
        ({"role": "worker", "share": 1.5}, "share: 1.5 is not a number from 0 to 1"),
        ({"role": "worker", "count": -1}, "count: -1 is not a whole number"),
        ({"role": "worker", "count": 1, "share": 0.5}, "both share and count"),
        ({"role": "worker", "shar": 0.5}, "shar: unknown key. Did you mean 'share'"),
        ({"share": 0.5}, "role: missing"),
        (3, "3 selects no agents"),
    ],
)
def test_wrong_selectors_are_named_with_the_mend(entry: str, words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        select(entry)


def test_roles_and_counts_are_held_against_the_swarm() -> None:
    with pytest.raises(ConfigurationError, match=r"agents: no role 'wroker'. Did you mean 'worker'"):
        group("wroker/3")
    with pytest.raises(ConfigurationError, match=r"agents.count: 11 of 10 declared agents. Give at most 10"):
        group({"role": "voter", "count": 11})
