"""Ballots: what they may say, and that what comes from outside is checked."""

from typing import Any

import pytest

from actors import ConfigurationError
from coordination.voting import (
    Abstention,
    Approval,
    Ballot,
    Choice,
    Number,
    Ranking,
    Scores,
    Vector,
    Vote,
    ballot_data,
    ballot_from,
    ranking,
)

VOTES: list[Vote] = [
    Choice("a"),
    Approval(("a", "b")),
    Approval(()),
    Scores({"a": 1.5, "b": -2}),
    ranking("a", ("b", "c")),
    Number(0.1),
    Vector((1.0, -2.5)),
    Abstention(),
]


@pytest.mark.parametrize("vote", VOTES)
def test_a_ballot_goes_over_the_wire_and_back(vote: Vote) -> None:
    ballot = Ballot("ada", vote, 2.5, 0.75)
    assert ballot_from(ballot_data(ballot)) == ballot


@pytest.mark.parametrize(
    "data",
    [
        None,
        7,
        {},
        {"voter": "ada"},
        {"voter": "ada", "vote": {"type": "coup"}},
        {"voter": "ada", "vote": {"type": "choice", "candidate": 7}},
        {"voter": "ada", "vote": {"type": "choice", "candidate": ""}},
        {"voter": "", "vote": {"type": "abstention"}},
        {"voter": "ada", "vote": {"type": "abstention"}, "weight": -1},
        {"voter": "ada", "vote": {"type": "abstention"}, "weight": float("nan")},
        {"voter": "ada", "vote": {"type": "abstention"}, "confidence": 1.5},
        {"voter": "ada", "vote": {"type": "number", "value": float("nan")}},
        {"voter": "ada", "vote": {"type": "number", "value": float("inf")}},
        {"voter": "ada", "vote": {"type": "number", "value": 1e200}},
        {"voter": "ada", "vote": {"type": "vector", "values": []}},
        {"voter": "ada", "vote": {"type": "vector", "values": [1.0, "2"]}},
        {"voter": "ada", "vote": {"type": "ranking", "tiers": [["a"], ["a"]]}},
        {"voter": "ada", "vote": {"type": "ranking", "tiers": [["a"], []]}},
        {"voter": "ada", "vote": {"type": "approval", "candidates": ["a", "a"]}},
        {"voter": "ada", "vote": {"type": "scores", "values": {"a": float("-inf")}}},
        {"voter": "a" * 10_001, "vote": {"type": "abstention"}},
    ],
)
def test_what_is_no_ballot_is_refused(data: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"Give|Leave|Name"):
        ballot_from(data)


def test_an_error_names_who_and_the_mend() -> None:
    with pytest.raises(ConfigurationError, match=r"the weight of 'ada' is -2\. Give 0 or more"):
        Ballot("ada", Choice("a"), -2)
    with pytest.raises(ConfigurationError, match=r"'tea' stands there twice\. Name each candidate once"):
        ranking("tea", "milk", "tea")


def test_a_ranking_is_written_as_one_speaks() -> None:
    assert ranking("a", ["b", "c"], "d") == Ranking((("a",), ("b", "c"), ("d",)))
