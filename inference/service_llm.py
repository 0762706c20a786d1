"""A cluster's model service as any model, for the agents of one cell.

Rules:
* Requests of many agents cross together: a batch leaves when it has `batch_requests`, or `batch_bytes`, or its first
  request has waited `gather_s`; while one is under way the next gathers. Answers come as they are done.
* At most `waiting_requests` of this process wait; the next gets `QueueFull`, and so does what the service has no room
  for. Nothing of that was sent.
* A service that cannot be reached is asked again for `reconnect_s`: it may be starting again. What this process still
  holds is sent then. What a service took that is now another, or gone, may have been computed: it fails with an
  indefinite `EngineDead`, and is never asked again here. What was not taken fails definitely, if at all.
* A caller that goes away frees its call in the service.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Coroutine
from contextlib import suppress
from copy import copy
from dataclasses import dataclass, fields
from typing import Any

from msgspec.structs import replace

from inference.clock import Clock, SystemClock, within
from inference.completion import Completion
from inference.errors import ConfigurationError, DeadlinePassed, EngineDead, LLMError, QueueFull
from inference.llm import BaseLLM, TokenCount
from inference.request import Request
from inference.service_door import Door, ServiceGone, ServiceUnavailable
from inference.service_wire import Asked, Delivery, Taken, decoded_answer, encoded, encoded_request
from inference.telemetry import current_trace

_GRACE_S = 2.0
"""A deadline is the service's to keep, which knows whether the request was sent; so much later it is kept here."""
_FIRST_PAUSE_S = 0.05
_LONGEST_PAUSE_S = 1.0
_CONFIRMED_AT_ONCE = 16
"""So many answers are confirmed though nothing more is asked, so that the service need not keep them."""
_ATTEMPTS = 1_000
"""To offer one batch, whatever happens meanwhile."""

log = logging.getLogger("rayswarm")


@dataclass(frozen=True)
class ServiceSettings:
    """How a cell's requests are gathered."""

    batch_requests: int = 256
    batch_bytes: int = 90_000
    """Below the 100 KiB at which Ray passes an argument by its object store, four times as slowly."""
    gather_s: float = 0.001
    waiting_requests: int = 20_000
    """Not yet answered, of this process."""
    reconnect_s: float = 60.0

    def __post_init__(self) -> None:
        for limit in fields(self):
            if not getattr(self, limit.name) > 0:
                raise ConfigurationError(f"{limit.name} is {getattr(self, limit.name)!r}: give more than 0")
        if self.gather_s > 0.01:
            raise ConfigurationError(f"gather_s is {self.gather_s!r}: give at most 0.01 seconds")


class _Call:
    """One request as it goes."""

    def __init__(self, number: int, request: Request, began_s: float, trace: str) -> None:
        self.number = number
        self.request = request
        self.began_s = began_s
        self.trace = trace
        self.answer: asyncio.Future[Completion] = asyncio.get_running_loop().create_future()
        self.offered = False
        """A batch with it has left: from now on the service may have it."""


