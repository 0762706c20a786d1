"""Runs of one auction: on a kept instance, on rows made when they are asked for, by agents, and over growing sizes.

Rules: a mechanism is timed alone; what it is compared with is computed beside it, by other means. A result that its own
proof does not bear out is an error, never a figure.
"""

import resource
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from random import Random

import numpy as np
from rich.table import Table

from actors import Plan, Role
from benchmarks.cost_curve import Curve, Point, draw, slope
from benchmarks.outcome import Outcome, rounded
from benchmarks.place import Place, running
from coordination.auctions.epsilon import WIDTH, assign
from coordination.auctions.instance import Instance, generated
from coordination.auctions.mechanism import Setting, allocate
from coordination.auctions.network import Network
from coordination.auctions.optimum import optimum
from coordination.auctions.outcome import Traffic, gap
from coordination.auctions.price_market import Buyer, Seller, joined, proved, state_of
from coordination.auctions.rows import Hashed

KEPT = 2_000
"""Bidders up to which all gains are kept in memory: 32 MB of them."""
_LIMIT_S = 600.0
_SLOW_S = 3.0
"""A mechanism that keeps all gains and took longer is not run on larger markets."""
SCALED = ("epsilon", "sequential", "parallel", "contract-net", "vcg", "cbba")


def measure(instance: Instance, mechanism: str, network: Network | None, seed: int) -> Outcome:
    """One mechanism on one instance."""
    began = time.perf_counter()
    found = allocate(mechanism, Setting(instance, network, Random(seed)))
    seconds = time.perf_counter() - began
    best = optimum(instance)
    figures = {
        "value": found.value,
        "optimum": best.bound,
        "gap": rounded(gap(instance, found, best.bound)),
        "rounds": found.rounds,
        "messages": found.messages,
        "bytes": found.bytes,
        "seconds": rounded(seconds),
        "awarded": len(found.awards),
        "paid": rounded(sum(found.payments.values())),
        "optimum_is_exact": int(best.is_exact),
    }
    sense = "value, to be maximised" if instance.ceiling is None else "cost, to be minimised"
    notes = [f"{mechanism} on {instance.name}: {instance.bidders} bidders, {instance.tasks} tasks; {sense}."]
    if instance.ceiling is not None and len(found.awards) < min(instance.bidders, instance.tasks):
        notes.append(f"Each task that nobody got counts {instance.ceiling:g} in the gap.")
    return Outcome("auctions", figures, [*notes, *found.notes])


def measure_large(size: int, highest: int, seed: int) -> Outcome:
    """The exact epsilon auction of a market whose gains are made when they are asked for."""
    rows, traffic = Hashed(size, highest, seed), Traffic()
    began = time.perf_counter()
    market = assign(rows, traffic=traffic)
    seconds = time.perf_counter() - began
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    value, bound = market.gain(), market.bound()
    if not 0 <= bound - value < 1:
        raise AssertionError(f"the awards gain {value} and the prices prove {bound:g}: not the optimum")
    figures = {
        "value": value,
        "optimum": int(bound),
        "gap": rounded(1 - value / int(bound)),
        "rounds": traffic.rounds,
        "messages": traffic.messages,
        "bytes": traffic.bytes,
        "seconds": rounded(seconds),
        "awarded": int((market.tasks >= 0).sum()),
        "bids": market.bids,
        "peak_mib": rounded(most / 2**20),
    }
    return Outcome(
        "auctions",
        figures,
        [
            f"epsilon on {size:,} bidders and tasks, gains 1 to {highest}, made by a hash when they are asked for; "
            f"each bidder keeps {min(WIDTH, size)} in view.",
            "The optimum is what the auction's prices prove by weak duality, over all gains.",
        ],
    )


@dataclass(frozen=True)
class Crowd:
    """A random market of agents."""

    size: int
    highest: int
    seed: int
    exact: bool
    """Whether epsilon is below 1/n, or 1."""


