"""A cell of 100,000 agents is killed in the middle of traffic: how long until all answer again, and what is lost.

Tokens make a fixed number of hops, in turn to the other cell and within their own, one token for ten agents; each
agent must take exactly as many messages as every other. Half way the process of one cell gets SIGKILL. Ray restarts it;
it reads its checkpoint, plays its journal and takes up its traffic, while the other cell runs on.

Service is full when every agent of both cells has answered a question that was asked right after the kill. When the
traffic has ended, each agent tells how many messages it took: what is missing was lost, what is over was doubled.
"""

import asyncio
import os
import signal
import tempfile
import time
from pathlib import Path
from typing import Annotated

import typer

from actors import Agent, Context, JournalSettings, Message, Plan, Role, Swarm
from benchmarks.outcome import AsJson, Outcome, rounded, tell
from benchmarks.place import Place, running
from benchmarks.tally import Tally

app = typer.Typer(add_completion=False)
CELLS = 2
AGENTS_A_TOKEN = 10
WHOLE_TURN_HOPS = 20
"""After so many hops of 2 and 1 in turn, tokens have been twice at each of ten neighbours."""
START = "start"
_LIMIT_S = 600.0
_KILLED = 0


class Carrier(Agent):
    """Passes tokens on until they have made their hops, counts them, and answers questions about itself."""

    def __init__(self, agents: int, hops: int) -> None:
        self.agents = agents
        self.hops = hops
        self.taken = 0

    async def on_message(self, message: Message, context: Context) -> None:
        """Takes a token, which is the number of its hop, or a question, which is a text."""
        role, _, key = context.address.partition("/")
        number, hop = int(key), message.data
        if message.text == START:
            if number % AGENTS_A_TOKEN:
                return
            hop = 1
        elif message.text:
            missing = self.hops // AGENTS_A_TOKEN - self.taken
            answers = {"present": 1, "lost": max(0, missing), "doubled": max(0, -missing)}
            context.send(message.text, answers[message.text])
            return
        self.taken += 1
        if hop < self.hops:
            context.send(f"{role}/{(number + 1 + hop % 2) % self.agents}", hop + 1)


def carrying_plan(agents: int, hops: int, journal: Path) -> Plan:
    """The swarm that is measured: so many agents in each cell."""
    total = agents * CELLS
    return Plan(
        roles={
            "carrier": Role(Carrier, count=total, parameters={"agents": total, "hops": hops}),
            **{question: Role(Tally) for question in ("present", "lost", "doubled")},
        },
        schedule="free",
        cells=CELLS,
        run_id="recovery",
        journal=JournalSettings(journal),
    )


async def measure(agents: int, hops: int, journal: Path) -> Outcome:
    """Runs the benchmark."""
    plan = carrying_plan(agents, hops, journal)
    messages = agents * CELLS * hops // AGENTS_A_TOKEN
    async with running(plan, Place.RAY) as swarm:
        began = time.perf_counter()
        await swarm.broadcast("carrier", START)
        before = await swarm.run(timeout_s=_LIMIT_S, stop=lambda progress: progress.messages >= messages // 2)
        traffic_s = time.perf_counter() - began
        process = await swarm.runtime.call(_KILLED, "process_id")
        killed = time.perf_counter()
        os.kill(process, signal.SIGKILL)
        present = await _answers(swarm, "present")
        service_s = time.perf_counter() - killed
        after = await swarm.run(timeout_s=_LIMIT_S)
        lost, doubled = await _answers(swarm, "lost"), await _answers(swarm, "doubled")
    if present != agents * CELLS or not after.quiet:
        raise AssertionError(f"{present} of {agents * CELLS} agents answered; quiet: {after.quiet}")
    if len(after.recoveries) != 1 or after.recoveries[0]["cell"] != _KILLED:
        raise AssertionError(f"cell {_KILLED} was killed once; recovered were {after.recoveries}")
    figures = {
        "agents": agents,
        "lost": lost,
        "doubled": doubled,
        "seconds_to_service": rounded(service_s),
        "recovery_seconds": rounded(after.recoveries[0]["seconds"]),
        "entries_played": after.recoveries[0]["entries"],
        "messages": messages,
        "messages_per_second_before": rounded(before.messages / traffic_s),
    }
    notes = [
        f"{agents:,} agents in each of {CELLS} cells on Ray, a token for each {AGENTS_A_TOKEN}; one cell killed half "
        "way. Recovery is reading the checkpoint and playing the journal; service is full when all have answered."
    ]
    return Outcome("recovery", figures, notes)


async def _answers(swarm: Swarm, question: str) -> int:
    """Asks every agent; the sum of what they answer."""
    await swarm.broadcast("carrier", question)
    total = (await swarm.ask(question, len(swarm.placement.members("carrier")), timeout_s=_LIMIT_S)).data
    return int(total["sum"])


@app.command()
def recovery(
    *,
    agents: Annotated[
        int, typer.Option(min=AGENTS_A_TOKEN, help="In each cell, a multiple of ten.")
    ] = 100_000,
    hops: Annotated[
        int, typer.Option(min=WHOLE_TURN_HOPS, help=f"Of each token, a multiple of {WHOLE_TURN_HOPS}.")
    ] = 300,
    as_json: AsJson = False,
) -> None:
    """Kill a cell in the middle of traffic: time to full service, and what is lost.

    Example:

        rayswarm bench recovery --agents 10000
    """
    for name, value, unit in (("--agents", agents, AGENTS_A_TOKEN), ("--hops", hops, WHOLE_TURN_HOPS)):
        if value % unit:
            raise typer.BadParameter(f"{name} {value} is not a multiple of {unit}, so agents would differ.")
    with tempfile.TemporaryDirectory() as folder:
        tell(asyncio.run(measure(agents, hops, Path(folder))), as_json=as_json)


if __name__ == "__main__":
    # Under the name that Ray's workers can import, not as `__main__`.
    from benchmarks.recovery import app as importable

    importable()
