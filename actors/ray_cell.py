"""A cell in a Ray actor.

Ray gives the process, its restart and the call; order, exactly-once delivery and recovery are the host's
(`actors/host.py`, `actors/link.py`): Ray keeps no order between calls of an async actor, and its own retries run calls
twice.

The class is plain: `actors/ray_runtime.py` makes it an actor. Status and process id have threads of their own (Ray's
concurrency group `control`), so they are answered while the cell is busy.

What agents log goes to the worker's log files, as Ray keeps them, with the run and the agent in each line; where the
program has given Ray a logging configuration of its own, that holds.
"""

import asyncio
import gc
import logging
import os
import sys
import threading
import time
from typing import Any

import ray

from actors.address import Placement, role_of
from actors.errors import SwarmError
from actors.host import Host
from actors.journal import JournalLocked
from actors.link import Answer, Credit, Packet
from actors.message import Message
from actors.plan import Plan
from actors.ray_metrics import CellMetrics
from actors.runtime import GC_THRESHOLDS
from actors.status import Status

_LOCK_PAUSE_S = 0.2
_LINE = "%(asctime)s %(levelname)s %(run)s %(agent)s: %(message)s"

_SWITCH_S = 0.0005
"""How long a handler that computes keeps the control thread from the interpreter, each of the dozens of times that a
call needs it: with Python's 0.005 a status took up to 0.6 s beside one busy handler, with this 0.17 at most."""


class RayTransport:
    """Hands packets to cells in other Ray actors."""

    def __init__(self, namespace: str, names: list[str]) -> None:
        self._namespace = namespace
        self._names = names
        self._handles: dict[int, Any] = {}

    async def send(self, cell: int, source: int, epoch: int, packet: Packet, credit: Credit) -> Answer:
        """Delivers in one actor call."""
        handle: Any = self._handles.get(cell)
        if handle is None:
            handle = await asyncio.to_thread(ray.get_actor, self._names[cell], self._namespace)
            self._handles[cell] = handle
        plain = (packet.first, packet.count, packet.data), (credit.taken, credit.room)
        answer = await handle.exchange.remote(source, epoch, *plain)
        if isinstance(answer, int):
            return Answer(answer)
        taken, epoch, first, count, data = answer
        return Answer(taken, epoch, Packet(first, count, data))


