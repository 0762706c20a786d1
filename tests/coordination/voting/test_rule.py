"""The rules on examples from the literature, on odd ballots, and at their limits."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from random import Random

import pytest

from actors import ConfigurationError
from coordination.voting import (
    KEMENY_LIMIT,
    RULES,
    Abstention,
    Aggregator,
    Approval,
    Ballot,
    Choice,
    Number,
    Rule,
    RuleKind,
    Scores,
    Tally,
    approval,
    ballots_of,
    borda,
    copeland,
    differences,
    instant_runoff,
    kemeny,
    majority,
    minimax,
    plurality,
    ranked_pairs,
    ranking,
    rule_named,
    schulze,
    score,
    supermajority,
    tally_of,
    unanimity,
)
from coordination.voting.profile import RANKED_LIMIT
from coordination.voting.rule import votes_taken
from coordination.voting.tally import Breaker

# The capital of Tennessee: each city's voters prefer the nearer one.
CITIES = ["Memphis", "Nashville", "Chattanooga", "Knoxville"]
TENNESSEE = [
    Ballot("west", ranking("Memphis", "Nashville", "Chattanooga", "Knoxville"), 42),
    Ballot("centre", ranking("Nashville", "Chattanooga", "Knoxville", "Memphis"), 26),
    Ballot("south", ranking("Chattanooga", "Knoxville", "Nashville", "Memphis"), 15),
    Ballot("east", ranking("Knoxville", "Chattanooga", "Nashville", "Memphis"), 17),
]
# Schulze 2011, section 3, example 1: 45 voters; E wins, then A, C, B, D.
SCHULZE = [
    Ballot(order, ranking(*order), count)
    for order, count in (
        ("ACBED", 5),
        ("ADECB", 5),
        ("BEDAC", 8),
        ("CABED", 3),
        ("CAEBD", 7),
        ("CBADE", 2),
        ("DCEBA", 7),
        ("EBADC", 8),
    )
]
CIRCLE = ballots_of([ranking(*"abc"), ranking(*"bca"), ranking(*"cab")])


@pytest.mark.parametrize(
    ("rule", "capital"),
    [
        (plurality, "Memphis"),
        (borda, "Nashville"),
        (copeland, "Nashville"),
        (minimax, "Nashville"),
        (schulze, "Nashville"),
        (ranked_pairs, "Nashville"),
        (kemeny, "Nashville"),
        (instant_runoff, "Knoxville"),
        (majority, None),
    ],
)
def test_the_capital_of_tennessee_depends_on_the_rule(rule: Rule, capital: str | None) -> None:
    tally = rule(TENNESSEE, CITIES, Random(1))
    assert tally.winner == capital
    assert tally.tie_break is None
    assert tally.turnout.weight == 100


def test_the_counts_of_tennessee_are_those_of_the_books() -> None:
    def scores(rule: Rule) -> list[float]:
        return list(rule(TENNESSEE, CITIES, Random(1)).scores.values())

    assert scores(plurality) == [42, 26, 15, 17]
    assert scores(borda) == [126, 194, 173, 107]
    assert scores(copeland) == [0, 3, 2, 1]
    assert scores(minimax) == [-16, 16, -36, -66]
    assert scores(instant_runoff) == [42, 26, 15, 58]
    assert "Nashville > Chattanooga > Knoxville > Memphis" in kemeny(TENNESSEE, CITIES, Random(1)).trail[0]


def test_schulzes_own_example_comes_out_as_in_his_paper() -> None:
    tally = schulze(SCHULZE, list("ABCDE"), Random(1))
    assert tally.winner == "E"
    assert sorted(tally.scores, key=tally.scores.__getitem__, reverse=True) == list("EACBD")


def test_ranked_pairs_lock_majorities_from_the_greatest_to_the_least() -> None:
    # Tideman's rule on a circle: a over b by 5, b over c by 3; c over a, by 1, would close it.
    votes = [
        Ballot("1", ranking(*"abc"), 4),
        Ballot("2", ranking(*"bca"), 3),
        Ballot("3", ranking(*"cab"), 2),
    ]
    tally = ranked_pairs(votes, list("abc"), Random(1))
    assert tally.winner == "a"
    assert tally.trail == ("b over c, 5", "a over b, 3")


@pytest.mark.parametrize("rule", [borda, copeland, minimax, schulze, kemeny, plurality])
def test_condorcets_circle_is_a_tie_of_three(rule: Rule) -> None:
    assert rule(CIRCLE, list("abc"), Random(1)).winners == ("a", "b", "c")


@pytest.mark.parametrize("rule", [plurality, ranked_pairs, instant_runoff], ids=lambda rule: rule.__name__)
def test_a_tie_is_drawn_evenly_by_seed_and_the_draw_is_kept(rule: Rule) -> None:
    winners = Counter(rule(CIRCLE, list("abc"), Random(seed)).winner for seed in range(600))
    assert sorted(winners) == ["a", "b", "c"]
    assert min(winners.values()) > 150
    tally = rule(CIRCLE, list("abc"), Random(3))
    assert tally == rule(CIRCLE, list("abc"), Random(3))
    assert tally.tie_break is not None
    assert sorted(tally.tie_break.order) == ["a", "b", "c"]


def test_without_a_tie_nothing_is_drawn() -> None:
    rng = Random(1)
    before = rng.getstate()
    for kind in RULES.values():
        if kind.name not in ("approval", "score"):
            kind.rule(TENNESSEE, CITIES, rng)
    assert rng.getstate() == before


def test_decimals_that_are_equal_are_equal() -> None:
    votes = [Ballot("1", Choice("a"), 0.1), Ballot("2", Choice("a"), 0.2), Ballot("3", Choice("b"), 0.3)]
    assert plurality(votes, ["a", "b"], Random(1)).winners == ("a", "b")
    grades = ballots_of([Scores({"a": 0.1}), Scores({"a": 0.2}), Scores({"b": 0.3})])
    assert score(grades, ["a", "b"], Random(1)).winners == ("a", "b")


def test_great_and_tiny_weights_are_still_counted_exactly() -> None:
    votes = [
        Ballot("1", ranking("a", "b"), 1e15),
        Ballot("2", ranking("b", "a"), 1e15),
        Ballot("3", ranking("b", "a"), 1e-15),
    ]
    for kind in RULES.values():
        if kind.name not in ("approval", "score", "supermajority", "unanimity"):
            assert kind.rule(votes, ["a", "b"], Random(1)).winners == ("b",), kind.name


def test_two_thirds_are_exact() -> None:
    two_of_three = ballots_of([Choice("a"), Choice("a"), Choice("b")])
    assert supermajority()(two_of_three, ["a", "b"], Random(1)).winner == "a"
    assert supermajority(0.67)(two_of_three, ["a", "b"], Random(1)).winner is None
    with pytest.raises(ConfigurationError, match="more than 1/2"):
        supermajority(Fraction(1, 2))


def test_abstentions_are_not_in_the_base_of_a_majority() -> None:
    votes = ballots_of([Choice("a"), Choice("a"), Choice("b"), Abstention(), Abstention()])
    tally = majority(votes, ["a", "b"], Random(1))
    assert (tally.winner, tally.turnout.voted, tally.turnout.abstained) == ("a", 3, 2)
    assert unanimity(votes, ["a", "b"], Random(1)).winner is None
    assert unanimity([*votes[:2], *votes[3:]], ["a", "b"], Random(1)).winner == "a"


@pytest.mark.parametrize("kind", RULES.values(), ids=lambda kind: kind.name)
def test_where_nobody_votes_nobody_wins(kind: RuleKind) -> None:
    for votes in ([], [Ballot("1", Choice("a"), 0.0)] if Choice in kind.takes else []):
        tally = kind.rule(votes, ["a", "b"], Random(1))
        assert (tally.winner, tally.winners, tally.reason) == (None, (), "nobody voted")


def test_level_tops_share_a_first_place() -> None:
    votes = ballots_of([ranking(("a", "b")), ranking("c"), Approval(("a", "b", "c"))])
    scores = plurality(votes, list("abc"), Random(1)).scores
    assert scores == {"a": pytest.approx(5 / 6), "b": pytest.approx(5 / 6), "c": pytest.approx(4 / 3)}


def test_in_a_run_off_ballots_run_out() -> None:
    votes = [Ballot("1", ranking("a"), 4), Ballot("2", ranking("b"), 3), Ballot("3", ranking("c"), 2)]
    tally = instant_runoff(votes, list("abc"), Random(1))
    assert tally.winner == "a"
    assert tally.trail == ("a 4, b 3, c 2; out: c", "a 4, b 3")


def test_left_out_candidates_share_the_last_place_of_borda() -> None:
    tally = borda(ballots_of([ranking("a")]), list("abc"), Random(1))
    assert tally.scores == {"a": 2.0, "b": 0.5, "c": 0.5}


def test_a_rule_refuses_votes_that_it_cannot_read() -> None:
    with pytest.raises(ConfigurationError, match="this rule needs an approval or a choice"):
        approval(ballots_of([ranking("a")]), ["a"], Random(1))
    with pytest.raises(ConfigurationError, match="needs scores"):
        score(ballots_of([Choice("a")]), ["a"], Random(1))
    with pytest.raises(ConfigurationError, match="Use a rule for numbers"):
        borda(ballots_of([Number(1.0)]), ["a"], Random(1))
    with pytest.raises(ConfigurationError, match="'1' votes for 'z', which is no candidate"):
        plurality(ballots_of([Choice("z")]), ["a"], Random(1))
    with pytest.raises(ConfigurationError, match="'ada' has voted twice"):
        plurality([Ballot("ada", Choice("a")), Ballot("ada", Choice("b"))], ["a", "b"], Random(1))
    with pytest.raises(ConfigurationError, match="stands there twice"):
        plurality([], ["a", "a"], Random(1))
    with pytest.raises(ConfigurationError, match="Give a list of at least one name"):
        plurality([], [], Random(1))


def test_too_many_candidates_are_refused_with_what_to_use_instead() -> None:
    many = [f"c{number}" for number in range(KEMENY_LIMIT + 1)]
    with pytest.raises(ConfigurationError, match="Give at most 14, or use `ranked_pairs`"):
        kemeny(ballots_of([ranking(*many)]), many, Random(1))
    crowd = [f"c{number}" for number in range(RANKED_LIMIT + 1)]
    with pytest.raises(ConfigurationError, match="too many to compare"):
        borda(ballots_of([Choice("c0")]), crowd, Random(1))
    assert plurality(ballots_of([Choice("c0")]), crowd, Random(1)).winner == "c0"


def test_ties_are_broken_by_a_generator_or_an_order_of_all_candidates() -> None:
    votes = ballots_of([Choice("a"), Choice("b")])
    assert plurality(votes, ["a", "b"], ["b", "a"]).winner == "b"
    with pytest.raises(ConfigurationError, match="not one of all of"):
        plurality(votes, ["a", "b"], ["b"])
    with pytest.raises(ConfigurationError, match="seeded generator"):
        plurality(votes, ["a", "b"], None)  # type: ignore[arg-type]  # what a hurried user gives


@pytest.mark.parametrize("rule", [plurality, instant_runoff, ranked_pairs, schulze])
def test_a_kept_tally_is_counted_again_without_its_generator(rule: Rule) -> None:
    tally = rule(CIRCLE, list("abc"), Random(9))
    assert differences(tally, lambda ballots, rng: rule(ballots, tally.candidates, rng)) == []


def test_a_forged_tally_is_found_out() -> None:
    def again(ballots: Sequence[Ballot], rng: Breaker) -> Tally:
        return plurality(ballots, CITIES, rng)

    tally = plurality(TENNESSEE, CITIES, Random(1))
    assert differences(replace(tally, winner="Nashville"), again) == ["winner"]
    assert differences(replace(tally, ballots=tuple(TENNESSEE[1:])), again) != []


def test_ones_own_rule_is_one_function() -> None:
    def longest_name(ballots: Sequence[Ballot], candidates: Sequence[str], rng: Breaker) -> Tally:
        named = {ballot.vote.candidate for ballot in ballots if isinstance(ballot.vote, Choice)}
        return tally_of("longest", ballots, candidates, {c: len(c) * (c in named) for c in candidates}, rng)

    votes = ballots_of([Choice("tea"), Choice("coffee")])
    assert longest_name(votes, ["tea", "coffee", "lemonade"], Random(1)).winner == "coffee"


def test_frameworks_get_their_shape() -> None:
    rankings = {"ann": ["tea", "milk"], "bob": ["milk", "tea"], "cyd": ["milk", ["tea", "water"]]}
    assert Aggregator(schulze).aggregate(["tea", "milk", "water"], rankings) == "milk"
    tally = Aggregator(borda, seed=4).count(["tea", "milk", "water"], rankings)
    assert [ballot.voter for ballot in tally.ballots] == ["ann", "bob", "cyd"]
    with pytest.raises(ConfigurationError, match="nobody wins"):
        Aggregator(unanimity).aggregate(["tea", "milk", "water"], rankings)


def test_a_rule_is_found_by_its_name() -> None:
    assert rule_named("borda") is borda
    assert Choice in votes_taken(approval)
    assert votes_taken(lambda ballots, candidates, rng: tally_of("", ballots, candidates, {}, rng))
    with pytest.raises(ConfigurationError, match=r"there is no rule 'bodra'\. There are: plurality"):
        rule_named("bodra")