async def measure_agents(crowd: Crowd, place: Place, cells: int) -> Outcome:
    """The epsilon auction by agents over messages: a buyer for each bidder, two sellers a cell."""
    size, highest, seed = crowd.size, crowd.highest, crowd.seed
    sellers, step = min(size, 2 * cells), size + 1 if crowd.exact else 1
    market = {"tasks": size, "sellers": sellers}
    buyer = {**market, "scale": step, "highest": highest, "seed": seed}
    plan = Plan(
        roles={
            "buyer": Role(Buyer, count=size, parameters=buyer, dedicated=False),
            "seller": Role(Seller, count=sellers, parameters=market, dedicated=False),
        },
        schedule="free",
        cells=cells,
        on_error="stop",
        run_id="auctions",
    )
    async with running(plan, place) as swarm:
        began = time.perf_counter()
        await swarm.broadcast("buyer")
        result = await swarm.run(timeout_s=_LIMIT_S)
        seconds = time.perf_counter() - began
        answers = [state_of((await swarm.ask(f"seller/{number}")).parts) for number in range(sellers)]
    if not result.quiet:
        raise AssertionError(f"the market was not over after {_LIMIT_S:g} s")
    prices, holders = joined(answers, size)
    rows = Hashed(size, highest, seed)
    value, bound = proved(rows, prices, holders, step)
    if not 0 <= bound - value <= size / step:
        raise AssertionError(f"the awards gain {value} and the prices prove {bound:g}: not within n eps")
    best = int(optimum(Instance(rows.of(np.arange(size)))).value) if size <= KEPT else int(bound)
    figures: dict[str, float] = {
        "value": value,
        "optimum": best,
        "gap": rounded(max(0.0, 1 - value / best)),
        "rounds": 0,
        "messages": result.messages,
        "seconds": rounded(seconds),
        "awarded": int((holders >= 0).sum()),
        "messages_per_second": rounded(result.messages / seconds),
    }
    notes = [
        f"epsilon by {size:,} buyers and {sellers} sellers, agents of {cells} cells on {place}; epsilon 1/{step}.",
        "There are no rounds: bids meet prices as they arrive.",
        f"The optimum is the Hungarian method's up to {KEPT:,} bidders, above it a bound that the prices prove.",
    ]
    return Outcome("auctions", figures, notes)


def scale(largest: int, mechanisms: list[str], highest: int, seed: int, picture: Path | None) -> Outcome:
    """Seconds and messages of mechanisms on square markets of growing size, drawn where `picture` says."""
    sizes = [round(10 ** (power / 4)) for power in range(4, 40) if 10 ** (power / 4) <= largest * 1.001]
    figures: dict[str, float] = {}
    curves: list[Curve] = []
    table = Table("mechanism", "n", "seconds", "messages", "gap", title="cost against size")
    for name in mechanisms:
        points: list[Point] = []
        for size in sizes:
            if size > KEPT and name != "epsilon":
                break
            told = _one(name, size, highest, seed)
            points.append(Point(size, told["seconds"], told["messages"]))
            table.add_row(
                name, f"{size:,}", f"{told['seconds']:.3g}", f"{told['messages']:,.0f}", f"{told['gap']:.3g}"
            )
            if told["seconds"] > _SLOW_S and size < KEPT:
                break
        curve = Curve(name, tuple(points))
        curves.append(curve)
        key = name.replace("-", "_")
        figures[f"{key}_largest"] = points[-1].size
        figures[f"{key}_seconds"] = points[-1].seconds
        figures[f"{key}_exponent"] = rounded(slope(curve))
    notes = [
        f"Square markets, gains 1 to {highest}. The exponent is the slope of seconds over n on log axes, n from 100.",
        f"Above {KEPT:,} bidders only epsilon runs: the others keep n x n gains.",
    ]
    if picture is not None:
        draw(curves, picture)
    return Outcome("auctions", figures, notes, [table])


def _one(name: str, size: int, highest: int, seed: int) -> dict[str, float]:
    if size > KEPT:
        return measure_large(size, highest, seed).figures
    instance = generated(size, size, np.random.default_rng(seed), highest=highest)
    return measure(instance, name, None, seed).figures
