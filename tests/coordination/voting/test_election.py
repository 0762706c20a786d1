"""Electorates, quorums and polls: who counts, whether enough came, and when it is too late."""

from math import inf
from random import Random
from typing import Literal

import pytest

from actors import ConfigurationError
from coordination.quorum import Joint, Weighted, majority
from coordination.voting import (
    Abstention,
    Approval,
    Ballot,
    Choice,
    Election,
    Electorate,
    Number,
    Poll,
    Scores,
    Survey,
    Vector,
    approval,
    ballots_of,
    borda,
    by_confidence,
    differences,
    krum,
    median,
    plurality,
    ranking,
    score,
)
from coordination.voting.poll import REFUSALS_LIMIT

FIVE = ("ann", "bob", "cyd", "dan", "eve")


def votes(**choices: str) -> list[Ballot]:
    return [Ballot(voter, Choice(choice)) for voter, choice in choices.items()]


def election(**electorate: object) -> Election:
    return Election(plurality, ("x", "y"), Electorate(FIVE, **electorate))  # type: ignore[arg-type]  # by name


# --- Quorum and weights -----------------------------------------------------------------------------------------


def test_without_a_quorum_nobody_wins_and_the_scores_are_shown() -> None:
    order = election(quorum=majority(range(5)))
    missed = order.count(votes(ann="x", eve="x"), Random(1))
    assert (missed.winner, missed.winners, missed.quorum_met) == (None, (), False)
    assert missed.reason == "the quorum is missed"
    assert missed.scores == {"x": 2, "y": 0}
    met = order.count(votes(ann="x", eve="x", dan="y"), Random(1))
    assert (met.winner, met.quorum_met, met.turnout.eligible) == ("x", True, 5)


def test_abstainers_are_present_unless_the_quorum_is_of_those_who_vote() -> None:
    ballots = [*votes(ann="x", bob="x"), Ballot("cyd", Abstention())]
    assert election(quorum=majority(range(5))).count(ballots, Random(1)).quorum_met
    assert not election(quorum=majority(range(5)), present="voted").count(ballots, Random(1)).quorum_met


def test_weighted_and_joint_quorums_serve_votes_too() -> None:
    heavy = election(quorum=Weighted({0: 10, 1: 1, 2: 1, 3: 1, 4: 1}))
    assert heavy.count(votes(ann="x"), Random(1)).quorum_met
    assert not heavy.count(votes(bob="x", cyd="x", dan="x", eve="x"), Random(1)).quorum_met
    halves = election(quorum=Joint(majority((0, 1, 2)), majority((2, 3, 4))))
    assert not halves.count(votes(ann="x", bob="x"), Random(1)).quorum_met
    assert halves.count(votes(ann="x", cyd="x", dan="x"), Random(1)).quorum_met


def test_a_quorum_over_strangers_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="from 0: majority"):
        Electorate(FIVE, majority(range(1, 6)))
    with pytest.raises(ConfigurationError, match="Give `eligible`"):
        Electorate(None, majority(range(5)))


def test_a_weighting_counts_and_the_ballots_stay_as_cast() -> None:
    ballots = [
        Ballot("ann", Choice("x"), 1, 0.9),
        Ballot("bob", Choice("y"), 1, 0.3),
        Ballot("cyd", Choice("y"), 1, 0.4),
    ]
    order = election(weighting=by_confidence)
    tally = order.count(ballots, Random(1))
    assert tally.winner == "x"
    assert tally.weights == (0.9, 0.3, 0.4)
    assert tally.ballots == tuple(ballots)
    assert differences(tally, order.count) == []


def test_strangers_may_not_vote() -> None:
    with pytest.raises(ConfigurationError, match="'zoe' may not vote"):
        election().count(votes(zoe="x"), Random(1))


def test_an_open_election_has_the_candidates_that_are_named() -> None:
    tally = Election(plurality).count(votes(ann="tea", bob="milk", cyd="tea"), Random(1))
    assert (tally.candidates, tally.winner) == (("milk", "tea"), "tea")
    empty = Election(plurality).count([Ballot("ann", Abstention())], Random(1))
    assert (empty.candidates, empty.winner, empty.reason) == ((), None, "nobody voted")
    assert empty.scores == {}


def test_a_bad_ballot_is_known_before_the_count() -> None:
    assert election().refuses(Ballot("zoe", Choice("x"))) == "may not vote"
    assert election().refuses(Ballot("ann", Choice("z"))) == "votes for 'z', which is no candidate"
    assert election().refuses(Ballot("ann", Number(1))).startswith("casts a Number, not one of Choice")
    assert election().refuses(Ballot("ann", Abstention())) == ""
    assert Election(approval, ("x",)).refuses(Ballot("ann", ranking("x"))) != ""
    assert Election(approval, ("x",)).refuses(Ballot("ann", Approval(("x",)))) == ""
    assert Election(score, ("x",)).refuses(Ballot("ann", Scores({"x": 1}))) == ""
    assert (
        Election(borda).refuses(Ballot("ann", ranking("x", "y"))) != ""
    )  # open: one ballot names one candidate
    assert Survey(median).refuses(Ballot("ann", Number(1))) == ""
    assert Survey(median).refuses(Ballot("ann", Choice("x"))) == "casts a Choice, not a Number"
    assert (
        Survey(median, 2).refuses(Ballot("ann", Vector((1, 2, 3))))
        == "casts a Vector of 3 coordinates, not 2"
    )
    assert Survey(median, 2).refuses(Ballot("ann", Vector((1, 2)))) == ""


