"""Steps the handlers of a cell: from one wait to the next, as asyncio would, without a task for each.

See `actors/turn.py` for how a handler that uses asyncio is handed to a task after all.
"""

import asyncio
import logging
from asyncio import CancelledError
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager, suppress
from contextvars import Context as Variables
from sys import getrefcount
from typing import TYPE_CHECKING, Any

from actors.context import Context
from actors.entry import Woke
from actors.resident import Resident
from actors.turn import Bridge, Turn, Wait

if TYPE_CHECKING:
    from actors.cell import Cell


_CLOSINGS = 10
_logger = logging.getLogger("rayswarm.cell")


class Stepper:
    """Runs turns, step by step."""

    def __init__(self, cell: "Cell") -> None:
        self._cell = cell
        self.stepping = False
        """True while a handler's code runs because the cell stepped it."""
        self.dropping = False
        """True while a turn is ended before its end."""
        self.suspended = 0
        """Turns that wait."""
        self.spare: Bridge | None = None
        self.stepped_task: Any = object()
        """What asyncio takes for the current task while a handler is stepped."""
        self._references = 0
        self._variables = Variables()
        self._loop: asyncio.AbstractEventLoop | None = None

    @contextmanager
    def entered(self) -> Iterator[None]:
        """While handlers are stepped, the spare task is asyncio's current one."""
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            loop = None
        self.stepping = True
        if loop is None:
            self._references = getrefcount(self.stepped_task)
            try:
                yield
            finally:
                self.stepping = False
            return
        if self.spare is None or self._loop is not loop:
            self._loop = loop
            self.spare = Bridge(self._cell, loop)
        outer = asyncio.current_task(loop)
        if outer is not None:
            asyncio.tasks._leave_task(loop, outer)
        self._enter_spare()
        try:
            yield
        finally:
            asyncio.tasks._leave_task(loop, self.stepped_task)
            if self.spare.turn is None and self.spare.task.cancelling():
                self.spare = None  # A handler cancelled its task and ended: that must not strike another.
            if outer is not None:
                asyncio.tasks._enter_task(loop, outer)
            self.stepping = False

    def _enter_spare(self) -> None:
        assert self.spare is not None
        assert self._loop is not None
        self.stepped_task = self.spare.task
        asyncio.tasks._enter_task(self._loop, self.stepped_task)
        self.spare.note_references()
        self._references = getrefcount(self.stepped_task)

    def _replace_spare(self) -> None:
        """The spare now belongs to a turn, or has been kept by somebody: takes another."""
        self._variables = Variables()
        if self._loop is None or self.spare is None:
            return
        asyncio.tasks._leave_task(self._loop, self.stepped_task)
        if self.spare.turn is None:
            self.spare.end()
        self.spare = Bridge(self._cell, self._loop)
        self._enter_spare()

    def begin(self, resident: Resident, context: Context, handler: Coroutine[Any, Any, None]) -> None:
        """The first step of a turn; most turns have no other."""
        try:
            waited = self._variables.run(handler.send, None)
        except StopIteration:
            pass
        except (Exception, CancelledError) as raised:
            error = raised
            if not hasattr(handler, "send"):
                error = TypeError(f"a handler of {type(resident.agent).__name__} is not `async def`")
            self._cell.failed(resident, context.message, error)
        else:
            turn = resident.turn = Turn(resident, context, handler)
            self.suspended += 1
            self._part_variables(turn)
            self._suspended(turn, waited)
            return
        if getrefcount(self.stepped_task) != self._references or len(self._variables):
            self._replace_spare()
        self._cell.end(resident, context)

    def step(self, turn: Turn, value: Any, error: BaseException | None) -> None:
        """A further step of a turn that waited: goes on with `value`, or with `error` raised where it waits."""
        if turn.resident.turn is not turn:
            return  # The agent crashed meanwhile.
        bridge = turn.bridge
        if bridge is not None:
            assert self._loop is not None
            if turn.wait is not None:
                turn.cell_waits -= 1
            asyncio.tasks._leave_task(self._loop, self.stepped_task)
            self.stepped_task = bridge.task
            asyncio.tasks._enter_task(self._loop, bridge.task)
        turn.wait = None
        ended = True
        variables = self._variables if turn.variables is None else turn.variables
        try:
            if error is None:
                waited = variables.run(turn.coroutine.send, value)
            else:
                waited = variables.run(turn.coroutine.throw, error)
            ended = False
        except StopIteration:
            pass
        except (Exception, CancelledError) as raised:
            self._cell.failed(turn.resident, turn.context.message, raised)
        self._part_variables(turn)
        if bridge is not None:
            assert self._loop is not None
            asyncio.tasks._leave_task(self._loop, bridge.task)
            self._enter_spare()
        elif ended and getrefcount(self.stepped_task) != self._references:
            self._replace_spare()
        if not ended:
            self._suspended(turn, waited)
            return
        if bridge is not None:
            self._cell.waiting.bridged.discard(turn)
            bridge.end()
        self.suspended -= 1
        turn.resident.turn = None
        self._cell.end(turn.resident, turn.context)

    def _part_variables(self, turn: Turn) -> None:
        """A turn that has set context variables keeps them, apart from all others; most never do."""
        if turn.variables is None and len(self._variables):
            turn.variables, self._variables = self._variables, Variables()

    def drop(self, turn: Turn) -> None:
        """Ends a turn where it is, since its agent crashed or the cell ends. What it still says is lost."""
        turn.resident.turn = None
        self.suspended -= 1
        self._cell.waiting.forget(turn)
        variables = self._variables if turn.variables is None else turn.variables
        before, self.stepping, self.dropping = self.stepping, False, True
        try:
            if turn.bridge is not None:
                # As asyncio ends a task: a task group can then let go of its children, which closing alone forbids.
                variables.run(turn.coroutine.throw, CancelledError())
        except (Exception, CancelledError) as error:
            _logger.debug("%s, when its turn was dropped: %r", turn.resident.address, error)
        try:
            for _ in range(_CLOSINGS):
                with suppress(RuntimeError):  # It waits again, instead of ending.
                    variables.run(turn.coroutine.close)
                    break
        except Exception as error:
            _logger.debug("%s, when its turn was dropped: %r", turn.resident.address, error)
        finally:
            self.stepping, self.dropping = before, False

    def _suspended(self, turn: Turn, waited: Any) -> None:
        """A handler waits: for its context, which the cell sees to, or for something of asyncio, by a bridge."""
        bridge, spare = turn.bridge, self.spare
        awaited: Any = waited
        if isinstance(waited, Wait):
            turn.wait = waited
            if bridge is None and (spare is None or not spare.is_touched()):
                waited.turn = turn
                return
            assert self._loop is not None
            awaited = waited.future = self._loop.create_future()
            turn.cell_waits += 1
        elif waited is not None and not asyncio.isfuture(waited):
            problem = f"a handler awaited {waited!r}, which is neither of its context nor of asyncio"
            self.step(turn, None, RuntimeError(problem))
            return
        elif spare is None:
            self.step(
                turn, None, RuntimeError("a handler awaited something of asyncio, but no event loop runs")
            )
            return
        if bridge is None:
            assert spare is not None
            bridge = turn.bridge = spare
            bridge.turn = turn
            self._cell.waiting.bridged.add(turn)
            self._replace_spare()
        bridge.await_for(turn, awaited)

    def woke(self, turn: Turn, value: Any, error: BaseException | None) -> None:
        """A bridge has what its turn waited for."""
        self._cell.ready.append((self.go_on, turn, value, error))
        self._cell.hooks.wake()

    def go_on(self, turn: Turn, value: Any, error: BaseException | None) -> None:
        """Steps a turn whose bridge has what it waited for, or was cancelled since."""
        if turn.bridge is not None and turn.bridge.take_cancellation():
            value, error = None, CancelledError()
        if turn.resident.turn is turn and self._cell.log is not None:
            self._cell.log.append(Woke(turn.resident.address))
        self.step(turn, value, error)
