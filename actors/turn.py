"""How a handler waits: stepped by its cell, or, when it uses asyncio, by way of an asyncio task.

A cell steps its handlers' coroutines itself. One that never waits, or waits only on its context (a timer, an answer, a
call outside), costs no asyncio task: half a million sleepers take seconds, not a quarter of a minute.

Yet anything of asyncio works in a handler, though `asyncio.timeout`, task groups and clients such as httpx ask for the
current task and keep it. So while a cell steps handlers a spare task (a `Bridge`) is registered as the current one,
through the hooks that asyncio documents for this (`_enter_task`, `_leave_task`). If a handler suspends on something of
asyncio, or on its context while somebody holds a reference to the spare, the spare becomes that turn's own task: it
waits in the handler's place, is cancelled in its place, and hands what came back to the cell, which steps the handler.
Context variables set in a turn stay in it.
"""

import asyncio
import sys
from asyncio import CancelledError, Future, Task
from collections.abc import Coroutine, Generator
from sys import getrefcount
from types import coroutine
from typing import TYPE_CHECKING, Any
from weakref import getweakrefcount

if TYPE_CHECKING:
    from contextvars import Context as Variables

    from actors.cell import Cell
    from actors.context import Context
    from actors.resident import Resident


# Before 3.12 asyncio never runs a task inside another one's step, so a stepping cell is stepping this very handler.
_EAGER_TASKS = sys.version_info >= (3, 12)


class Wait:
    """What a handler waits for when it awaits its context."""

    __slots__ = ("cell", "effect", "future", "is_ask", "key", "outcome", "resident", "tick", "turn")

    def __init__(self, cell: "Cell", resident: "Resident", key: Any = None) -> None:
        self.cell = cell
        self.resident = resident
        self.key = key
        """Its name: the agent's address and a number of the agent's own."""
        self.turn: Turn | None = None
        """The turn that goes on when it ends, if the cell steps it."""
        self.future: Future[Any] | None = None
        """What ends with it instead, if asyncio waits for it."""
        self.tick = -1
        """The tick at which a timer ends it; negative if none does."""
        self.is_ask = False
        self.effect: Any = None
        """The function and arguments of a call outside, until it ends."""
        self.outcome: tuple[Any, BaseException | None] | None = None
        """How it ended, if that was before anybody awaited it."""

    def __await__(self) -> Generator[Any, Any, Any]:
        """Waits until the cell ends this; gives its value or raises its error."""
        cell = self.cell
        if self.outcome is not None:
            value, error = self.outcome
            if error is not None:
                raise error
            return value
        if cell.stepper.stepping and (
            not _EAGER_TASKS
            or cell.stepper.spare is None
            or asyncio.current_task() is cell.stepper.stepped_task
        ):
            try:
                return (yield self)
            except BaseException:
                cell.waiting.abandon(self)  # Cancelled, or over already.
                raise
        # Awaited by a task of asyncio's own (a gather or a task group in a handler): that task waits for a future.
        self.future = asyncio.get_running_loop().create_future()
        cell.hooks.wake()
        turn = self.resident.turn
        turn = turn if isinstance(turn, Turn) else None
        if turn is not None:
            turn.cell_waits += 1
        try:
            return (yield from self.future)
        finally:
            cell.waiting.abandon(self)
            if turn is not None:
                turn.cell_waits -= 1

    @property
    def over(self) -> bool:
        """True if nobody waits any more: whoever did was cancelled."""
        return self.future is not None and self.future.done()


class Turn:
    """A turn that is suspended."""

    __slots__ = ("bridge", "cell_waits", "context", "coroutine", "resident", "variables", "wait")

    def __init__(
        self,
        resident: "Resident",
        context: "Context",
        coroutine: Coroutine[Any, Any, None],
    ) -> None:
        self.resident = resident
        self.context = context
        self.coroutine = coroutine
        self.variables: Variables | None = None
        """The context variables of this turn, once it has set any."""
        self.wait: Wait | None = None
        """What it waits for, if the cell steps it."""
        self.bridge: Bridge | None = None
        """What waits for it, if it uses asyncio."""
        self.cell_waits = 0
        """Waits on the context that asyncio's tasks hold for it; if there are none, it waits for the outside world."""