class RayCell:
    """The actor of a cell. Every method opens the cell first if need be: after a restart, whoever calls first."""

    def __init__(self, plan: Plan, placement: Placement, number: int, names: list[str]) -> None:
        gc.set_threshold(*GC_THRESHOLDS)
        sys.setswitchinterval(_SWITCH_S)
        self._plan = plan
        self._placement = placement
        self._number = number
        self._names = names
        self._host: Host | None = None
        self._problem: SwarmError | None = None
        """Why the cell could not be opened. It stays so: what half opened holds the journal's lock."""
        # The control thread waits on it: an event of asyncio's is one loop's.
        self._ready = threading.Event()
        self._opening: asyncio.Lock | None = None
        self._metrics_task: asyncio.Task[None] | None = None
        restarted = ray.get_runtime_context().was_current_actor_reconstructed
        _log_lines(plan.run_id, names[number])
        logging.getLogger("rayswarm").info(
            "cell %s of %s %s", number, len(names), "restarted" if restarted else "started"
        )

    def __repr__(self) -> str:
        # Read once by Ray, for the dashboard and before each line of the log: who this is, among several runs.
        if not hasattr(self, "_number"):
            return "a cell that could not be made"  # Ray asks even then, and would hide the reason behind this error
        name, roles = self._names[self._number], self._plan.roles
        dedicated = roles[role_of(name)] if self._number >= self._placement.packed else None
        packed = [role for role in roles if role not in self._placement.dedicated]
        what = dedicated.agent.__name__ if dedicated is not None else ", ".join(packed) or "spawned agents"
        return f"{self._plan.run_id} {name} ({what})"

    async def _opened(self) -> Host:
        if self._opening is None:
            self._opening = asyncio.Lock()
        async with self._opening:
            if self._problem is not None:
                raise self._problem
            if self._host is None:
                try:
                    self._host = await self._new_host()
                except SwarmError as error:
                    self._problem = error
                    raise
                finally:
                    self._ready.set()
                metrics = CellMetrics(self._host, self._names[self._number])
                self._metrics_task = asyncio.create_task(metrics.keep())
                if self._host.cell.started:
                    self._host.begin()
        return self._host

    async def _new_host(self) -> Host:
        """A host that is open. Waits while the process that it replaces still has the journal.

        That may live on for a while: Ray restarts a cell as soon as its node does not answer. Until it lets the
        journal go, what it does is part of the run; after that its packets carry an old epoch, and nobody takes them.
        """
        limit_s = self._plan.limits.journal_wait_s
        until = time.monotonic() + limit_s
        transport = RayTransport(f"rayswarm/{self._plan.run_id}", self._names)
        while True:
            host = Host(self._plan, self._placement, self._number, transport, _die)
            try:
                await host.open()
                return host
            except JournalLocked as error:
                if time.monotonic() > until:
                    raise SwarmError(
                        f"cell {self._number} waited {limit_s:g} s for its journal: {error} If it is the cell's old "
                        f"process on a node that was cut off, end it there, and run the same again."
                    ) from error
                await asyncio.sleep(_LOCK_PAUSE_S)

    async def open(self) -> Status:
        """Recovers what the journal holds."""
        return (await self._opened()).status()

    async def begin(self) -> None:
        """Starts the agents that act by themselves."""
        (await self._opened()).begin()

    async def deliver(self, source: int, epoch: int, first: int, count: int, data: bytes) -> int:
        """Takes a packet from outside."""
        host = self._host or await self._opened()
        return await host.deliver(source, epoch, Packet(first, count, data))

    async def exchange(
        self, source: int, epoch: int, packet: tuple[int, int, bytes], credit: tuple[int, bool]
    ) -> int | tuple[int, int, int, int, bytes]:
        """Takes a packet of another cell's, and gives back what there is for it: plain values cost Ray least."""
        host = self._host or await self._opened()
        answer = await host.links.exchange(source, epoch, Packet(*packet), Credit(*credit))
        back = answer.packet
        return (
            answer.taken if back is None else (answer.taken, answer.epoch, back.first, back.count, back.data)
        )

    async def round(self, number: int, boundaries: dict[int, int]) -> Status:
        """Carries out a round."""
        return await (await self._opened()).round(number, boundaries)

    async def grant(self, turns: int) -> int:
        """Lets agents here take so many messages more."""
        return (await self._opened()).grant(turns)

    async def answer_to(self, sequence: int) -> Message:
        """The answer to a message from outside."""
        return await (await self._opened()).answer_to(sequence)

    async def take_answer(self, sequence: int) -> Message | None:
        """The answer to a message from outside, if it is there."""
        return (await self._opened()).take_answer(sequence)

    async def harvest(self) -> Any:
        """What the run leaves here."""
        return (await self._opened()).harvest()

    async def wind_down(self) -> None:
        """Runs the agents' `on_stop`."""
        await (await self._opened()).wind_down()

    async def close(self, in_good_order: bool) -> None:
        """Ends the cell."""
        if self._metrics_task is not None:
            self._metrics_task.cancel()
        if self._host is not None:
            await self._host.close(in_good_order)

    async def status(self) -> Status:
        """How the cell does. In a thread of its own."""
        if not self._ready.is_set():
            # After a restart nobody may have called any other method, which would open the cell.
            ray.get_runtime_context().current_actor.open.remote()
            await asyncio.to_thread(self._ready.wait)
        if self._host is None or self._host.latest is None:
            raise self._problem or SwarmError(f"cell {self._number} could not be opened: see its log")
        return self._host.latest

    async def process_id(self) -> int:
        """The process of the cell. In a thread of its own."""
        return os.getpid()


def _die() -> None:
    """Ends this process as a kill would."""
    os._exit(1)


def _log_lines(run: str, cell: str) -> None:
    """Lets `context.log` reach the worker's log, unless a handler of the program's own has it already."""
    logger = logging.getLogger("rayswarm")
    if logger.level == logging.NOTSET:
        logger.setLevel(logging.INFO)
    if not logger.hasHandlers():
        handler = logging.StreamHandler()
        # Lines of an agent bring its address; those of the cell itself bear the cell's name.
        handler.setFormatter(logging.Formatter(_LINE, defaults={"run": run, "agent": cell}))
        logger.addHandler(handler)
