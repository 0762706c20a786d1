"""A lot: tasks that are auctioned together, the proposals for them, and who gets what at which price.

Rules:
* A proposal comes from outside. `proposal_of` takes what is well formed and refuses the rest: amounts are finite, at
  least 0 and below `LARGEST_GAIN`; only tasks of the lot count; a bidder has at most `MOST_SEATS` places, and as
  many as it bids for; beyond `MOST_PLACES` of all together a lot takes no more proposals.
* The mechanism sees the bids as an instance: a row a bidder, or for mechanisms that give a bidder one task, a row for
  each of its places. Tasks that nobody bid for are worth nothing there and stay with the market.
* A payment is shared evenly over a bidder's awards of the lot. Awards beyond a bidder's budget are taken back, the
  least gain first.
* Beside each lot stands the optimum over the same bids; one of over `MOST_COMPARED` gains, with a row for each place,
  is not compared.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import isfinite
from random import Random
from typing import Any

import numpy as np

from coordination.auctions.instance import LARGEST_GAIN, Instance
from coordination.auctions.mechanism import MECHANISMS, ONE_TASK_EACH, Setting, allocate
from coordination.auctions.optimum import optimum
from coordination.auctions.outcome import Outcome, Traffic
from coordination.auctions.scoring import Offer, Reputations, Weights, best

MOST_SEATS = 1_000
MOST_PLACES = 10_000
"""Of all proposals of a lot: a mechanism that gives a bidder one task has a row for each."""
MOST_COMPARED = 4_000_000
FORAGING = "foraging"
SCORING = "scoring"
ALLOCATIONS = (*(name for name in MECHANISMS if name not in (FORAGING, "epsilon-gossip")), SCORING, FORAGING)
"""How a market may share out a lot. The epsilon auction by gossip takes rounds in proportion to the gains: too many."""
_MILLI = 1000


@dataclass(frozen=True)
class Proposal:
    """What one bidder says of a lot."""

    bidder: str
    """Its address, where an award goes."""
    name: str
    """The name that it goes by."""
    offers: dict[str, Offer]
    """For each task that it wants: the gain as quality, what it asks as price, and until when."""
    seats: int
    """How many of the tasks it takes."""
    budget: float | None
    """What it can pay; None for anything."""

    @property
    def places(self) -> int:
        """How many tasks it can win: no more than it bids for, whatever it says of its seats."""
        return min(self.seats, len(self.offers))


@dataclass(frozen=True)
class Winner:
    """One task of a lot, awarded."""

    task: str
    bidder: str
    name: str
    gain: float
    """As it was bid."""
    price: float


@dataclass(frozen=True)
class Settled:
    """What became of a lot."""

    winners: tuple[Winner, ...] = ()
    value: float = 0.0
    """Of the bids that won."""
    optimum: float | None = None
    """Of the best awards of the same bids; None if it was not computed."""
    rounds: int = 0
    messages: int = 0
    """Of the mechanism among the bidders, as it would be without the market's own calls."""
    bytes: int = 0
    """Of those messages."""


def proposal_of(bidder: str, body: Any, tasks: Mapping[str, Any]) -> Proposal | None:
    """The proposal in a message's body; None if it is none."""
    if not isinstance(body, dict) or not isinstance(body.get("bids"), dict):
        return None
    seats, budget, name = body.get("seats"), body.get("budget"), body.get("name", bidder)
    if not isinstance(seats, int) or not 1 <= seats <= MOST_SEATS or not isinstance(name, str):
        return None
    if budget is not None and not _is_amount(budget):
        return None
    offers: dict[str, Offer] = {}
    for task, bid in body["bids"].items():
        if task not in tasks or not isinstance(bid, list) or len(bid) != 3 or not all(map(_is_amount, bid)):
            return None
        offers[task] = Offer(*map(float, bid))
    return Proposal(bidder, name, dict(sorted(offers.items())), seats, budget)


def _is_amount(value: Any) -> bool:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return is_number and isfinite(value) and 0 <= value <= LARGEST_GAIN


@dataclass
class Lot:
    """The proposals for some tasks, as they come in."""

    tasks: tuple[str, ...]
    proposals: dict[str, Proposal] = field(default_factory=dict)
    """By bidder; the first of each stands."""
    places: int = 0
    """Of all proposals together."""

    def take(self, proposal: Proposal) -> bool:
        """Adds a proposal; False if the bidder has made one, or the lot is full."""
        if proposal.bidder in self.proposals or self.places + proposal.places > MOST_PLACES:
            return False
        self.proposals[proposal.bidder] = proposal
        self.places += proposal.places
        return True

    def settle(self, allocation: str, reputations: Reputations, weights: Weights, rng: Random) -> Settled:
        """The awards by an allocation of `ALLOCATIONS`."""
        proposals = [self.proposals[bidder] for bidder in sorted(self.proposals)]
        proposals = [proposal for proposal in proposals if proposal.offers]
        if not proposals:
            return Settled()
        if allocation == SCORING:
            return _scored(self.tasks, proposals, reputations, weights)
        if allocation == FORAGING:
            return _taken(self.tasks, proposals, rng)
        return _auctioned(self.tasks, proposals, allocation, rng)


