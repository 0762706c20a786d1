"""Skynet: a tree of agents with ten children each; the leaves say their numbers, and the sum comes back to the root.

The benchmark is Alexander Temerev's (https://github.com/atemerev/skynet). There an actor spawns its children; here the
tree is numbered as a heap (the children of agent n are 10n + 1 to 10n + 10) and an agent is made on its first message,
which is what spawning costs here. Neighbouring numbers live in different cells, so on two cells half of all messages
cross. Agents stay when the sum is there; in the published runs they end.
"""

import asyncio
import time
from typing import Annotated

import typer

from actors import Agent, Context, Message, Plan, Role
from benchmarks.outcome import AsJson, Outcome, rounded, tell
from benchmarks.place import Cells, On, Place, cells_at, running

app = typer.Typer(add_completion=False)
CHILDREN = 10
PUBLISHED = (
    "Published for a million leaves, on a laptop of two cores: Erlang 4.4 s, Akka 6.4 s, Go 1.0 s "
    "(github.com/atemerev/skynet)."
)
_LIMIT_S = 600.0


class Node(Agent):
    """A leaf answers its number; another node passes the question on, adds up what comes back, and answers that."""

    def __init__(self, inner: int) -> None:
        self.inner = inner
        self.missing = 0
        self.sum = 0
        self.question: Message | None = None

    async def on_message(self, message: Message, context: Context) -> None:
        """Takes the question from above or an answer from below."""
        if message.data is not None:
            self.sum += message.data
            self.missing -= 1
            if self.missing == 0:
                context.reply(self.sum, to=self.question)
            return
        role, _, key = context.address.partition("/")
        number = int(key)
        if number >= self.inner:
            context.reply(number - self.inner)
            return
        self.question, self.missing = message, CHILDREN
        for child in range(number * CHILDREN + 1, number * CHILDREN + CHILDREN + 1):
            context.send(f"{role}/{child}")


async def measure(levels: int, place: Place, cells: int) -> Outcome:
    """Runs the benchmark."""
    leaves = CHILDREN**levels
    inner = (leaves - 1) // (CHILDREN - 1)
    plan = Plan(
        roles={"node": Role(Node, count=inner + leaves, parameters={"inner": inner})},
        schedule="free",
        cells=cells,
        run_id="skynet",
    )
    async with running(plan, place) as swarm:
        began = time.perf_counter()
        total = (await swarm.ask("node/0", timeout_s=_LIMIT_S)).data
        seconds = time.perf_counter() - began
    if total != leaves * (leaves - 1) // 2:
        raise AssertionError(f"the sum over {leaves} leaves came back as {total}")
    figures = {
        "agents": inner + leaves,
        "leaves": leaves,
        "seconds": rounded(seconds),
        "sum": total,
        "messages_per_second": rounded(2 * (inner + leaves) / seconds),
    }
    return Outcome("skynet", figures, [f"{cells} cells, on {place}. The sum is right.", PUBLISHED])


@app.command()
def skynet(
    *,
    levels: Annotated[int, typer.Option(min=1, max=7, help="Of the tree; 6 have a million leaves.")] = 6,
    on: On = Place.RAY,
    cells: Cells = None,
    as_json: AsJson = False,
) -> None:
    """A tree of ten children a node, a million leaves; the sum comes back.

    Example:

        rayswarm bench skynet --levels 4 --on local
    """
    tell(asyncio.run(measure(levels, on, cells_at(on, cells))), as_json=as_json)


if __name__ == "__main__":
    # Under the name that Ray's workers can import, not as `__main__`.
    from benchmarks.skynet import app as importable

    importable()
