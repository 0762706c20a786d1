"""Each rule keeps what it promises, on random profiles, and breaks what it does not promise, on examples."""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from random import Random

import pytest

from coordination.voting import (
    RULES,
    Approval,
    Ballot,
    Ranking,
    RuleKind,
    Scores,
    Tally,
    Vote,
    ballots_of,
    condorcet_winner,
    plurality,
    ranking,
)
from coordination.voting.profile import profile_of
from tests.coordination.voting.profiles import Profile, profile

KINDS = list(RULES.values())
PROFILES = 150


def named(kind: RuleKind) -> str:
    return kind.name


def profiles_for(kind: RuleKind, count: int = PROFILES) -> Iterator[Profile]:
    own = {"approval": "approvals", "score": "grades"}.get(kind.name, "linear")
    yield from (profile(own, number) for number in range(count))


def counted(kind: RuleKind, votes: Sequence[Vote], candidates: Sequence[str]) -> Tally:
    return kind.rule(ballots_of(votes), list(candidates), list(candidates))


def votes_of(each: Profile) -> list[Vote]:
    return [ballot.vote for ballot in each.single_ballots()]


def orders(*groups: tuple[int, str]) -> list[Vote]:
    """`orders((3, "abc"))` is three rankings a > b > c."""
    return [ranking(*order) for count, order in groups for _ in range(count)]


# --- Always -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS, ids=named)
def test_who_votes_and_in_what_order_does_not_matter(kind: RuleKind) -> None:
    rng = Random(1)
    for each in profiles_for(kind):
        together = kind.rule(each.ballots(), each.candidates, each.candidates)
        apart = each.single_ballots()
        rng.shuffle(apart)
        shuffled = kind.rule(apart, each.candidates, each.candidates)
        assert (shuffled.winners, shuffled.scores) == (together.winners, together.scores), each


@pytest.mark.parametrize("kind", KINDS, ids=named)
def test_names_do_not_matter(kind: RuleKind) -> None:
    rng = Random(2)
    for each in profiles_for(kind):
        names = each.candidates
        new = dict(zip(names, rng.sample(names, len(names)), strict=True))
        first = counted(kind, votes_of(each), names)
        renamed = [renamed_in(vote, new) for vote in votes_of(each)]
        second = kind.rule(ballots_of(renamed), sorted(names), [new[name] for name in names])
        assert set(second.winners) == {new[name] for name in first.winners}, each
        assert second.winner == (None if first.winner is None else new[first.winner]), each


@pytest.mark.parametrize("kind", KINDS, ids=named)
def test_the_winner_is_one_of_the_winners_and_the_first_in_the_order_drawn(kind: RuleKind) -> None:
    for number, each in enumerate(profiles_for(kind)):
        tally = kind.rule(each.ballots(), each.candidates, Random(number))
        if not tally.winners:
            assert tally.winner is None
            assert tally.reason
            assert not kind.decisive or not tally.turnout.weight
        elif len(tally.winners) == 1:
            assert tally.winner == tally.winners[0]
        else:
            assert tally.tie_break is not None
            assert tally.tie_break.ties[-1] == tally.winners
            assert tally.winner == min(tally.winners, key=tally.tie_break.order.index)


# --- Promises ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind.condorcet], ids=named)
def test_who_beats_every_other_candidate_wins_alone(kind: RuleKind) -> None:
    found = 0
    for each in profiles_for(kind):
        best = condorcet_winner(each.ballots(), each.candidates)
        if best is not None:
            assert counted(kind, votes_of(each), each.candidates).winners == (best,), each
            found += 1
    assert found > PROFILES / 3


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind.majority], ids=named)
def test_whom_more_than_half_put_first_wins_alone(kind: RuleKind) -> None:
    found = 0
    for each in profiles_for(kind):
        votes = votes_of(each)
        for candidate in each.candidates:
            if 2 * sum(is_alone_first(vote, candidate) for vote in votes) > len(votes):
                assert counted(kind, votes, each.candidates).winners == (candidate,), each
                found += 1
    assert found > 5


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind.monotone], ids=named)
def test_who_wins_and_is_raised_still_wins(kind: RuleKind) -> None:
    rng = Random(3)
    for each in profiles_for(kind):
        votes = votes_of(each)
        winner = counted(kind, votes, each.candidates).winner
        if winner is not None:
            raised = [raised_in(vote, winner, rng) if rng.random() < 0.4 else vote for vote in votes]
            assert counted(kind, raised, each.candidates).winner == winner, each


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind.clone_proof], ids=named)
def test_clones_change_nothing_for_the_others(kind: RuleKind) -> None:
    rng = Random(4)
    compared = 0
    for each in profiles_for(kind):
        before = counted(kind, votes_of(each), each.candidates)
        clone = rng.choice(each.candidates)
        votes = [cloned_in(vote, clone, rng) for vote in votes_of(each)]
        after = counted(kind, votes, [*each.candidates, "clone"])
        if before.tie_break is None and (after.tie_break is None or set(after.winners) == {clone, "clone"}):
            assert {clone if name == "clone" else name for name in after.winners} == set(before.winners), each
            compared += 1
    assert compared > PROFILES / 3


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind.reversal], ids=named)
def test_who_wins_alone_does_not_win_with_all_ballots_reversed(kind: RuleKind) -> None:
    for each in profiles_for(kind):
        votes = votes_of(each)
        tally = counted(kind, votes, each.candidates)
        if each.size > 1 and len(tally.winners) == 1 and tally.tie_break is None:
            again = counted(kind, [reversed_of(vote, each.candidates) for vote in votes], each.candidates)
            assert tally.winner not in again.winners, each


