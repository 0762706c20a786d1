"""Contradictions are found where there are any, and settled by the rule that says it settled them."""

from itertools import permutations

import pytest

from memory.errors import InvalidItem
from memory.fact import Fact, SettlingRules, contradictions, fact_attributes, fact_of, settle, settle_all
from tests.memory.turns import fact, item_of


def lives(number: int, place: str, **fields: object) -> Fact:
    told = {"recorded_at": float(number), "source": "a", **fields}
    return Fact(number, "Ada", "lives in", place, **told)  # type: ignore[arg-type]  # the fields are the test's own


def test_a_fact_is_read_from_its_item_and_nothing_else_is_one() -> None:
    item = fact(3, "Ada", "lives in", "Turin", source="ada", trust=0.9, valid_from=5.0)
    assert fact_of(item) == Fact(3, "Ada", "lives in", "Turin", 5.0, None, 0.0, "ada", 0.9)
    assert fact_of(item_of(1, "Ada lives in Turin")) is None
    assert fact_attributes("Ada", "age", "36", literal=True)["literal"] is True
    with pytest.raises(InvalidItem, match="the object of a fact"):
        fact_attributes("Ada", "lives in", "  ")


def test_two_places_at_one_time_contradict_but_not_two_likes_nor_two_times() -> None:
    assert contradictions([lives(1, "Turin"), lives(2, "Ghent")]) == [(lives(1, "Turin"), lives(2, "Ghent"))]
    assert contradictions([Fact(1, "Ada", "likes", "tea"), Fact(2, "Ada", "likes", "rain")]) == []
    assert contradictions([lives(1, "Turin", valid_to=2.0), lives(2, "Ghent")]) == []
    assert contradictions([lives(1, "Turin"), lives(2, "the  TURIN")]) == []
    assert contradictions([lives(1, "Turin"), Fact(2, "Bo", "lives in", "Ghent")]) == []


def test_recency_closes_what_held_before_at_the_time_of_the_new() -> None:
    settled = settle([lives(1, "Turin", valid_from=10.0), lives(2, "Ghent", valid_from=50.0)])
    assert (settled.kept.id, settled.rule, settled.valid_to) == (2, "recency", 50.0)
    assert [each.id for each in settled.superseded] == [1]


def test_trust_goes_before_recency_only_beyond_its_margin() -> None:
    old = lives(1, "Turin", trust=0.9)
    settled = settle([old, lives(2, "Ghent", trust=0.2)])
    assert (settled.kept.id, settled.rule, settled.valid_to) == (1, "trust", None)
    assert settle([old, lives(2, "Ghent", trust=0.8)]).rule == "recency"


def test_a_vote_counts_each_source_once() -> None:
    rules = SettlingRules(order=("vote",))
    loud = [lives(number, "Turin", source="a") for number in (1, 2, 3)]
    quiet = [lives(4, "Ghent", source="b"), lives(5, "Ghent", source="c")]
    settled = settle([*loud, *quiet], rules)
    assert (settled.kept.object, settled.rule) == ("Ghent", "vote")
    assert [each.id for each in settled.superseded] == [1, 2, 3]


def test_where_no_rule_can_tell_the_last_record_stands_and_it_is_said() -> None:
    clashing = [lives(1, "Turin", valid_from=0.0), lives(2, "Ghent", valid_from=0.0, source="b")]
    settled = settle(clashing)
    assert (settled.kept.id, settled.rule) == (2, "record")


def test_the_order_in_which_facts_come_changes_nothing() -> None:
    clashing = [
        lives(1, "Turin"), lives(2, "Ghent", source="b"), lives(3, "Cork", source="b"), lives(4, "Turin", source="c")
    ]  # fmt: skip
    for rules in (None, SettlingRules(order=("vote",)), SettlingRules(order=())):
        assert len({str(settle_all(order, rules)) for order in permutations(clashing)}) == 1


def test_what_is_settled_and_carried_out_is_not_found_again() -> None:
    one, two = lives(1, "Turin", valid_from=10.0), lives(2, "Ghent", valid_from=50.0)
    (settled,) = settle_all([one, two])
    closed = [
        lives(each.id, each.object, valid_from=each.since, valid_to=settled.valid_to)
        for each in settled.superseded
    ]
    assert settle_all([settled.kept, *closed]) == []


def test_rules_and_facts_that_make_no_sense_are_refused() -> None:
    with pytest.raises(InvalidItem, match="at most once"):
        SettlingRules(order=("vote", "vote"))
    with pytest.raises(InvalidItem, match="trust_margin"):
        SettlingRules(trust_margin=2.0)
    with pytest.raises(InvalidItem, match="nothing to settle"):
        settle([lives(1, "Turin"), lives(2, "Turin")])
