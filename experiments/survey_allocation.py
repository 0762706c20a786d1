"""How the modules of a lot are shared out among the surveyors that bid for them.

A surveyor bids its load in bytes, the same for every module of the lot, and a module adds its size to the load of who
gets it. The aim is that loads stay even.

| allocation | how |
|---|---|
| `contract-net` | modules in turn, each to the least load: the LPT rule, at most 4/3 of the best makespan |
| `first-price`, `vickrey`, `english`, `dutch` | the same in turn, as a sale with a price in bytes |
| `cbba` | surveyors build bundles and agree on them; each tires by the bytes that it carries |
| `sequential`, `parallel`, `epsilon` | layers of half as many modules as surveyors, each an assignment at least cost |

In a layer a surveyor gets one module at most, and the cost is the square of the load that it would have: so large
modules go to small loads, and an assignment of least cost is as even as one layer can be.

Rules: all is a function of the bids and sizes; of equal loads the first address wins. CBBA and the assignments run
here, in the auctioneer, on the bids that it received: their own rounds take no time of the survey.
"""

from collections.abc import Mapping

import numpy as np

from coordination.auctions.cbba import Wants, agreed
from coordination.auctions.instance import Instance
from coordination.auctions.mechanism import Setting, allocate
from coordination.auctions.network import Network
from coordination.auctions.sale import dutch, english, first_price, vickrey
from coordination.auctions.sequence import STEPS

DEFAULT = "contract-net"
IN_TURN = (DEFAULT, "first-price", "vickrey", "english", "dutch")
BY_LAYER = ("sequential", "parallel", "epsilon")
ALLOCATIONS = (*IN_TURN, "cbba", *BY_LAYER)

Bids = Mapping[str, Mapping[str, int]]
"""For each module, in order, the loads that were bid, by surveyor."""
Shares = list[tuple[str, str, int]]
"""Modules, in order, with the surveyor and the price, in bytes."""
_FINE = 10**6
"""Costs of a layer are whole numbers up to this."""


def shared_out(allocation: str, bids: Bids, sizes: Mapping[str, int]) -> Shares:
    """Who gets which module, by an allocation of `ALLOCATIONS`. Modules may be left for the next lot."""
    if not bids:
        return []
    if allocation in IN_TURN:
        return _in_turn(allocation, bids, sizes)
    modules = list(bids)
    loads = _loads(bids)
    if allocation == "cbba":
        return _by_bundles(modules, bids, sizes, loads)
    return _by_layer(allocation, bids, sizes, loads)


def _loads(bids: Bids) -> dict[str, int]:
    """The load of each surveyor that bid, in order of address."""
    found: dict[str, int] = {}
    for offers in bids.values():
        found.update(offers)
    return dict(sorted(found.items()))


def _in_turn(allocation: str, bids: Bids, sizes: Mapping[str, int]) -> Shares:
    raised: dict[str, int] = {}
    shares: Shares = []
    for module, offers in bids.items():
        loads = {surveyor: load + raised.get(surveyor, 0) for surveyor, load in sorted(offers.items())}
        winner, price = _sold(allocation, loads)
        raised[winner] = raised.get(winner, 0) + sizes[module]
        shares.append((module, winner, price))
    return shares


def _sold(allocation: str, loads: Mapping[str, int]) -> tuple[str, int]:
    """The winner of one sale among loads, which are costs, and its price."""
    surveyors = list(loads)
    ceiling = max(loads.values()) + 1
    gains = {number: float(ceiling - loads[surveyor]) for number, surveyor in enumerate(surveyors)}
    step = max(1.0, max(gains.values()) / STEPS)
    match allocation:
        case "first-price":
            sold = first_price(gains)
        case "english":
            sold = english(gains, step)
        case "dutch":
            sold = dutch(gains, max(gains.values()), step)
        case _:
            sold = vickrey(gains)
    assert sold.winner is not None, "no gain is below the reserve"
    price = 0 if allocation == DEFAULT else round(ceiling - sold.price)
    return surveyors[sold.winner], price


def _by_bundles(modules: list[str], bids: Bids, sizes: Mapping[str, int], loads: Mapping[str, int]) -> Shares:
    surveyors = list(loads)
    weight = np.array([sizes[module] + 1 for module in modules])  # one more: an empty module is work too
    highest = max(loads.values()) + int(weight.sum()) + 1
    wants: list[Wants] = []
    for number, surveyor in enumerate(surveyors):
        asked = np.array([surveyor in bids[module] for module in modules])
        wants.append(
            Wants(
                number,
                np.where(asked, highest - loads[surveyor] - weight, 0),
                weight,
                float("inf"),
                tires=True,
            )
        )
    run = agreed(wants, Network.complete(len(surveyors)), limit=4 * len(modules) + 4)
    winners = {modules[place]: surveyors[number] for number, own in enumerate(run.bundles) for place in own}
    return [(module, winners[module], 0) for module in modules if module in winners]


def _by_layer(allocation: str, bids: Bids, sizes: Mapping[str, int], loads: Mapping[str, int]) -> Shares:
    surveyors, modules = list(loads), list(bids)
    carried = np.array(list(loads.values()), dtype=float)
    width = max(1, len(surveyors) // 2)
    shares: Shares = []
    for start in range(0, len(modules), width):
        layer = modules[start : start + width]
        weight = np.array([sizes[module] + 1.0 for module in layer])  # one more: an empty module is work too
        after = carried[:, None] - carried.min() + weight[None, :]
        costs = np.round((after / after.max()) ** 2 * _FINE).astype(np.int64)
        asked = np.array([[surveyor in bids[module] for module in layer] for surveyor in surveyors])
        found = allocate(allocation, Setting(Instance(np.where(asked, _FINE + 1 - costs, 0), name="layer")))
        for task, row in found.awards.items():
            if asked[row, task]:
                carried[row] += weight[task]
                shares.append((layer[task], surveyors[row], 0))
    return shares