def renamed_in(vote: Vote, new: dict[str, str]) -> Vote:
    if isinstance(vote, Ranking):
        return Ranking(tuple(tuple(new[name] for name in tier) for tier in vote.tiers))
    if isinstance(vote, Approval):
        return Approval(tuple(new[name] for name in vote.candidates))
    assert isinstance(vote, Scores)
    return Scores({new[name]: value for name, value in vote.values.items()})


def is_alone_first(vote: Vote, candidate: str) -> bool:
    if isinstance(vote, Ranking):
        return vote.tiers[0] == (candidate,)
    assert isinstance(vote, Approval)
    return vote.candidates == (candidate,)


def raised_in(vote: Vote, candidate: str, rng: Random) -> Vote:
    """The vote with the candidate one or more places higher."""
    if isinstance(vote, Ranking):
        order = [name for (name,) in vote.tiers]
        place = order.index(candidate)
        order.insert(rng.randint(0, place), order.pop(place))
        return ranking(*order)
    if isinstance(vote, Approval):
        return vote if candidate in vote.candidates else Approval((*vote.candidates, candidate))
    assert isinstance(vote, Scores)
    return Scores(vote.values | {candidate: vote.values.get(candidate, 0) + rng.randint(1, 3)})


def cloned_in(vote: Vote, candidate: str, rng: Random) -> Vote:
    """The vote with a clone next to the candidate."""
    if isinstance(vote, Ranking):
        order = [name for (name,) in vote.tiers]
        order.insert(order.index(candidate) + rng.randint(0, 1), "clone")
        return ranking(*order)
    if isinstance(vote, Approval):
        return Approval((*vote.candidates, "clone")) if candidate in vote.candidates else vote
    assert isinstance(vote, Scores)
    return Scores(vote.values | ({"clone": vote.values[candidate]} if candidate in vote.values else {}))


def reversed_of(vote: Vote, candidates: Sequence[str]) -> Vote:
    if isinstance(vote, Ranking):
        return Ranking(vote.tiers[::-1])
    if isinstance(vote, Approval):
        return Approval(tuple(name for name in candidates if name not in vote.candidates))
    assert isinstance(vote, Scores)
    return Scores({name: -vote.values.get(name, 0) for name in candidates})


def test_an_unsound_rule_would_be_caught() -> None:
    """The tests above have teeth: plurality, given out for all that it is not, fails each of them."""
    boast = RuleKind("boast", plurality, True, True, True, True, True, "")
    for test in (
        test_who_beats_every_other_candidate_wins_alone,
        test_clones_change_nothing_for_the_others,
        test_who_wins_alone_does_not_win_with_all_ballots_reversed,
    ):
        with pytest.raises(AssertionError):
            test(boast)
    antiplurality = RuleKind(
        "worst", lambda b, c, rng: plurality(turned(b), c, rng), True, True, True, True, True, ""
    )
    for test in (test_whom_more_than_half_put_first_wins_alone, test_who_wins_and_is_raised_still_wins):
        with pytest.raises(AssertionError):
            test(antiplurality)


def turned(ballots: Sequence[Ballot]) -> tuple[Ballot, ...]:
    return ballots_of([reversed_of(ballot.vote, ()) for ballot in ballots])


# --- What is not promised: examples -----------------------------------------------------------------------------

NOT_CONDORCET = {
    "plurality": orders((4, "abc"), (3, "bca"), (2, "cba")),
    "majority": orders((4, "abc"), (3, "bca"), (2, "cba")),
    "supermajority": orders((3, "ab"), (2, "ba")),
    "unanimity": orders((3, "ab"), (2, "ba")),
    "score": [Scores({"a": 5, "b": 4})] * 3 + [Scores({"a": 0, "b": 5})] * 2,
    "borda": orders((3, "abc"), (2, "bca")),
    "instant_runoff": orders((2, "abc"), (1, "bac"), (2, "cba")),
}
NOT_MAJORITY = {name: NOT_CONDORCET[name] for name in ("supermajority", "unanimity", "score", "borda")}


@pytest.mark.parametrize("kind", [kind for kind in KINDS if not kind.condorcet], ids=named)
def test_who_beats_every_other_candidate_may_lose(kind: RuleKind) -> None:
    votes = NOT_CONDORCET[kind.name]
    candidates = candidates_in(votes)
    best = condorcet_winner(ballots_of(votes), candidates)
    assert best is not None
    assert counted(kind, votes, candidates).winner != best


