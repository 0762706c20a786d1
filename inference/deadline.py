"""One call's deadline, and whether what answers it has had the request: so is known how definite its passing is."""

import asyncio
from collections.abc import Awaitable, Coroutine
from typing import TypeVar

from inference.errors import DeadlinePassed

T = TypeVar("T")


class Deadline:
    """From now on, by the time of the running event loop."""

    def __init__(self, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        self._began_s = asyncio.get_running_loop().time()
        self.sent = False
        """Whoever sends the request says so here."""

    @property
    def passed_s(self) -> float:
        """Seconds since the call."""
        return asyncio.get_running_loop().time() - self._began_s

    async def within(self, work: Awaitable[T]) -> T:
        """The result. Raises `DeadlinePassed`, with the work cancelled, if the deadline comes first."""
        if self.passed_s >= self._timeout_s:
            # Work that does not wait would be done after its time; what is never awaited must be closed.
            if isinstance(work, Coroutine):
                work.close()
            raise self._error()
        try:
            async with asyncio.timeout_at(self._began_s + self._timeout_s):
                return await work
        except TimeoutError:
            raise self._error() from None

    def _error(self) -> DeadlinePassed:
        return DeadlinePassed(
            f"the model did not answer within {self._timeout_s:g} s", definite=not self.sent
        )