@coroutine
def _as_yielded(awaited: Any) -> Generator[Any, Any, Any]:
    return (yield awaited)


_END = object()


class _Begun(Coroutine[Any, Any, None]):
    """A coroutine that has begun before it is cancelled: else a task cancelled at once would end unheard."""

    def __init__(self, coroutine: Coroutine[Any, Any, None]) -> None:
        self._coroutine = coroutine
        self._has_begun = False

    def send(self, value: None) -> Any:
        self._has_begun = True
        return self._coroutine.send(value)

    def throw(self, *error: Any) -> Any:
        if not self._has_begun:
            waited = self.send(None)
            if waited is not None:
                waited._asyncio_future_blocking = False  # The task will not wait for it.
        return self._coroutine.throw(*error)

    def close(self) -> None:
        self._coroutine.close()

    def __await__(self) -> Generator[Any, Any, None]:
        return self._coroutine.__await__()


class Bridge:
    """An asyncio task that stands for a turn; spare until a turn needs it."""

    def __init__(self, cell: "Cell", loop: asyncio.AbstractEventLoop) -> None:
        self.turn: Turn | None = None
        self._cell = cell
        self._loop = loop
        self._parked: Future[Any] = loop.create_future()
        self._cancelled = False
        self.task: Task[None] = loop.create_task(_Begun(self._run()))
        self._references = self._weak_references = 0

    def note_references(self) -> None:
        """Takes the present number of references to the task as that of an untouched one."""
        self._references, self._weak_references = getrefcount(self.task), getweakrefcount(self.task)

    def is_touched(self) -> bool:
        """True if somebody has kept the task since `note_references`: it must not serve another turn."""
        task = self.task
        return getrefcount(task) != self._references + 1 or getweakrefcount(task) != self._weak_references

    def await_for(self, turn: Turn, awaited: Any) -> None:
        """Waits in the turn's place for what its handler yielded, then tells the cell."""
        self.turn = turn
        if self._parked.cancelled():  # by the handler itself, just now: `_run` will see to it
            self._parked = self._loop.create_future()
        self._parked.set_result(awaited)

    def take_cancellation(self) -> bool:
        """Whether the task was cancelled while its turn was on its way back to the handler. Tells once."""
        cancelled, self._cancelled = self._cancelled, False
        return cancelled

    def end(self) -> None:
        """The turn is over, or the spare not needed."""
        self.turn = None
        if not self._parked.done():
            self._parked.set_result(_END)
        else:
            self.task.cancel()  # It waits still, and with it whatever the turn has begun.

    async def _run(self) -> None:
        while True:
            value: Any = None
            error: BaseException | None = None
            try:
                awaited = await self._parked
            except CancelledError:
                if self.turn is None:
                    raise
                self._cancelled = True  # It strikes where the handler waits, or waits next.
                if self._parked.cancelled():
                    self._parked = self._loop.create_future()
                continue
            if awaited is _END:
                return
            try:
                if self.take_cancellation():
                    if isinstance(awaited, Future):
                        awaited.cancel()
                    raise CancelledError
                # What the handler itself awaited is marked as awaited already, and is only handed on.
                fresh = isinstance(awaited, Future) and not awaited._asyncio_future_blocking
                value = await (awaited if fresh else _as_yielded(awaited))
            except CancelledError as cancelled:
                if self.turn is None:
                    raise
                error = cancelled
            except GeneratorExit:
                raise
            except BaseException as raised:
                # Whatever the awaited thing raised belongs to the handler.
                error = raised
            self._parked = self._loop.create_future()
            assert self.turn is not None
            self._cell.stepper.woke(self.turn, value, error)
