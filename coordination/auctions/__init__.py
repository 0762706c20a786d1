"""Markets: tasks allocated by auction, measured against the optimum."""

from coordination.auctions.instance import Instance, generated
from coordination.auctions.mechanism import MECHANISMS, Setting, allocate
from coordination.auctions.network import Network
from coordination.auctions.optimum import Optimum, optimum
from coordination.auctions.orlib import load_instances
from coordination.auctions.outcome import Outcome, gap

__all__ = [
    "MECHANISMS",
    "Instance",
    "Network",
    "Optimum",
    "Outcome",
    "Setting",
    "allocate",
    "gap",
    "generated",
    "load_instances",
    "optimum",
]
