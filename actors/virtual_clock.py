"""An event loop whose clock jumps: a swarm's hours of waiting pass in the time that its work takes.

Rules:
* While anything can run, time stands still. When nothing can, it jumps to the next timer.
* Nothing is random: the same program takes the same steps in the same order, every time. What threads and sockets do
  is real, and is not ordered by this clock.
* A program in which nothing will ever happen again is a deadlock: after `patience_s` real seconds it is raised.

The idea is trio's (`trio.testing.MockClock` with `autojump_threshold`) and, before it, discrete event simulation's.

    with asyncio.Runner(loop_factory=VirtualClockLoop) as runner:
        runner.run(main())
"""

import asyncio
import selectors

from actors.errors import SwarmError


class Deadlock(SwarmError):
    """Nothing can run, no timer is set, and nothing came from outside."""

    reason = "deadlock"


class VirtualClockLoop(asyncio.SelectorEventLoop):
    """asyncio's loop, on a clock that begins at 0 and jumps."""

    def __init__(self, patience_s: float = 10.0) -> None:
        self.clock_s = 0.0
        super().__init__(_Jumping(self, patience_s))

    def time(self) -> float:
        """Seconds since the loop was made, as its clock has them."""
        return self.clock_s


class _Jumping(selectors.DefaultSelector):
    # The loop asks its selector to wait until the next timer is due: this one moves the clock there instead.

    def __init__(self, loop: VirtualClockLoop, patience_s: float) -> None:
        super().__init__()
        self._loop = loop
        self._patience_s = patience_s

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            events = super().select(self._patience_s)
            if not events:
                raise Deadlock(
                    f"nothing can run, and nothing came from outside for {self._patience_s:g} s: something awaits "
                    f"what nobody will do. `asyncio.all_tasks()` names who waits."
                )
            return events
        events = super().select(0)
        if not events and timeout > 0:
            self._loop.clock_s += timeout
        return events
