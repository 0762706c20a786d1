"""Auctions measured against the optimum: OR-Library files, generated markets, and cost against size.

A mechanism is timed alone; the optimum is computed beside it, by other means (`coordination/auctions/optimum.py`). A
generated market of more than `KEPT` bidders is solved by the epsilon auction only, from rows that are made when they
are asked for, and its optimum is the bound that the auction's own prices prove: n x n numbers are never in memory.
"""

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from actors.errors import ConfigurationError
from actors.topology import Topology
from benchmarks.auction_runs import KEPT, SCALED, Crowd, measure, measure_agents, measure_large, scale
from benchmarks.outcome import AsJson, Outcome, tell
from benchmarks.place import Cells, On, Place, cells_at
from coordination.auctions.instance import Instance, generated
from coordination.auctions.mechanism import MECHANISMS, named
from coordination.auctions.network import Network
from coordination.auctions.orlib import load_instances

app = typer.Typer(add_completion=False)


def _network(kind: str, bidders: int, seed: int) -> Network | None:
    if kind == "complete":
        return None
    return (
        Network.line(bidders) if kind == "line" else Network.of(Topology.of(kind, {"bidder": bidders}, seed))
    )


@dataclass(frozen=True)
class Request:
    """Which market, as it was asked for."""

    problem: Path | None
    number: int
    generate: int | None
    highest: int
    capacity: int | None
    network: str
    seed: int


def _one(request: Request, names: list[str]) -> Outcome:
    """One mechanism on one market."""
    if len(names) > 1 or (request.problem is not None and request.generate is not None):
        raise ConfigurationError("give one --mechanism, and either --problem or --generate.")
    name, size = named(names[0]), request.generate or 100
    if request.problem is not None:
        market = _nth(request.problem, request.number)
    elif size <= KEPT:
        market = _random(request, size)
    elif name == "epsilon" and request.capacity is None:
        return measure_large(size, request.highest, request.seed)
    else:
        raise ConfigurationError(f"--generate: above {KEPT:,} bidders only epsilon runs, without --capacity.")
    network = _network(request.network, market.bidders, request.seed)
    return measure(market, name, network, request.seed)


def _crowd(request: Request, names: list[str], exact: bool) -> Crowd:
    if request.problem is not None or request.capacity is not None or list(map(named, names)) != ["epsilon"]:
        raise ConfigurationError("--agents: runs epsilon on a random market. Give --generate alone.")
    return Crowd(request.generate or 100, request.highest, request.seed, exact)


def _random(request: Request, bidders: int) -> Instance:
    rng = np.random.default_rng(request.seed)
    tasks = bidders * (request.capacity or 1)
    return generated(bidders, tasks, rng, highest=request.highest, capacity=request.capacity)


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
    agents: Annotated[
        bool,
        typer.Option("--agents", help="Run a random market by agents over messages: epsilon 1, or exact."),
    ] = False,
    exact: Annotated[bool, typer.Option("--exact", help="With --agents: epsilon below 1/n.")] = False,
    on: On = Place.LOCAL,
    cells: Cells = None,
    seed: Annotated[int, typer.Option(min=0, help="Of what is random.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Tasks auctioned by a mechanism, with the gap to the optimum.

    Examples:

        rayswarm bench auctions --problem assign100.txt --mechanism epsilon --json

        rayswarm bench auctions --generate 10000

        rayswarm bench auctions --generate 10000 --agents --on ray

        rayswarm bench auctions --scale 10000 --figure cost.svg
    """
    request = Request(problem, instance, generate, highest, capacity, network, seed)
    names = mechanism or (list(SCALED) if scaling else ["epsilon"])
    try:
        if scaling is not None:
            outcome = scale(scaling, [named(name) for name in names], highest, seed, figure)
        elif agents:
            outcome = asyncio.run(measure_agents(_crowd(request, names, exact), on, cells_at(on, cells)))
        else:
            outcome = _one(request, names)
    except ConfigurationError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(2) from None
    tell(outcome, as_json=as_json)


if __name__ == "__main__":
    # Under the name that Ray's workers can import, not as `__main__`.
    from benchmarks.auctions import app as importable

    importable()
