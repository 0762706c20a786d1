"""Windows within a budget, and hits with the turns round them."""

import random

import pytest

from memory.episode import estimated_tokens, tokens_of, window, with_neighbours
from memory.errors import InvalidItem
from memory.item import Item
from tests.memory.turns import turn


def flat(_: str) -> int:
    return 3  # with a speaker's 3 and the template's 4, a turn costs 10


TALK = [turn(number, f"turn {number}") for number in range(10)]


def ids(items: tuple[Item, ...]) -> list[int]:
    return [item.id for item in items]


def test_a_window_holds_the_newest_turns_and_the_most_important_older_ones() -> None:
    talk = [*TALK[:2], turn(2, "vital", importance=0.9), *TALK[3:]]
    found = window(talk, 40, count=flat, newest_share=0.75)
    assert ids(found.items) == [2, 7, 8, 9]
    assert (found.tokens, found.left_out) == (40, 6)


def test_a_budget_is_never_exceeded_and_never_wasted_on_a_gap() -> None:
    rng = random.Random(17)
    for trial in range(200):
        talk = [
            turn(n, "word " * rng.randrange(1, 30), importance=rng.random()) for n in range(rng.randrange(12))
        ]
        budget = rng.randrange(200)
        found = window(talk, budget)
        assert found.tokens == sum(map(tokens_of, found.items)) <= budget, trial
        assert ids(found.items) == sorted(ids(found.items))
        assert found.left_out + len(found.items) == len(talk)
        cheapest = min((tokens_of(item) for item in talk if item not in found.items), default=budget + 1)
        assert found.tokens + cheapest > budget, trial


def test_hits_come_with_their_neighbours_in_order_each_once() -> None:
    found = with_neighbours([TALK[5], TALK[6]], TALK, before=1, after=1, budget_tokens=1_000)
    assert ids(found.items) == [4, 5, 6, 7]


def test_a_better_hit_and_its_neighbours_go_before_a_worse_one() -> None:
    found = with_neighbours([TALK[8], TALK[2]], TALK, before=1, after=0, budget_tokens=30, count=flat)
    assert ids(found.items) == [2, 7, 8]
    assert found.left_out == 1
    assert found.tokens == 30


def test_neighbours_are_of_the_same_session() -> None:
    other = turn(6, "elsewhere", session="two")
    assert ids(with_neighbours([TALK[5]], [*TALK[:6], other], after=5, before=0).items) == [5]
    loose = [turn(number, "loose", session="") for number in (1, 2, 3)]
    assert ids(with_neighbours([loose[1]], loose).items) == [2]


def test_tokens_are_estimated_on_the_high_side() -> None:
    assert estimated_tokens("") == 0
    assert estimated_tokens("Hello, world!") == 4
    assert estimated_tokens("internationalisation") == 4


def test_budgets_that_make_no_sense_are_refused() -> None:
    with pytest.raises(InvalidItem, match="budget_tokens"):
        window(TALK, -1)
    with pytest.raises(InvalidItem, match="newest_share"):
        window(TALK, 1, newest_share=2)
    with pytest.raises(InvalidItem, match="before and after"):
        with_neighbours(TALK, TALK, before=-1)
