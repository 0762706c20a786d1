"""Guess the average: a million agents think for a second, then answer a number; the mean of all, round after round.

The game is AgentScope's ("Very Large-Scale Multi-Agent Simulation in AgentScope", arXiv 2407.17789): its agents
sleep for a second in place of a call to a model, and a million of them took 40 s on four machines of 64 cores.

Each agent waits a real second (`context.sleep`), then says a number fixed by its own number and the round, as the
integer share of a draw would be; so the mean that is expected is known and checked. A round is timed from the broadcast
to the last answer. The first round also makes the agents.
"""

import asyncio
import time
from typing import Annotated

import typer

from actors import Agent, Context, Message, Plan, Role
from benchmarks.outcome import AsJson, Outcome, rounded, tell
from benchmarks.place import Agents, Cells, On, Place, cells_at, running
from benchmarks.tally import Tally

app = typer.Typer(add_completion=False)
PUBLISHED = "Published for a million agents: 40 s a round, AgentScope on four machines of 64 cores (arXiv 2407.17789)."
_LIMIT_S = 600.0
_NUMBERS = 101


class Guesser(Agent):
    """Thinks, then says a number from 0 to 100."""

    def __init__(self, think_s: float) -> None:
        self.think_s = think_s
        self.rounds = 0

    async def on_message(self, message: Message, context: Context) -> None:
        """Thinks and answers."""
        await context.sleep(self.think_s)
        self.rounds += 1
        context.send("tally", guess(int(context.address.partition("/")[2]), self.rounds))


def guess(number: int, round_number: int) -> int:
    """What agent `number` says in a round: spread over 0 to 100, no two neighbours alike."""
    return (number * 37 + round_number * 11) % _NUMBERS


async def measure(agents: int, rounds: int, think_s: float, place: Place, cells: int) -> Outcome:
    """Runs the benchmark."""
    plan = Plan(
        roles={
            "guesser": Role(Guesser, count=agents, parameters={"think_s": think_s}),
            "tally": Role(Tally),
        },
        schedule="free",
        cells=cells,
        run_id="game",
    )
    times: list[float] = []
    means: list[float] = []
    async with running(plan, place) as swarm:
        for number in range(1, rounds + 1):
            began = time.perf_counter()
            await swarm.broadcast("guesser")
            total = (await swarm.ask("tally", agents, timeout_s=_LIMIT_S)).data
            times.append(time.perf_counter() - began)
            expected = sum(guess(agent, number) for agent in range(agents))
            if total != {"count": agents, "sum": expected}:
                raise AssertionError(f"{agents} agents should have said {expected} in all and said {total}")
            means.append(total["sum"] / agents)
    figures: dict[str, float] = {"agents": agents, "round_seconds": rounded(max(times))}
    figures |= {f"round_{number}_seconds": rounded(seconds) for number, seconds in enumerate(times, start=1)}
    figures["mean"] = rounded(means[-1])
    notes = [
        f"{cells} cells, on {place}; each agent thought for {think_s:g} s. The means are as expected.",
        PUBLISHED,
    ]
    return Outcome("game", figures, notes)


@app.command()
def game(
    *,
    agents: Agents = 1_000_000,
    rounds: Annotated[int, typer.Option(min=1, help="How many.")] = 2,
    think_s: Annotated[float, typer.Option("--think", min=0.0, help="Seconds that each agent thinks.")] = 1.0,
    on: On = Place.RAY,
    cells: Cells = None,
    as_json: AsJson = False,
) -> None:
    """A million agents think for a second each and answer a number.

    Example:

        rayswarm bench game --agents 100000
    """
    tell(asyncio.run(measure(agents, rounds, think_s, on, cells_at(on, cells))), as_json=as_json)


if __name__ == "__main__":
    # Under the name that Ray's workers can import, not as `__main__`.
    from benchmarks.game import app as importable

    importable()
