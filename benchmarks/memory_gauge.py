"""Resident memory of the processes that hold a swarm's cells, read from inside them."""

import os
import resource
import sys
from pathlib import Path

from actors import Agent, Context, Message, Role, Swarm

ROLE = "gauge"


class MemoryGauge(Agent):
    """Answers with the process that it lives in and that process's resident bytes."""

    async def on_message(self, message: Message, context: Context) -> None:
        """Reads and answers."""
        context.reply(await context.effect(process_and_resident_bytes))


def gauges(cells: int) -> dict[str, Role]:
    """A gauge for each cell: numbered agents are dealt to the cells in turn."""
    return {ROLE: Role(MemoryGauge, count=cells)}


async def resident_bytes(swarm: Swarm) -> int:
    """The resident memory of all processes that hold cells, each counted once."""
    answers = [(await swarm.ask(address)).data for address in swarm.placement.members(ROLE)]
    return sum(dict(answers).values())


def process_and_resident_bytes() -> tuple[int, int]:
    """This process's number and resident memory. Where there is no /proc: the most that it ever had."""
    statm = Path("/proc/self/statm")
    if statm.exists():
        return os.getpid(), int(statm.read_text().split()[1]) * resource.getpagesize()
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return os.getpid(), most if sys.platform == "darwin" else most * 1024
