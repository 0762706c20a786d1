"""Tasks sold one after another: a contract net or a single-item sale for each task, in the order of the tasks.

Rules: a bidder bids its gain for a task that it can still carry, whatever comes later. So each sale is the market's
own (`sale.py`, `contract_net.py`) and the sequence is greedy in the order of the tasks: it has no guarantee, and a
bidder that foresees later tasks may gain by waiting, even at second price.

Costs for n bidders and m tasks: m times those of the sale; with m the number of rounds of all sales.
"""

from collections.abc import Callable, Mapping

from coordination.auctions.contract_net import Act, Initiator, Participant, Said
from coordination.auctions.instance import Instance, Room
from coordination.auctions.outcome import Outcome, Traffic, settled
from coordination.auctions.sale import Sold, dutch, english, first_price, ranked, shaded, vickrey

Sale = Callable[[Mapping[int, float]], Sold]
STEPS = 100
"""Increments of an open outcry from 0 to the highest gain."""


def in_sequence(instance: Instance, sale: Sale) -> Outcome:
    """Each task sold in turn."""
    room, traffic = Room(instance), Traffic()
    awards: dict[int, int] = {}
    payments: dict[int, float] = {}
    for task in range(instance.tasks):
        column = instance.gains[:, task]
        bids = {int(bidder): float(column[bidder]) for bidder in room.bidders_for(task).nonzero()[0]}
        if not bids:
            continue
        sold = sale(bids)
        traffic.rounds += sold.rounds
        traffic.say(instance.bidders)  # the announcement
        traffic.say(sold.messages, 2)
        if sold.winner is not None:
            awards[task] = sold.winner
            payments[sold.winner] = payments.get(sold.winner, 0.0) + sold.price
            room.take(sold.winner, task)
    return settled(instance, awards, traffic, payments)


def first_price_sequence(instance: Instance) -> Outcome:
    """Sealed bids at first price, shaded as Vickrey's equilibrium has it: the order of bids is that of gains."""

    def sale(bids: Mapping[int, float]) -> Sold:
        return first_price({bidder: shaded(bid, len(bids)) for bidder, bid in bids.items()})

    return in_sequence(instance, sale)


def vickrey_sequence(instance: Instance) -> Outcome:
    """Sealed bids at second price. Truthful for a bidder that wants one task and does not look ahead."""
    return in_sequence(instance, vickrey)


def english_sequence(instance: Instance) -> Outcome:
    """Rising prices, in a hundred steps from 0 to the highest gain."""
    return in_sequence(instance, lambda bids: english(bids, _step(instance)))


def dutch_sequence(instance: Instance) -> Outcome:
    """Falling prices, in a hundred steps from the highest gain to 0."""
    return in_sequence(instance, lambda bids: dutch(bids, STEPS * _step(instance), _step(instance)))


def _step(instance: Instance) -> float:
    return (float(instance.gains.max()) or 1.0) / STEPS


def contract_nets(instance: Instance) -> Outcome:
    """A contract net for each task: all bidders are called; who cannot carry the task refuses."""
    room, traffic = Room(instance), Traffic()
    awards: dict[int, int] = {}
    names = [str(bidder) for bidder in range(instance.bidders)]
    for task in range(instance.tasks):
        contract = Initiator(names, deadline=2, patience=2, rank=_by_gain)
        column, fits = instance.gains[:, task].tolist(), room.bidders_for(task).tolist()
        said: list[Said] = []
        traffic.say(len(contract.call()))
        for bidder, name in enumerate(names):
            proposal = column[bidder] if fits[bidder] else None
            traffic.say(1, 2)
            said += contract.handle(Said(name, Participant().call(proposal), proposal), now=1)
        if contract.winner is not None:
            winner = Participant()
            winner.handle(Said("initiator", Act.ACCEPT, contract.until), now=1)
            report = winner.report(now=2, done=True)
            assert report is not None, "it held the award"
            said += contract.handle(Said(contract.winner, report), now=2)
            traffic.say(1)
            awards[task] = int(contract.winner)
            room.take(awards[task], task)
        traffic.say(len(said))
        traffic.rounds += 3
    return settled(instance, awards, traffic)


def _by_gain(proposals: Mapping[str, float]) -> list[str]:
    bids = {int(name): gain for name, gain in proposals.items()}
    return [str(bidder) for bidder in ranked(bids)]