class ServiceLLM(BaseLLM):
    """Asks a service. One object serves one event loop; all agents of a cell share it."""

    def __init__(
        self, door: Door, settings: ServiceSettings | None = None, *, clock: Clock | None = None
    ) -> None:
        self._door = door
        self._settings = settings or ServiceSettings()
        self._clock = clock or SystemClock()
        self._session = ""
        self._confirmed = 0
        self._numbers = 0
        self._queue: deque[_Call] = deque()
        self._calls: dict[int, _Call] = {}
        """All that are not answered, those in the queue included."""
        self._taken: set[int] = set()
        """Of these, what the service has."""
        self._left: list[int] = []
        """Numbers to be cancelled in the service."""
        self._sender: asyncio.Task[None] | None = None
        self._receiver: asyncio.Task[None] | None = None
        self._gone: str = ""
        """Why nothing can be asked any more."""

    @property
    def identity(self) -> str:
        """The model's own."""
        return self._door.identity

    @property
    def waiting(self) -> int:
        """Requests of this process that are not answered."""
        return len(self._calls)

    async def complete(self, request: Request) -> Completion:
        """The service's answer."""
        if self._gone:
            raise EngineDead(self._gone, definite=True)
        if len(self._calls) >= self._settings.waiting_requests:
            raise QueueFull(
                f"{len(self._calls):,} requests of this process wait for {self.identity}, and no more may "
                f"(waiting_requests)"
            )
        self._numbers += 1
        call = _Call(self._numbers, request, self._clock.now(), current_trace())
        self._calls[call.number] = call
        self._queue.append(call)
        self._send()
        limit_s = None if request.timeout_s is None else request.timeout_s + _GRACE_S
        try:
            return await within(self._clock, limit_s, _answered(call))
        except TimeoutError:
            raise DeadlinePassed(
                f"the service of {self.identity} did not answer within {request.timeout_s:g} s",
                definite=not call.offered,
            ) from None
        finally:
            self._forget(call)

    async def count_tokens(self, request: Request) -> TokenCount:
        """The service's count."""
        try:
            tokens, exact = await self._door.count_tokens(bytes(memoryview(encoded_request(request))))
        except (ServiceUnavailable, ServiceGone) as error:
            raise EngineDead(f"the service of {self.identity}: {error}", definite=True) from None
        return TokenCount(tokens, exact)

    async def aclose(self) -> None:
        """Fails what waits, and leaves the service, which serves others on."""
        self._fail_all(f"{self.identity} was closed")
        tasks = [task for task in (self._sender, self._receiver) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        session, self._session = self._session, ""
        if session:
            with suppress(ServiceUnavailable, ServiceGone):
                await self._door.leave(session)

    async def _guarded(self, work: Coroutine[Any, Any, None]) -> None:
        """A fault of ours must not leave callers waiting."""
        try:
            await work
        except Exception as error:
            log.exception("a model service's client failed")
            self._lose(f"was lost by a fault here ({type(error).__name__})")
            self._fail_all(f"a fault here: {type(error).__name__}; the log tells more")

    # --- There ------------------------------------------------------------------------------------------------

    def _send(self) -> None:
        if self._sender is None or self._sender.done():
            self._sender = asyncio.ensure_future(self._guarded(self._keep_sending()))

    async def _keep_sending(self) -> None:
        """Until nothing is left to be sent."""
        while self._queue or self._left:
            if len(self._queue) < self._settings.batch_requests:
                await self._clock.sleep(self._settings.gather_s)
            if self._left and self._session:
                left, self._left = self._left, []
                with suppress(ServiceUnavailable, ServiceGone):  # what is not heard ends with its lease
                    await self._door.cancel(self._session, left)
            self._left = self._left if self._session else []
            batch = self._next_batch()
            if batch:
                await self._offer(batch)
                self._receive()

    def _next_batch(self) -> list[Asked]:
        """Requests from the queue, encoded. One that cannot be fails by itself."""
        batch: list[Asked] = []
        room = self._settings.batch_bytes
        while self._queue and len(batch) < self._settings.batch_requests:
            call = self._queue[0]
            if call.answer.done():  # its caller has gone
                self._queue.popleft()
                continue
            try:
                data = encoded_request(self._timed(call))
            except LLMError as error:
                call.answer.set_exception(error)
                self._queue.popleft()
                continue
            room -= len(memoryview(data))
            if batch and room < 0:
                break
            self._queue.popleft()
            batch.append(Asked(call.number, data, call.trace))
        return batch

    def _timed(self, call: _Call) -> Request:
        """The request with the time that is left to it."""
        timeout_s = call.request.timeout_s
        if timeout_s is None:
            return call.request
        left_s = call.began_s + timeout_s - self._clock.now()
        if left_s <= 0:
            raise DeadlinePassed("the deadline passed before the request was sent", definite=True)
        return replace(call.request, timeout_s=left_s)

    async def _offer(self, batch: list[Asked]) -> None:
        """Sends a batch until the service has said what it took of it."""
        data = encoded(batch)
        unclear = False
        """An earlier attempt may have been taken by the session that it named."""
        until_s = self._clock.now() + self._settings.reconnect_s
        pause_s = _FIRST_PAUSE_S
        for _ in range(_ATTEMPTS):
            session = self._session
            try:
                self._mark_offered(batch, offered=bool(session) or unclear)
                taken = await self._door.submit(session, self._confirmed, data)
            except ServiceUnavailable as error:
                unclear = unclear or bool(session)
                if self._clock.now() >= until_s:
                    why = f"the service of {self.identity} cannot be reached: {error}"
                    self._fail(batch, why, unclear)
                    self._fail_queue(why)  # each batch would wait as long again
                    return
                await self._clock.sleep(pause_s)
                pause_s = min(_LONGEST_PAUSE_S, 2 * pause_s)
                continue
            except ServiceGone as error:
                self._fail(batch, f"the service of {self.identity} is gone: {error}", unclear)
                self._end(f"the service of {self.identity} is gone: {error}")
                return
            except LLMError as error:  # it takes no more callers, or could not be opened: nothing was taken
                self._fail_with(batch, error)
                return
            if taken.session == session:
                self._note(batch, taken)
                return
            self._change(taken.session)
            if unclear:
                break
        self._fail(batch, f"the service of {self.identity} started again", unclear)

    def _mark_offered(self, batch: list[Asked], *, offered: bool) -> None:
        for asked in batch:
            call = self._calls.get(asked.number)
            if call is not None:
                call.offered = offered

    def _note(self, batch: list[Asked], taken: Taken) -> None:
        """What the service took it has; the rest found it full."""
        for asked in batch[: taken.requests]:
            call = self._calls.get(asked.number)
            if call is not None and not call.answer.done():
                self._taken.add(asked.number)
            elif call is None:
                self._left.append(asked.number)  # its caller went while the batch was on its way
        self._fail_with(
            batch[taken.requests :],
            QueueFull(f"{taken.waiting:,} requests wait for {self.identity}, and its service takes no more"),
        )

    # --- And back -----------------------------------------------------------------------------------------------

    def _receive(self) -> None:
        if self._taken and (self._receiver is None or self._receiver.done()):
            self._receiver = asyncio.ensure_future(self._guarded(self._keep_receiving()))

    async def _keep_receiving(self) -> None:
        """Until nothing is left to be answered."""
        until_s: float | None = None
        pause_s = _FIRST_PAUSE_S
        while self._taken:
            session = self._session
            try:
                delivery = await self._door.collect(session, self._confirmed)
            except ServiceUnavailable as error:
                now_s = self._clock.now()
                until_s = now_s + self._settings.reconnect_s if until_s is None else until_s
                if now_s >= until_s:
                    self._lose(f"cannot be reached: {error}")
                    return
                await self._clock.sleep(pause_s)
                pause_s = min(_LONGEST_PAUSE_S, 2 * pause_s)
                continue
            except ServiceGone as error:
                self._end(f"the service of {self.identity} is gone: {error}")
                return
            except LLMError as error:  # it started again, and could not open its model
                self._lose(f"cannot go on ({error})")
                return
            until_s, pause_s = None, _FIRST_PAUSE_S
            if session != self._session:
                continue  # the sender learned meanwhile that the service is another
            if delivery.session != session:
                self._change("")
                continue
            self._deliver(delivery)
            if not self._taken and len(delivery.answers) >= _CONFIRMED_AT_ONCE:
                with suppress(ServiceUnavailable, ServiceGone, LLMError):  # an empty batch confirms
                    await self._door.submit(session, self._confirmed, encoded([]))

    def _deliver(self, delivery: Delivery) -> None:
        new = max(0, delivery.last - self._confirmed)
        for data in delivery.answers[max(0, len(delivery.answers) - new) :]:
            answer = decoded_answer(data)
            self._taken.discard(answer.number)
            call = self._calls.get(answer.number)
            if call is None or call.answer.done():
                continue
            if answer.completion is not None:
                call.answer.set_result(answer.completion)
            elif answer.failure is not None:
                call.answer.set_exception(answer.failure.error())
        self._confirmed = max(self._confirmed, delivery.last)

    # --- The end of a call, of a session, of the service ---------------------------------------------------------

    def _forget(self, call: _Call) -> None:
        """A caller has its answer, or has gone."""
        del self._calls[call.number]
        if not call.answer.done():
            call.answer.cancel()
        elif not call.answer.cancelled():
            call.answer.exception()  # its caller may have gone without looking
        if call.number in self._taken:
            self._taken.discard(call.number)
            self._left.append(call.number)
            self._send()

    def _change(self, session: str) -> None:
        """The service does not know us any more, or is another: what it took is lost."""
        self._lose("started again, or took this process for dead")
        self._session, self._confirmed, self._left = session, 0, []

    def _lose(self, why: str) -> None:
        for number in list(self._taken):
            call = self._calls.get(number)
            if call is not None and not call.answer.done():
                call.answer.set_exception(
                    EngineDead(f"the service of {self.identity} {why}; the request may have been computed")
                )
        self._taken.clear()

    def _end(self, why: str) -> None:
        self._gone = why
        self._lose("is gone")
        self._fail_all(why)

    def _fail_queue(self, why: str) -> None:
        """What was never offered fails, definitely."""
        queue, self._queue = self._queue, deque()
        for call in queue:
            if not call.answer.done():
                call.answer.set_exception(EngineDead(why, definite=True))

    def _fail_all(self, why: str) -> None:
        self._queue.clear()
        for call in list(self._calls.values()):
            if not call.answer.done():
                call.answer.set_exception(EngineDead(why, definite=not call.offered))

    def _fail(self, batch: list[Asked], why: str, unclear: bool) -> None:
        self._fail_with(batch, EngineDead(why, definite=not unclear))

    def _fail_with(self, batch: list[Asked], error: LLMError) -> None:
        for asked in batch:
            call = self._calls.get(asked.number)
            if call is not None and not call.answer.done():
                call.answer.set_exception(copy(error))


async def _answered(call: _Call) -> Completion:
    return await call.answer
