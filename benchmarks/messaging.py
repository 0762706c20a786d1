"""Messages a second between agents of two cells on Ray, every second one from cell to cell.

Ten thousand agents pass on one token each: a small message is taken and causes the next. Every agent sends in turn to
the agent after it, which lives in the other cell, and to the one after that, which lives in its own. What is counted is
messages that agents took, by the wall clock, after a warm-up.

In the same run Ray's own pipelined actor calls are measured (`benchmarks/ray_calls.py`), and the same swarm with its
journal on. All are repeated in turn, and medians are compared, so a machine that is busy for a while hurts all alike.
"""

import asyncio
import tempfile
import time
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from actors import Agent, Context, JournalSettings, Message, Plan, Role, Swarm
from benchmarks.outcome import AsJson, Outcome, in_words, median, rounded, tell
from benchmarks.peers import peer_messages_per_second
from benchmarks.ray_calls import ray_calls_per_second
from benchmarks.ray_session import own_ray

app = typer.Typer(add_completion=False)
CELLS = 2


class Passer(Agent):
    """Passes on what it gets, in turn to the other cell and within its own."""

    def __init__(self, agents: int) -> None:
        self.agents = agents
        self.taken = 0
        self.following: list[str] = []

    async def on_message(self, message: Message, context: Context) -> None:
        """Passes the token on."""
        if not self.following:
            role, _, number = context.address.partition("/")
            self.following = [f"{role}/{(int(number) + step) % self.agents}" for step in (1, 2)]
        self.taken += 1
        context.send(self.following[self.taken & 1], message.data)


async def passed_per_second(swarm: Swarm, *, warm_up_s: float, seconds: float) -> tuple[float, float]:
    """Messages taken a second by all agents, and the share of them that came from another cell."""
    async with swarm:
        await swarm.broadcast("passer", 1)
        await swarm.run(timeout_s=warm_up_s)
        began, taken, across = time.perf_counter(), *(await _counted(swarm))
        await swarm.run(timeout_s=seconds)
        wall_s, taken_after, across_after = time.perf_counter() - began, *(await _counted(swarm))
        return (taken_after - taken) / wall_s, (across_after - across) / (taken_after - taken)


async def _counted(swarm: Swarm) -> tuple[int, int]:
    statuses = [await swarm.runtime.call(cell, "status") for cell in range(CELLS)]
    return sum(s.turns for s in statuses), sum(n for s in statuses for n in s.sent.values())


def passing_plan(agents: int, run_id: str, journal: Path | None = None) -> Plan:
    """The swarm that is measured."""
    return Plan(
        roles={"passer": Role(Passer, count=agents, parameters={"agents": agents})},
        schedule="free",
        cells=CELLS,
        run_id=run_id,
        journal=None if journal is None else JournalSettings(journal),
    )


def measure(
    *, agents: int, seconds: float, warm_up_s: float, repeats: int, journal: bool, peers: bool
) -> Outcome:
    """Runs the benchmark."""
    plain: list[float] = []
    journaled: list[float] = []
    calls: dict[str, list[float]] = {}
    shares: list[float] = []
    with own_ray(CELLS), tempfile.TemporaryDirectory() as folder:
        for repeat in range(repeats):
            for kind, rate in ray_calls_per_second(seconds / 4).items():
                calls.setdefault(kind, []).append(rate)
            plan = passing_plan(agents, f"messaging-{repeat}")
            rate, share = asyncio.run(
                passed_per_second(Swarm.on_ray(plan), warm_up_s=warm_up_s, seconds=seconds)
            )
            plain.append(rate)
            shares.append(share)
            if journal:
                plan = passing_plan(agents, f"messaging-journal-{repeat}", Path(folder) / str(repeat))
                rate, _ = asyncio.run(
                    passed_per_second(Swarm.on_ray(plan), warm_up_s=warm_up_s, seconds=seconds)
                )
                journaled.append(rate)
    best = max(calls, key=lambda kind: median(calls[kind]))
    baseline = median(calls[best])
    figures = {
        "messages_per_second": median(plain),
        "ray_calls_per_second": baseline,
        "ratio_to_ray_calls": rounded(median(plain) / baseline),
    }
    if journal:
        figures["ratio_with_journal"] = rounded(median(journaled) / baseline)
        figures["messages_per_second_with_journal"] = median(journaled)
    figures["share_across"] = median(shares)
    notes = [
        f"Compared with Ray's best: {best}. Medians of {repeats}, taken in turn; {agents:,} agents, {CELLS} cells."
    ]
    if peers:
        found, left_out = peer_messages_per_second(seconds)
        figures |= {f"{name}_per_second": rounded(rate) for name, rate in found.items()}
        notes += left_out
    return Outcome("messaging", figures, notes, (_calls_table(calls),))


def _calls_table(calls: dict[str, list[float]]) -> Table:
    table = Table("Ray's own calls, pipelined", "a second", title_justify="left")
    table.columns[1].justify = "right"
    for kind, rates in calls.items():
        table.add_row(kind, in_words(median(rates)))
    return table


@app.command()
def messaging(
    *,
    agents: Annotated[int, typer.Option(min=4, help="How many, one token each.")] = 10_000,
    seconds: Annotated[float, typer.Option(min=0.1, help="Of each measurement.")] = 5.0,
    warm_up_s: Annotated[float, typer.Option("--warm-up", min=0.0, help="Seconds before each.")] = 1.0,
    repeats: Annotated[int, typer.Option(min=1, help="Measurements of each kind, taken in turn.")] = 3,
    journal: Annotated[bool, typer.Option(help="Also with the journal on.")] = True,
    peers: Annotated[
        bool, typer.Option("--peers", help="Also pykka, xoscar and autogen-core, if installed.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Messages a second between agents of two cells on Ray, against Ray's own actor calls.

    Example:

        rayswarm bench messaging --peers
    """
    if agents % CELLS:
        raise typer.BadParameter(f"{agents} is not a multiple of {CELLS}, so the ring would not alternate.")
    outcome = measure(
        agents=agents, seconds=seconds, warm_up_s=warm_up_s, repeats=repeats, journal=journal, peers=peers
    )
    tell(outcome, as_json=as_json)


if __name__ == "__main__":
    # Under the name that Ray's workers can import, not as `__main__`.
    from benchmarks.messaging import app as importable

    importable()
