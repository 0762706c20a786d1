"""Offers of several criteria, and reputations that learn."""

import pytest

from actors import ConfigurationError
from coordination.auctions.scoring import Offer, Reputation, Reputations, Weights, best, pareto, scores


def test_weights_decide() -> None:
    offers = {"fine": Offer(10, 9, 5), "cheap": Offer(4, 1, 5), "fast": Offer(4, 9, 1)}
    nobody_known = Reputations()
    assert best(offers, nobody_known, Weights(quality=5))[0] == "fine"
    assert best(offers, nobody_known, Weights(price=5))[0] == "cheap"
    assert best(offers, nobody_known, Weights(latency=5))[0] == "fast"
    assert all(0 <= score <= 1 for score in scores(offers, nobody_known, Weights()).values())
    assert best({}, nobody_known, Weights()) == []


def test_the_pareto_set_holds_what_nobody_beats() -> None:
    offers = {"a": Offer(5, 3, 1), "worse": Offer(5, 4, 1), "b": Offer(1, 1, 9), "same as a": Offer(5, 3, 1)}
    assert pareto(offers, Reputations()) == ["a", "b", "same as a"]


@pytest.mark.parametrize("criterion", ["quality", "price", "latency", "reputation"])
def test_the_best_score_is_in_the_pareto_set(criterion: str) -> None:
    offers = {str(n): Offer(n * 7 % 5, n * 3 % 7, n * 5 % 3) for n in range(12)}
    known = Reputations()
    known.update("3", 1.0)
    weights = Weights(**{criterion: 3.0})
    assert best(offers, known, weights)[0] in pareto(offers, known)


def test_a_liar_is_found_out_and_one_that_mends_is_forgiven() -> None:
    record = Reputation()
    assert record.mean == 0.5
    for _ in range(40):
        record.update(0.0)
    assert record.mean < 0.1
    for _ in range(40):
        record.update(1.0)
    assert record.mean > 0.8


def test_each_outcome_shrinks_those_before_it() -> None:
    record = Reputation()
    for outcome in (1.0, 1.0, 0.25):
        record.update(outcome, memory=0.5)
    assert (record.good, record.bad) == (1.0, 0.75)
    assert record.mean == 2.0 / 3.75


def test_a_reputation_outweighs_a_promise() -> None:
    known = Reputations()
    for _ in range(10):
        known.update("liar", 0.0)
        known.update("honest", 1.0)
    offers = {"liar": Offer(quality=10), "honest": Offer(quality=8)}
    assert best(offers, Reputations(), Weights())[0] == "liar"
    assert best(offers, known, Weights(reputation=2))[0] == "honest"


def test_what_is_no_share_and_no_weight_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="are shares"):
        Reputation().update(2.0)
    with pytest.raises(ConfigurationError, match="above 0"):
        Weights(0, 0, 0, 0)
