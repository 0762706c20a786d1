"""McAfee: never a deficit, truthful and rational by search, and at most one trade lost."""

import pytest

from coordination.auctions.double import Trade, gains_from_trade, mcafee, most_gains
from tests.coordination.auctions.markets import rng_of


def market(seed: int) -> tuple[list[float], list[float]]:
    rng = rng_of(seed)
    buyers, sellers = rng.integers(0, 8, size=2)
    return rng.integers(0, 30, size=buyers).tolist(), rng.integers(0, 30, size=sellers).tolist()


def buyer_gain(trade: Trade, buyer: int, value: float) -> float:
    return value - trade.buyers_pay if any(pair[0] == buyer for pair in trade.pairs) else 0.0


def seller_gain(trade: Trade, seller: int, cost: float) -> float:
    return trade.sellers_get - cost if any(pair[1] == seller for pair in trade.pairs) else 0.0


@pytest.mark.parametrize("seed", range(300))
def test_there_is_never_a_deficit_and_nobody_loses(seed: int) -> None:
    bids, asks = market(seed)
    trade = mcafee(bids, asks)
    assert trade.surplus >= 0
    assert all(buyer_gain(trade, buyer, bid) >= 0 for buyer, bid in enumerate(bids))
    assert all(seller_gain(trade, seller, ask) >= 0 for seller, ask in enumerate(asks))
    assert len({buyer for buyer, _ in trade.pairs}) == len({s for _, s in trade.pairs}) == len(trade.pairs)


@pytest.mark.parametrize("seed", range(300))
def test_only_the_least_valuable_trade_is_lost(seed: int) -> None:
    bids, asks = market(seed)
    trade = mcafee(bids, asks)
    assert trade.efficient - len(trade.pairs) in (0, 1)
    each = sorted(
        bid - ask for bid, ask in zip(sorted(bids, reverse=True), sorted(asks), strict=False) if bid >= ask
    )
    lost = most_gains(bids, asks) - gains_from_trade(bids, asks, trade)
    assert 0 <= lost <= (each[0] if each else 0)


@pytest.mark.parametrize("seed", range(60))
def test_no_lie_pays(seed: int) -> None:
    bids, asks = market(seed)
    honest = mcafee(bids, asks)
    for lie in range(0, 32, 3):
        for buyer, value in enumerate(bids):
            told = mcafee([*bids[:buyer], lie, *bids[buyer + 1 :]], asks)
            assert buyer_gain(told, buyer, value) <= buyer_gain(honest, buyer, value)
        for seller, cost in enumerate(asks):
            told = mcafee(bids, [*asks[:seller], lie, *asks[seller + 1 :]])
            assert seller_gain(told, seller, cost) <= seller_gain(honest, seller, cost)


def test_all_pairs_trade_where_one_price_suits_them() -> None:
    trade = mcafee([9, 8, 4], [2, 3, 7])
    assert trade == Trade(((0, 0), (1, 1)), 5.5, 5.5, 2)


def test_else_the_last_pair_is_given_up_and_the_rest_pays_its_prices() -> None:
    trade = mcafee([9, 5, 1], [2, 4, 4])
    assert trade == Trade(((0, 0),), 5, 4, 2)
    assert trade.surplus == 1