@pytest.mark.parametrize("kind", [kind for kind in KINDS if not kind.majority], ids=named)
def test_whom_more_than_half_put_first_may_lose(kind: RuleKind) -> None:
    votes = NOT_MAJORITY[kind.name]
    candidates = candidates_in(votes)
    assert RULES["majority"].rule(ballots_of(votes), candidates, candidates).winner == "a"
    assert counted(kind, votes, candidates).winner != "a"


def test_instant_runoff_can_punish_who_is_raised() -> None:
    runoff = RULES["instant_runoff"]
    votes = orders((6, "bac"), (6, "cba"), (5, "acb"))  # a goes first, and 5 votes go over to c: 11 to 6
    assert counted(runoff, votes, "abc").winner == "c"
    raised = orders(
        (4, "bac"), (8, "cba"), (5, "acb")
    )  # two put c first; now b goes, and 4 votes go to a: 9 to 8
    assert counted(runoff, raised, "abc").winner == "a"


CLONES = {
    "plurality": (orders((4, "ab"), (3, "ba")), orders((2, "aAb"), (2, "Aab"), (3, "baA"))),
    "majority": (orders((3, "ab"), (2, "ba")), orders((1, "aAb"), (2, "Aab"), (2, "baA"))),
    "supermajority": (orders((4, "ab"), (1, "ba")), orders((2, "aAb"), (2, "Aab"), (1, "baA"))),
    "unanimity": (orders((3, "ab")), orders((1, "aAb"), (2, "Aab"))),
    "borda": (orders((3, "ab"), (2, "ba")), orders((3, "abB"), (2, "bBa"))),
    "copeland": (
        orders((4, "cdba"), (2, "dbac"), (3, "bacd"), (1, "acbd")),
        orders((4, "cCdba"), (1, "dbacC"), (1, "dbaCc"), (3, "baCcd"), (1, "acCbd")),
    ),
    "minimax": (  # three clones beat one another in a circle by more than all of them beat b
        orders((5, "ab"), (4, "ba")),
        orders((2, "xyzb"), (2, "yzxb"), (1, "zxyb"), (1, "bxyz"), (1, "byzx"), (2, "bzxy")),
    ),
    "kemeny": (
        orders((1, "cabd"), (4, "bcda"), (2, "abcd"), (4, "dcab")),
        orders((1, "cAabd"), (4, "bcdAa"), (2, "Aabcd"), (4, "dcAab")),
    ),
}


@pytest.mark.parametrize("kind", [kind for kind in KINDS if not kind.clone_proof], ids=named)
def test_clones_may_change_who_wins(kind: RuleKind) -> None:
    before, after = CLONES[kind.name]
    first = counted(kind, before, candidates_in(before))
    second = counted(kind, after, candidates_in(after))
    assert first.tie_break is None
    assert second.tie_break is None
    outside = [name for name in candidates_in(before) if name in candidates_in(after)]
    same = second.winner == first.winner or (first.winner == "a" and second.winner in ("A", "x", "y", "z"))
    assert not same
    assert second.winner is None or second.winner in outside or second.winner == "B"


NOT_REVERSED = {
    "plurality": orders((3, "abc"), (2, "cba"), (2, "cab")),
    "minimax": orders((2, "cbad"), (4, "dacb"), (1, "dbca"), (3, "bacd")),
    "instant_runoff": orders((3, "cab"), (2, "abc"), (3, "bca")),
}


@pytest.mark.parametrize("kind", [kind for kind in KINDS if not kind.reversal], ids=named)
def test_who_wins_alone_may_win_with_all_ballots_reversed(kind: RuleKind) -> None:
    votes = NOT_REVERSED[kind.name]
    names = candidates_in(votes)
    first = counted(kind, votes, names)
    again = counted(kind, [reversed_of(vote, names) for vote in votes], names)
    assert first.winners == again.winners == (first.winner,)


def candidates_in(votes: Sequence[Vote]) -> list[str]:
    return sorted({name for vote in votes for name in profile_names(vote)})


def profile_names(vote: Vote) -> list[str]:
    if isinstance(vote, Scores):
        return list(vote.values)
    assert isinstance(vote, Ranking)
    return [name for tier in vote.tiers for name in tier]


def test_margins_are_antisymmetric_and_supports_add_up() -> None:
    for number in range(50):
        each = profile("weak", number)
        found = profile_of(each.ballots(), each.candidates)
        margins, supports = found.margins(), found.supports()
        for a in range(each.size):
            for b in range(each.size):
                assert margins[a][b] == -margins[b][a] == supports[a][b] - supports[b][a]
                assert supports[a][b] + supports[b][a] <= sum(each.counts)


def test_a_strict_order_of_scores_is_the_ranking_by_them() -> None:
    votes: list[Vote] = [Scores({"a": 3, "b": 1, "c": 2}), Scores({"b": 9})]
    as_rankings: list[Vote] = [ranking("a", "c", "b"), ranking("b")]
    found = [profile_of(ballots_of(v), list("abc")).margins() for v in (votes, as_rankings)]
    assert all(one == other for one, other in pairwise(found))