def test_an_open_election_by_a_rule_that_takes_no_choices_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="Give `candidates`"):
        Election(score)


def test_a_weighting_must_give_weights() -> None:
    with pytest.raises(ConfigurationError, match="the weight of 'ann' is -1"):
        election(weighting=lambda ballot: -1).count(votes(ann="x"), Random(1))


def test_a_survey_has_a_quorum_too() -> None:
    survey = Survey(median, electorate=Electorate(FIVE, majority(range(5))))
    assert survey.count([Ballot("ann", Number(3))]).value is None
    assert survey.count([Ballot(name, Number(3)) for name in FIVE[:3]]).value == 3
    assert Survey(krum(1)).plain().electorate == Electorate()


# --- Polls ------------------------------------------------------------------------------------------------------


def poll(second: Literal["refuse", "replace", "void"] = "refuse", closes_at: float = 10.0) -> Poll:
    return Poll(election(), closes_at=closes_at, opens_at=1.0, second=second)


def test_a_poll_takes_ballots_until_its_deadline() -> None:
    asked = poll()
    assert not asked.cast(votes(ann="x")[0], 0.5).taken
    assert asked.cast(votes(ann="x")[0], 1.0).taken
    assert asked.cast(votes(bob="y")[0], 9.99).taken
    assert asked.cast(votes(cyd="y")[0], 10.0).reason == "comes after the poll has closed"
    assert [refusal.reason for refusal in asked.refusals] == [
        "comes before the poll opens at 1.0",
        "comes after the poll has closed",
    ]
    result = asked.result(10.0, Random(1))
    assert [ballot.voter for ballot in result.ballots] == ["ann", "bob"]


def test_an_open_poll_has_no_result() -> None:
    asked = poll()
    asked.cast(votes(ann="x")[0], 2)
    with pytest.raises(ConfigurationError, match="open until 10"):
        asked.result(5, Random(1))


def test_a_poll_closes_when_all_have_voted() -> None:
    asked = poll(closes_at=inf)
    for time, name in enumerate(FIVE, start=1):
        assert not asked.is_closed(time)
        assert asked.cast(votes(**{name: "x"})[0], time).taken
    assert asked.is_closed(5)
    assert asked.result(5, Random(1)).turnout.voted == 5


@pytest.mark.parametrize(
    ("second", "taken", "counted"),
    [("refuse", False, Choice("x")), ("replace", True, Choice("y")), ("void", True, Abstention())],
)
def test_a_second_ballot_is_treated_as_configured(
    second: Literal["refuse", "replace", "void"], taken: bool, counted: object
) -> None:
    asked = poll(second)
    asked.cast(votes(ann="x")[0], 2)
    assert asked.cast(votes(ann="x")[0], 3).taken  # a repeated message
    assert asked.cast(votes(ann="y")[0], 4).taken is taken
    assert [ballot.vote for ballot in asked.ballots] == [counted]


def test_where_second_ballots_are_void_the_order_in_which_they_come_does_not_matter() -> None:
    ballots = [*votes(ann="x", bob="y"), *votes(ann="y"), *votes(ann="x", cyd="x")]
    results = set()
    for seed in range(20):
        shuffled = list(ballots)
        Random(seed).shuffle(shuffled)
        asked = poll("void")
        for ballot in shuffled:
            asked.cast(ballot, 2)
        results.add(asked.ballots)
    assert len(results) == 1


def test_time_does_not_go_back() -> None:
    asked = poll()
    asked.cast(votes(ann="x")[0], 5)
    with pytest.raises(ConfigurationError, match="time goes back from 5 to 4"):
        asked.is_closed(4)


def test_a_poll_that_might_never_close_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="Give a later `closes_at`"):
        Poll(election(), closes_at=0.0, opens_at=1.0)
    with pytest.raises(ConfigurationError, match="infinite only where"):
        Poll(Election(plurality), closes_at=inf)
    with pytest.raises(ConfigurationError, match="infinite only where"):
        Poll(election(), closes_at=inf, second="replace")


def test_refused_ballots_are_kept_up_to_a_limit_and_all_counted() -> None:
    asked = poll()
    for _ in range(REFUSALS_LIMIT + 5):
        asked.cast(Ballot("zoe", Choice("x")), 2)
    assert (len(asked.refusals), asked.refused) == (REFUSALS_LIMIT, REFUSALS_LIMIT + 5)


def test_a_bad_ballot_does_not_stop_the_count() -> None:
    asked = Poll(Survey(median), closes_at=5)
    for ballot in ballots_of([Number(1), Choice("x"), Vector((1.0,)), Number(3)]):
        asked.cast(ballot, 1)
    assert asked.refused == 2
    result = asked.result(5, Random(1))
    assert [ballot.voter for ballot in result.ballots] == ["1", "4"]
