"""Many calls in one: requests that come while others are under way wait, and leave together.

Rules:
* A request that comes when little is under way leaves at once, with what came in the same turn of the loop; nobody
  waits for company. While `in_flight` batches are away, the next one gathers: batches grow with the load, as in group
  commit.
* A batch has at most `most` requests; more than `waiting` waiting ones are refused (`Overloaded`).
* Each request has its own answer or its own error.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Generic, TypeVar

from memory.errors import Overloaded

Q = TypeVar("Q")


class Batcher(Generic[Q]):
    """Gathers requests of one kind. For one event loop."""

    def __init__(
        self,
        call: Callable[[Sequence[Q]], Awaitable[Sequence[Any]]],
        *,
        most: int = 64,
        in_flight: int = 2,
        waiting: int = 100_000,
    ) -> None:
        """`call` gives an answer, or an exception, for each request, in order."""
        self._call = call
        self._most = most
        self._room = in_flight
        self._limit = waiting
        self._waiting: deque[tuple[Q, asyncio.Future[Any]]] = deque()
        self._due = False
        self._tasks: set[asyncio.Task[None]] = set()

    async def ask(self, request: Q) -> Any:
        """The answer to a request. Raises what it, or the call, came to."""
        if len(self._waiting) >= self._limit:
            raise Overloaded(f"{self._limit:,} requests wait for the memory: ask again later")
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Any] = loop.create_future()
        self._waiting.append((request, answer))
        if not self._due:
            self._due = True
            loop.call_soon(self._leave)
        return await answer

    def _leave(self) -> None:
        self._due = False
        while self._waiting and self._room:
            batch = [self._waiting.popleft() for _ in range(min(self._most, len(self._waiting)))]
            self._room -= 1
            task = asyncio.create_task(self._carry(batch))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _carry(self, batch: list[tuple[Q, asyncio.Future[Any]]]) -> None:
        try:
            answers = await self._call([request for request, _ in batch])
        except Exception as error:  # it belongs to each of those who asked
            answers = [error] * len(batch)
        finally:
            self._room += 1
        for (_, future), answer in zip(batch, answers, strict=True):
            if future.done():  # who asked has gone
                continue
            if isinstance(answer, Exception):
                future.set_exception(answer)
            else:
                future.set_result(answer)
        self._leave()
