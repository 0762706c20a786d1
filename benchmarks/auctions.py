"""Auctions measured against the optimum: OR-Library files, generated markets, and cost against size.

A mechanism is timed alone; the optimum is computed beside it, by other means (`coordination/auctions/optimum.py`). A
generated market of more than `KEPT` bidders is solved by the epsilon auction only, from rows that are made when they
are asked for, and its optimum is the bound that the auction's own prices prove: n x n numbers are never in memory.
"""

import resource
import sys
import time
from pathlib import Path
from random import Random
from typing import Annotated

import numpy as np
import typer
from rich.table import Table

from actors.errors import ConfigurationError
from actors.topology import Topology
from benchmarks.cost_curve import Curve, Point, draw, slope
from benchmarks.outcome import AsJson, Outcome, rounded, tell
from coordination.auctions.epsilon import WIDTH, assign
from coordination.auctions.instance import Instance, generated
from coordination.auctions.mechanism import MECHANISMS, Setting, allocate, named
from coordination.auctions.network import Network
from coordination.auctions.optimum import optimum
from coordination.auctions.orlib import load_instances
from coordination.auctions.outcome import Traffic, gap
from coordination.auctions.rows import Hashed

app = typer.Typer(add_completion=False)
KEPT = 2_000
"""Bidders up to which all gains are kept in memory: 32 MB of them."""
_SLOW_S = 20.0
"""A mechanism that took longer is not run on larger markets."""
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
        "bytes": traffic.numbers * 8,
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


def _network(kind: str, bidders: int, seed: int) -> Network | None:
    if kind == "complete":
        return None
    return (
        Network.line(bidders) if kind == "line" else Network.of(Topology.of(kind, {"bidder": bidders}, seed))
    )


def _random(bidders: int, highest: int, capacity: int | None, seed: int) -> Instance:
    rng = np.random.default_rng(seed)
    return generated(bidders, bidders * (capacity or 1), rng, highest=highest, capacity=capacity)


def _nth(problem: Path, number: int) -> Instance:
    instances = load_instances(problem)
    if number > len(instances):
        raise ConfigurationError(
            f"--instance: {problem.name} holds {len(instances)}, and no {number}. Give 1 to {len(instances)}."
        )
    return instances[number - 1]


@app.command()
def auctions(
    *,
    problem: Annotated[
        Path | None, typer.Option(metavar="FILE", help="OR-Library: assignment or generalised assignment.")
    ] = None,
    mechanism: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help=f"One of {', '.join(MECHANISMS)}; with --scale several."),
    ] = None,
    instance: Annotated[int, typer.Option(min=1, help="Which, where a file holds several.")] = 1,
    generate: Annotated[
        int | None, typer.Option(min=1, max=20_000, help="Bidders of a random market, in place of a file.")
    ] = None,
    highest: Annotated[int, typer.Option(min=1, max=2**32, help="Of the random gains.")] = 100,
    capacity: Annotated[int | None, typer.Option(min=1, help="Tasks to a bidder of a random market.")] = None,
    network: Annotated[
        str,
        typer.Option(
            help="Of bidders without a coordinator: complete, line, ring, grid, tree, small_world, ..."
        ),
    ] = "complete",
    scaling: Annotated[
        int | None,
        typer.Option("--scale", min=10, max=20_000, help="Cost against size, up to so many bidders."),
    ] = None,
    figure: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Where --scale draws its curves, on log axes.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of what is random.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Tasks auctioned by a mechanism, with the gap to the optimum.

    Examples:

        rayswarm bench auctions --problem assign100.txt --mechanism epsilon --json

        rayswarm bench auctions --generate 10000

        rayswarm bench auctions --scale 10000 --figure cost.svg
    """
    try:
        names = [named(name) for name in mechanism or (SCALED if scaling else ["epsilon"])]
        if scaling is not None:
            outcome = scale(scaling, names, highest, seed, figure)
        elif len(names) > 1 or (problem is not None and generate is not None):
            raise ConfigurationError("give one --mechanism, and either --problem or --generate.")
        elif problem is None and (generate or 0) > KEPT:
            if names != ["epsilon"] or capacity is not None:
                raise ConfigurationError(
                    f"--generate: above {KEPT:,} bidders only epsilon runs, without --capacity."
                )
            outcome = measure_large(generate or 0, highest, seed)
        else:
            market = (
                _random(generate or 100, highest, capacity, seed)
                if problem is None
                else _nth(problem, instance)
            )
            outcome = measure(market, names[0], _network(network, market.bidders, seed), seed)
    except ConfigurationError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(2) from None
    tell(outcome, as_json=as_json)


if __name__ == "__main__":
    app()
