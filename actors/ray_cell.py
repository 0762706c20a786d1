"""A cell in a Ray actor.

Ray gives the process, its restart and the call; order, exactly-once delivery and recovery are the host's
(`actors/host.py`, `actors/link.py`): Ray keeps no order between calls of an async actor, and its own retries run calls
twice.

The class is plain: `actors/ray_runtime.py` makes it an actor. Status and stop have a thread of their own (Ray's
concurrency group `control`), so they are answered while the cell is busy.
"""

import asyncio
import gc
import logging
import os
import threading
from typing import Any

import ray

from actors.address import Placement
from actors.host import Host
from actors.link import Packet
from actors.message import Message
from actors.plan import Plan
from actors.ray_metrics import CellMetrics
from actors.runtime import GC_THRESHOLDS
from actors.status import Status


class RayTransport:
    """Hands packets to cells in other Ray actors."""

    def __init__(self, namespace: str, names: list[str]) -> None:
        self._namespace = namespace
        self._names = names
        self._handles: dict[int, Any] = {}

    async def send(self, cell: int, source: int, epoch: int, packet: Packet) -> int:
        """Delivers in one actor call."""
        handle: Any = self._handles.get(cell)
        if handle is None:
            handle = await asyncio.to_thread(ray.get_actor, self._names[cell], self._namespace)
            self._handles[cell] = handle
        answer: int = await handle.deliver.remote(source, epoch, packet.first, packet.count, packet.data)
        return answer


class RayCell:
    """The actor of a cell. Every method opens the cell first if need be: after a restart, whoever calls first."""

    def __init__(self, plan: Plan, placement: Placement, number: int, names: list[str]) -> None:
        gc.set_threshold(*GC_THRESHOLDS)
        self._plan = plan
        self._placement = placement
        self._number = number
        self._names = names
        self._host: Host | None = None
        self._ready = (
            threading.Event()
        )  # The control thread waits on it: an event of asyncio's is one loop's.
        self._opening: asyncio.Lock | None = None
        self._metrics: CellMetrics | None = None
        self._metrics_task: asyncio.Task[None] | None = None
        restarted = ray.get_runtime_context().was_current_actor_reconstructed
        logging.getLogger("rayswarm").info(
            "%s: cell %s (%s) %s", plan.run_id, number, names[number], "restarted" if restarted else "started"
        )

    def __repr__(self) -> str:
        return f"Cell[{self._names[self._number]}]"

    async def _opened(self) -> Host:
        if self._opening is None:
            self._opening = asyncio.Lock()
        async with self._opening:
            if self._host is None:
                transport = RayTransport(f"rayswarm/{self._plan.run_id}", self._names)
                host = Host(self._plan, self._placement, self._number, transport, _die)
                await host.open()
                if host.cell.started:
                    host.begin()
                self._metrics = CellMetrics(self._plan.run_id, self._names[self._number])
                self._metrics_task = asyncio.create_task(self._metrics.keep(host))
                self._host = host
                self._ready.set()
        return self._host

    async def open(self) -> Status:
        """Recovers what the journal holds."""
        return (await self._opened()).status()

    async def begin(self) -> None:
        """Starts the agents that act by themselves."""
        (await self._opened()).begin()

    async def deliver(self, source: int, epoch: int, first: int, count: int, data: bytes) -> int:
        """Takes a packet."""
        host = self._host or await self._opened()
        return await host.deliver(source, epoch, Packet(first, count, data))

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
        await asyncio.to_thread(self._ready.wait)
        assert self._host is not None
        assert self._host.latest is not None
        return self._host.latest

    async def process_id(self) -> int:
        """The process of the cell. In a thread of its own."""
        return os.getpid()


def _die() -> None:
    """Ends this process as a kill would."""
    os._exit(1)
