"""Every rule that pref_voting has gives its winners, before ties are broken, on thousands of random profiles."""

from collections.abc import Iterator
from importlib.util import find_spec
from itertools import permutations

import pytest

from coordination.voting import RULES, Ballot, condorcet_winner, instant_runoff, ranked_pairs
from coordination.voting.profile import profile_of
from tests.coordination.voting.oracle import PROFILES, answers, recorded
from tests.coordination.voting.profiles import Profile, profile

RECORDED = recorded()
BY_WINNERS = [
    (kind, rule)
    for kind, rules in RECORDED.items()
    for rule in rules
    if rule in RULES and rule not in ("ranked_pairs", "instant_runoff")
]


def cases(kind: str, rule: str) -> Iterator[tuple[Profile, list[Ballot], list[str]]]:
    """Each profile with its ballots, weighted in tenths or whole, and pref_voting's winners."""
    for number, winners in enumerate(RECORDED[kind][rule]):
        each = profile(kind, number)
        yield each, each.ballots(divisor=10 if number % 2 else 1), [f"c{c}" for c in winners]


@pytest.mark.parametrize(("kind", "rule"), BY_WINNERS)
def test_the_winners_are_those_of_pref_voting(kind: str, rule: str) -> None:
    count = RULES[rule].rule
    for each, ballots, winners in cases(kind, rule):
        assert list(count(ballots, each.candidates, each.candidates).winners) == winners, each


@pytest.mark.parametrize("kind", ["linear", "weak"])
def test_the_condorcet_winner_is_that_of_pref_voting(kind: str) -> None:
    for each, ballots, winners in cases(kind, "condorcet_winner"):
        found = condorcet_winner(ballots, each.candidates)
        assert ([] if found is None else [found]) == winners, each


@pytest.mark.parametrize("kind", ["linear", "weak"])
def test_all_orders_of_striking_out_together_reach_the_winners_of_parallel_universes(kind: str) -> None:
    for each, ballots, winners in cases(kind, "instant_runoff"):
        first = instant_runoff(ballots, each.candidates, each.candidates)
        reached = set(first.winners)
        if first.tie_break is not None and each.size < 5:
            for order in permutations(each.candidates):
                reached |= set(instant_runoff(ballots, each.candidates, order).winners)
            assert sorted(reached) == winners, each
        elif first.tie_break is None:
            assert sorted(reached) == winners, each
        else:
            assert reached <= set(winners), each


def test_ranked_pairs_elect_whom_some_order_of_equal_pairs_elects_and_all_of_them_where_none_conflict() -> (
    None
):
    for each, ballots, winners in cases("linear", "ranked_pairs"):
        for order in (each.candidates, each.candidates[::-1]):
            tally = ranked_pairs(ballots, each.candidates, order)
            assert set(tally.winners) <= set(winners), each
            if tally.tie_break is None or tally.tie_break.ties == (tally.winners,):
                assert list(tally.winners) == winners, each


@pytest.mark.parametrize("kind", ["linear", "weak"])
def test_ranked_pairs_break_ties_between_pairs_as_pref_voting_does_by_the_same_order(kind: str) -> None:
    compared = 0
    for each, ballots, winners in cases(kind, "ranked_pairs_tb"):
        margins = profile_of(ballots, each.candidates).margins()
        if all(margins[a][b] for a in range(each.size) for b in range(a)):
            assert [ranked_pairs(ballots, each.candidates, each.candidates).winner] == winners, each
            compared += 1
    assert compared > 500


@pytest.mark.parametrize("kind", PROFILES)
@pytest.mark.skipif(
    find_spec("numba") is None or find_spec("pref_voting") is None,
    reason="pref_voting, or numba without which it cannot be imported, is not installed",
)
def test_what_was_recorded_is_what_pref_voting_says(kind: str) -> None:
    numbers = range(0, PROFILES[kind], 20)
    fresh = answers([profile(kind, number) for number in numbers])
    assert fresh == {rule: [found[n] for n in numbers] for rule, found in RECORDED[kind].items()}
