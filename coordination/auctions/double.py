"""McAfee's double auction: many buyers, many sellers, one unit each.

McAfee, "A dominant strategy double auction", Journal of Economic Theory 56 (1992). Bids b1 >= b2 >= ... and asks
s1 <= s2 <= ...; k is the last at which b_k >= s_k. If the mean p of b_(k+1) and s_(k+1) lies between s_k and b_k, all k
pairs trade at p. Else k - 1 pairs trade: buyers pay b_k, sellers get s_k, and the auctioneer keeps the difference.

Guarantee: truth is dominant, nobody loses, the auctioneer never pays in, and at most the least valuable of the trades
that should be made is lost. Cost: one round, two messages a trader. Of equal ones the first goes first.
"""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Trade:
    """What was traded at which prices."""

    pairs: tuple[tuple[int, int], ...]
    """(buyer, seller)"""
    buyers_pay: float
    sellers_get: float
    efficient: int
    """k: how many trades would be made if all were told the truth and nobody had to be kept honest."""

    @property
    def surplus(self) -> float:
        """What the auctioneer keeps."""
        return len(self.pairs) * (self.buyers_pay - self.sellers_get)


def mcafee(bids: Sequence[float], asks: Sequence[float]) -> Trade:
    """The trades among buyers with `bids` and sellers with `asks`."""
    buyers = sorted(range(len(bids)), key=lambda buyer: (-bids[buyer], buyer))
    sellers = sorted(range(len(asks)), key=lambda seller: (asks[seller], seller))
    ranks = min(len(bids), len(asks))
    k = next((r for r in range(ranks) if bids[buyers[r]] < asks[sellers[r]]), ranks)
    if k == 0:
        return Trade((), 0.0, 0.0, 0)
    low, high = asks[sellers[k - 1]], bids[buyers[k - 1]]
    if k < ranks:
        price = (bids[buyers[k]] + asks[sellers[k]]) / 2
        if low <= price <= high:
            return Trade(tuple(zip(buyers[:k], sellers[:k], strict=True)), price, price, k)
    return Trade(tuple(zip(buyers[: k - 1], sellers[: k - 1], strict=True)), high, low, k)


def gains_from_trade(bids: Sequence[float], asks: Sequence[float], trade: Trade) -> float:
    """What buyers and sellers together are better off by."""
    return float(sum(bids[buyer] - asks[seller] for buyer, seller in trade.pairs))


def most_gains(bids: Sequence[float], asks: Sequence[float]) -> float:
    """The greatest gains that any trades have."""
    pairs = zip(sorted(bids, reverse=True), sorted(asks), strict=False)
    return float(sum(max(0.0, bid - ask) for bid, ask in pairs))
