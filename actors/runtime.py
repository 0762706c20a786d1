"""Where cells run. A runtime starts them, calls them and ends them; `Swarm` does the rest.

`LocalRuntime` hosts all cells in this process, on one event loop. `actors/ray_runtime.py` makes each a Ray actor.
"""

import asyncio
import gc
from typing import Any, Protocol

from actors.address import Placement
from actors.errors import CellLost
from actors.host import Host
from actors.layout import layout_of_run
from actors.link import Answer, Credit, Packet
from actors.links import Transport
from actors.plan import Plan

GC_THRESHOLDS = (200_000, 20, 50)
"""For a process that holds a million agents: with Python's default (700, 10, 10) collections take half of the time."""


class CellDown(CellLost):
    """A cell died; it may be brought back by `Runtime.revive`."""

    reason = "cell down"

    def __init__(self, text: str, cell: int = -1) -> None:
        super().__init__(text)
        self.cell = cell


class Runtime(Protocol):
    """Where cells run."""

    placement: Placement
    dashboard: str | None
    """The address of a page to watch them on, if there is one."""

    async def start(self) -> None:
        """Makes the cells."""

    async def call(self, cell: int, method: str, *arguments: Any) -> Any:
        """Calls a method of a cell's host. Raises `CellDown` if the cell died before or meanwhile."""

    async def revive(self, cell: int) -> None:
        """Brings a dead cell back; one that is back stays as it is. Raises `CellLost` if that cannot be."""

    async def stop(self) -> None:
        """Ends what `start` made."""


class LocalTransport:
    """Hands packets to cells in this process."""

    def __init__(self, hosts: list[Host]) -> None:
        self._hosts = hosts

    async def send(self, cell: int, source: int, epoch: int, packet: Packet, credit: Credit) -> Answer:
        """Delivers at once. Raises `CellDown` while the cell is dead."""
        host = self._hosts[cell]
        if host.dead:
            raise CellDown(f"cell {cell} is dead", cell)
        return await host.links.exchange(source, epoch, packet, credit)


class LocalRuntime:
    """Cells in this process. They die only if the experiment kills them, and come back from their journals."""

    def __init__(self, plan: Plan, transport: Transport | None = None) -> None:
        self._plan = plan
        self.placement = layout_of_run(plan) or plan.placement(plan.cells or 1)
        self.dashboard: str | None = None
        self.hosts: list[Host] = []
        self._transport: Transport = transport or LocalTransport(self.hosts)
        self._thresholds = gc.get_threshold()

    async def start(self) -> None:
        """Makes a host for each cell."""
        gc.set_threshold(*GC_THRESHOLDS)
        self.hosts.extend(self._host(number) for number in range(self.placement.cells))

    def _host(self, number: int) -> Host:
        return Host(self._plan, self.placement, number, self._transport)

    async def call(self, cell: int, method: str, *arguments: Any) -> Any:
        """Calls a host's method. Raises `CellDown` if the cell is dead."""
        host = self.hosts[cell]
        try:
            result = getattr(host, method)(*arguments)
            value = await result if asyncio.iscoroutine(result) else result
        except CellLost as error:
            if not host.dead:
                raise
            raise CellDown(str(error), cell) from error
        if host.dead:
            raise CellDown(f"cell {cell} is dead", cell)
        return value

    async def revive(self, cell: int) -> None:
        """Makes a new host for a cell that is dead, and recovers it."""
        if not self.hosts[cell].dead:
            return
        await self.hosts[cell].abandon()
        host = self._host(cell)
        try:
            await host.open()
        except BaseException:
            await host.abandon()  # or nobody else could open its journal
            raise
        if host.cell.started:
            host.begin()
        self.hosts[cell] = host

    async def stop(self) -> None:
        """Nothing is left once the hosts are closed."""
        self.hosts.clear()
        gc.set_threshold(*self._thresholds)
