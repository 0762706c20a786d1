"""Clocks: the time of a model's delays, queues and deadlines is handed in, so that a test need not wait.

`VirtualClock` jumps (the idea is trio's `MockClock`): a sleeper wakes when it is the earliest and all others had a turn
of the event loop. It is for tests and simulations of few sleepers: each waits by taking turns of the loop.
"""

import asyncio
import time
from collections.abc import Coroutine
from heapq import heappop, heappush
from typing import Any, Protocol, TypeVar

T = TypeVar("T")


class Clock(Protocol):
    """Seconds that never go back."""

    def now(self) -> float:
        """Seconds since some beginning."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Returns when so many seconds have passed; at least one turn of the event loop."""
        ...


class SystemClock:
    """The real clock."""

    def now(self) -> float:
        """`time.monotonic`."""
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        """`asyncio.sleep`."""
        await asyncio.sleep(max(0.0, seconds))


class VirtualClock:
    """A clock that jumps to the next sleeper's time. Deterministic, and only for one event loop."""

    TURNS = 20
    """Turns of the loop that others have before time jumps, so that what was just woken can go to sleep."""

    def __init__(self) -> None:
        self._now = 0.0
        self._sleepers: list[tuple[float, int]] = []
        self._count = 0

    def now(self) -> float:
        """Virtual seconds since the clock was made."""
        return self._now

    async def sleep(self, seconds: float) -> None:
        """Waits until this sleeper is the earliest, then moves time to its end."""
        self._count += 1
        mine = (self._now + max(0.0, seconds), self._count)
        heappush(self._sleepers, mine)
        try:
            turns = 0
            while turns < self.TURNS or self._sleepers[0] != mine:
                turns = turns + 1 if self._sleepers[0] == mine else 0
                await asyncio.sleep(0)
            self._now = max(self._now, mine[0])
        finally:
            self._forget(mine)

    def _forget(self, sleeper: tuple[float, int]) -> None:
        if self._sleepers[0] == sleeper:
            heappop(self._sleepers)
        else:  # cancelled
            self._sleepers.remove(sleeper)
            self._sleepers.sort()


async def within(clock: Clock, seconds: float | None, work: Coroutine[Any, Any, T]) -> T:
    """The result of `work`; `TimeoutError`, with the work cancelled and ended, if it takes longer. None: no limit."""
    if seconds is None:
        return await work
    task = asyncio.ensure_future(work)
    alarm = asyncio.ensure_future(clock.sleep(seconds))
    try:
        await asyncio.wait({task, alarm}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise TimeoutError
        return task.result()
    finally:
        task.cancel()
        alarm.cancel()
        await asyncio.gather(task, alarm, return_exceptions=True)
