"""Lots: what is taken for a proposal, and who wins what at which price."""

from random import Random
from typing import Any

import pytest

from coordination.auctions import lot as module
from coordination.auctions.lot import ALLOCATIONS, MOST_SEATS, Lot, Proposal, Settled, proposal_of
from coordination.auctions.scoring import Offer, Reputations, Weights
from tests.coordination.auctions.markets import rng_of

TASKS = {"a": None, "b": None}


def body(**changes: Any) -> dict[str, Any]:
    return {"bids": {"a": [5, 0, 1]}, "seats": 1, "budget": None, "name": "me", **changes}


def test_a_proposal_is_read() -> None:
    assert proposal_of("x/1", body(), TASKS) == Proposal("x/1", "me", {"a": Offer(5, 0, 1)}, 1, None)


@pytest.mark.parametrize(
    "broken",
    [
        None,
        "bid",
        {},
        body(bids=[1]),
        body(bids={"unknown": [1, 1, 1]}),
        body(bids={"a": [1, 1]}),
        body(bids={"a": [float("nan"), 1, 1]}),
        body(bids={"a": [-1, 1, 1]}),
        body(bids={"a": [2**50, 1, 1]}),
        body(bids={"a": ["9", 1, 1]}),
        body(bids={"a": [True, 1, 1]}),
        body(seats=0),
        body(seats=10**9),
        body(seats=1.5),
        body(budget=-1),
        body(name=7),
    ],
)
def test_what_is_none_is_refused(broken: Any) -> None:
    assert proposal_of("x/1", broken, TASKS) is None


def lot_of(
    seed: int, bidders: int = 6, tasks: int = 8, budget: float | None = None, whole: bool = True
) -> Lot:
    rng = rng_of(seed)
    names = tuple(f"t{number}" for number in range(tasks))
    lot = Lot(names)
    for number in range(bidders):
        gains = rng.integers(1, 50, size=tasks) * (1 if whole else 0.37)
        offers = {
            task: Offer(float(gain), 0.0, 1.0)
            for task, gain in zip(names, gains, strict=True)
            if rng.random() < 0.8
        }
        lot.proposals[f"b/{number}"] = Proposal(f"b/{number}", f"b/{number}", offers, 1 + number % 3, budget)
    return lot


def settled(lot: Lot, allocation: str) -> Settled:
    return lot.settle(allocation, Reputations(), Weights(), Random(1))


@pytest.mark.parametrize("allocation", ALLOCATIONS)
@pytest.mark.parametrize("whole", [True, False])
def test_every_allocation_keeps_to_bids_places_and_gains(allocation: str, whole: bool) -> None:
    for seed in range(4):
        lot = lot_of(seed, whole=whole)
        found = settled(lot, allocation)
        assert len({winner.task for winner in found.winners}) == len(found.winners) > 0
        for bidder, proposal in lot.proposals.items():
            won = [winner for winner in found.winners if winner.bidder == bidder]
            assert len(won) <= proposal.seats
            assert all(winner.task in proposal.offers for winner in won)
            paid, gain = sum(winner.price for winner in won), sum(winner.gain for winner in won)
            assert paid <= gain + len(won) * 0.01, f"seed {seed}: {bidder} pays {paid} for {gain}"
        if found.optimum is not None:
            assert found.value <= found.optimum + 1e-6
            if allocation in ("vcg", "epsilon", "combinatorial"):
                assert found.value == pytest.approx(found.optimum, abs=0.01)


@pytest.mark.parametrize("allocation", ["vickrey", "first-price", "vcg", "epsilon"])
def test_nobody_is_made_to_pay_more_than_its_budget(allocation: str) -> None:
    dropped = 0
    for seed in range(6):
        free, bound = settled(lot_of(seed), allocation), settled(lot_of(seed, budget=12.0), allocation)
        for bidder in {winner.bidder for winner in bound.winners}:
            assert sum(winner.price for winner in bound.winners if winner.bidder == bidder) <= 12.0
        dropped += len(free.winners) - len(bound.winners)
    assert dropped > 0


@pytest.mark.parametrize("allocation", ALLOCATIONS)
def test_a_lot_without_proposals_comes_to_nothing(allocation: str) -> None:
    lot = Lot(("a",))
    assert settled(lot, allocation) == Settled()
    lot.proposals["x"] = Proposal("x", "x", {}, 1, None)
    assert settled(lot, allocation) == Settled()


def test_a_bidder_has_as_many_places_as_it_bids_for_whatever_it_says() -> None:
    """Else a few words of a bidder would cost the market the memory of thousands of rows."""
    lot = Lot(tuple(f"t{number}" for number in range(200)))
    for number in range(100):
        offers = {f"t{number}": Offer(5.0), f"t{number + 1}": Offer(5.0)}
        assert lot.take(Proposal(f"b/{number}", "b", offers, MOST_SEATS, None))
    assert lot.places == 200
    assert settled(lot, "epsilon").value == 5 * 101


def test_a_full_lot_takes_no_more_proposals_and_each_bidder_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_PLACES", 3)
    lot = Lot(("a", "b"))
    both = {"a": Offer(1.0), "b": Offer(2.0)}
    assert lot.take(Proposal("x", "x", both, 2, None))
    assert not lot.take(Proposal("x", "x", {"a": Offer(1.0)}, 1, None))
    assert not lot.take(Proposal("y", "y", both, 2, None))
    assert lot.take(Proposal("z", "z", both, 1, None))
    assert list(lot.proposals) == ["x", "z"]


def test_scoring_looks_at_reputations() -> None:
    lot = Lot(("a",))
    lot.proposals["liar"] = Proposal("liar", "liar", {"a": Offer(9)}, 1, None)
    lot.proposals["true"] = Proposal("true", "true", {"a": Offer(8)}, 1, None)
    known = Reputations()
    for _ in range(9):
        known.update("liar", 0.0)
        known.update("true", 1.0)
    weights = Weights(quality=1, reputation=3)
    assert lot.settle("scoring", Reputations(), weights, Random(1)).winners[0].bidder == "liar"
    assert lot.settle("scoring", known, weights, Random(1)).winners[0].bidder == "true"