def _scored(
    tasks: Sequence[str], proposals: Sequence[Proposal], reputations: Reputations, weights: Weights
) -> Settled:
    """Each task in turn to the best score among those with a place left."""
    left = {proposal.bidder: proposal.seats for proposal in proposals}
    winners: list[Winner] = []
    for task in tasks:
        by_name: dict[str, Proposal] = {}
        for proposal in proposals:
            if task in proposal.offers and left[proposal.bidder]:
                by_name.setdefault(proposal.name, proposal)
        ranking = best({name: each.offers[task] for name, each in by_name.items()}, reputations, weights)
        if ranking:
            won = by_name[ranking[0]]
            left[won.bidder] -= 1
            offer = won.offers[task]
            winners.append(Winner(task, won.bidder, won.name, offer.quality, offer.price))
    # Sealed bids, as they came: what each bidder says of each task, and the word to each winner.
    said = Traffic()
    said.rounds = 1
    for proposal in proposals:
        said.say(1, 4 * len(proposal.offers))
    said.say(len(winners), 2)
    return _settled(winners, proposals, tasks, said)


def _taken(tasks: Sequence[str], proposals: Sequence[Proposal], rng: Random) -> Settled:
    """Each task to one, drawn at random, of those that took it up and have a place left."""
    left = {proposal.bidder: proposal.seats for proposal in proposals}
    winners: list[Winner] = []
    for task in tasks:
        takers = [proposal for proposal in proposals if task in proposal.offers and left[proposal.bidder]]
        if takers:
            taker = rng.choice(takers)
            left[taker.bidder] -= 1
            winners.append(Winner(task, taker.bidder, taker.name, taker.offers[task].quality, 0.0))
    said = Traffic()
    said.say(2 * sum(len(proposal.offers) for proposal in proposals))  # an attempt and its answer
    return Settled(tuple(winners), sum(winner.gain for winner in winners), None, 1, said.messages, said.bytes)


def _auctioned(tasks: Sequence[str], proposals: Sequence[Proposal], allocation: str, rng: Random) -> Settled:
    owners = [
        proposal
        for proposal in proposals
        for _ in range(proposal.places if allocation in ONE_TASK_EACH else 1)
    ]
    instance, scale = _instance(tasks, owners, seated=allocation in ONE_TASK_EACH)
    found = allocate(allocation, Setting(instance, rng=rng))
    won: dict[str, list[str]] = {}
    paid: dict[str, float] = {}
    for number, amount in found.payments.items():
        paid[owners[number].bidder] = paid.get(owners[number].bidder, 0.0) + amount
    for number, row in found.awards.items():
        if tasks[number] in owners[row].offers:
            won.setdefault(owners[row].bidder, []).append(tasks[number])
    by_bidder = {proposal.bidder: proposal for proposal in proposals}
    winners: list[Winner] = []
    for bidder in sorted(won):
        proposal = by_bidder[bidder]
        price = paid.get(bidder, 0.0) / scale / len(won[bidder])
        left = proposal.budget
        for task in sorted(won[bidder], key=lambda task: (-by_bidder[bidder].offers[task].quality, task)):
            if left is None or price <= left:
                winners.append(Winner(task, bidder, proposal.name, proposal.offers[task].quality, price))
                left = None if left is None else left - price
    return _settled(winners, proposals, tasks, found)


def _settled(
    winners: list[Winner], proposals: Sequence[Proposal], tasks: Sequence[str], cost: Outcome | Traffic
) -> Settled:
    value = sum(winner.gain for winner in winners)
    greatest = None
    if sum(proposal.places for proposal in proposals) * len(tasks) <= MOST_COMPARED:
        instance, _ = _instance(tasks, proposals, seated=False)
        awards = optimum(instance).awards
        greatest = sum(
            proposals[row].offers[tasks[number]].quality
            for number, row in awards.items()
            if tasks[number] in proposals[row].offers
        )
    ordered = tuple(sorted(winners, key=lambda winner: winner.task))
    return Settled(ordered, value, greatest, cost.rounds, cost.messages, cost.bytes)


def _instance(tasks: Sequence[str], rows: Sequence[Proposal], *, seated: bool) -> tuple[Instance, int]:
    """Rows of gains, whole or in thousandths, and by what they were multiplied."""
    column = {task: number for number, task in enumerate(tasks)}
    gains = np.zeros((len(rows), len(tasks)))
    for row, proposal in enumerate(rows):
        for task, offer in proposal.offers.items():
            gains[row, column[task]] = offer.quality
    scale = 1 if (gains == np.floor(gains)).all() else _MILLI
    whole = np.minimum(np.round(gains * scale), LARGEST_GAIN).astype(np.int64)
    if seated:
        return Instance(whole, name="lot"), scale
    seats = np.array([proposal.places for proposal in rows], np.int64)
    return Instance(whole, np.ones_like(whole), seats, name="lot"), scale
