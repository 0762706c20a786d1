"""Where a benchmark's swarm runs: on a Ray started for it, or in this process."""

from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from enum import StrEnum
from typing import Annotated

import typer

from actors import Plan, Swarm
from benchmarks.ray_session import own_ray


class Place(StrEnum):
    """Where cells are hosted."""

    RAY = "ray"
    LOCAL = "local"


On = Annotated[Place, typer.Option("--on", help="Each cell a Ray actor, or all in this process.")]
Cells = Annotated[int | None, typer.Option(min=1, help="By default 2 on Ray, 1 in this process.")]
Agents = Annotated[int, typer.Option(min=1, help="How many.")]


def cells_at(place: Place, cells: int | None) -> int:
    """The number of cells: as asked for, else what uses two cores."""
    return cells or (2 if place == Place.RAY else 1)


@asynccontextmanager
async def running(plan: Plan, place: Place) -> AsyncIterator[Swarm]:
    """A swarm that runs; its Ray, if any, ends with it."""
    with ExitStack() as stack:
        if place == Place.RAY:
            stack.enter_context(own_ray(plan.cells or 1))
        swarm = Swarm.on_ray(plan) if place == Place.RAY else Swarm.local(plan)
        async with swarm:
            yield swarm
