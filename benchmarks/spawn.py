"""A million agents made, each on its first message, and each answering once.

One broadcast reaches them all; every agent counts the message in its state and answers with its number. A single agent
takes the answers: their sum proves that each came once. Timed is from the broadcast to the last answer; the cells are
there before it.

Memory is the growth of the resident memory of the processes that hold the cells, from before the broadcast to after the
last answer, over the agents: agents, their addresses and mailboxes, and whatever the allocator has not given back.
"""

import asyncio
import time

import typer

from actors import Agent, Context, Message, Plan, Role
from benchmarks.memory_gauge import gauges, resident_bytes
from benchmarks.outcome import AsJson, Outcome, rounded, tell
from benchmarks.place import Agents, Cells, On, Place, cells_at, running
from benchmarks.tally import Tally

app = typer.Typer(add_completion=False)
_LIMIT_S = 600.0


class Newborn(Agent):
    """Answers with its number."""

    def __init__(self) -> None:
        self.answered = 0

    async def on_message(self, message: Message, context: Context) -> None:
        """Counts and answers."""
        self.answered += 1
        context.send("tally", int(context.address.partition("/")[2]))


async def measure(agents: int, place: Place, cells: int) -> Outcome:
    """Runs the benchmark."""
    plan = Plan(
        roles={"newborn": Role(Newborn, count=agents), "tally": Role(Tally), **gauges(cells)},
        schedule="free",
        cells=cells,
        run_id="spawn",
    )
    async with running(plan, place) as swarm:
        before = await resident_bytes(swarm)
        began = time.perf_counter()
        await swarm.broadcast("newborn")
        total = (await swarm.ask("tally", agents, timeout_s=_LIMIT_S)).data
        seconds = time.perf_counter() - began
        grown = await resident_bytes(swarm) - before
    if total != {"count": agents, "sum": agents * (agents - 1) // 2}:
        raise AssertionError(f"{agents} agents answered {total}")
    figures = {
        "agents": agents,
        "seconds": rounded(seconds),
        "bytes_per_agent": rounded(grown / agents),
        "agents_per_second": rounded(agents / seconds),
    }
    return Outcome(
        "spawn", figures, [f"{cells} cells, on {place}. Each agent answered once: the sum is right."]
    )


@app.command()
def spawn(
    *, agents: Agents = 1_000_000, on: On = Place.RAY, cells: Cells = None, as_json: AsJson = False
) -> None:
    """Time and memory to make agents, each answering once.

    Example:

        rayswarm bench spawn --agents 100000 --on local
    """
    tell(asyncio.run(measure(agents, on, cells_at(on, cells))), as_json=as_json)


if __name__ == "__main__":
    # Under the name that Ray's workers can import, not as `__main__`.
    from benchmarks.spawn import app as importable

    importable()
