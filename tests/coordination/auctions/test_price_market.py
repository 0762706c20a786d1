"""The epsilon auction by agents: within n eps of the optimum, exact below 1/n, on any number of cells and schedules."""

import asyncio
from typing import Any, Literal

import numpy as np
import pytest

from actors import ConfigurationError, Plan, Role, Swarm
from coordination.auctions import Instance, optimum
from coordination.auctions.price_market import Buyer, Seller, joined, proved, state_of
from coordination.auctions.rows import Hashed

Schedule = Literal["rounds", "free"]


def run(
    size: int, scale: int, schedule: Schedule = "free", cells: int = 1, **buyer: Any
) -> tuple[int, float, int]:
    """Value, bound, and how many tasks are held."""
    sellers = min(3, size)
    market = {"tasks": size, "sellers": sellers}
    plan = Plan(
        roles={
            "buyer": Role(Buyer, count=size, parameters={**market, "scale": scale, **buyer}),
            "seller": Role(Seller, count=sellers, parameters=market),
        },
        schedule=schedule,
        cells=cells,
        on_error="stop",
    )

    async def go() -> tuple[int, float, int]:
        async with Swarm.local(plan) as swarm:
            await swarm.broadcast("buyer")
            assert (await swarm.run(timeout_s=60)).quiet
            answers = [state_of((await swarm.ask(f"seller/{number}")).parts) for number in range(sellers)]
        prices, holders = joined(answers, size)
        return *proved(Hashed(size, buyer.get("highest", 100)), prices, holders, scale), int(
            (holders >= 0).sum()
        )

    return asyncio.run(go())


@pytest.mark.parametrize("schedule", ["rounds", "free"])
@pytest.mark.parametrize("size", [1, 2, 7, 40])
def test_below_one_nth_it_is_exact(size: int, schedule: Schedule) -> None:
    value, bound, held = run(size, size + 1, schedule, cells=2)
    best = optimum(Instance(Hashed(size).of(np.arange(size)))).value
    assert value == best
    assert best <= bound < best + 1
    assert held == size


@pytest.mark.parametrize("width", [2, 5, 32])
def test_above_it_is_within_n_epsilon_however_narrow_the_view(width: int) -> None:
    value, bound, _ = run(60, 2, width=width, highest=1000)
    best = optimum(Instance(Hashed(60, 1000).of(np.arange(60)))).value
    assert value >= best - 60 / 2
    assert best <= bound <= value + 60 / 2


@pytest.mark.parametrize(
    "make", [lambda: Seller(sellers=3, tasks=2), lambda: Buyer(tasks=2, sellers=1, scale=0)]
)
def test_wrong_numbers_are_told(make: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"Give 1 seller|must be 1 or more"):
        make()
