"""A model within its limits: fair, bounded, at the endpoint's rate, in a budget, and nothing computed twice at once.

Rules:
* A call waits its turn (`inference/admission.py`), reserves what it may cost (`inference/budget.py`), is sent, and
  settles. So the most that a run can spend is known before each call.
* Identical deterministic requests in flight are one: the first is computed and charged to who asked it, the others have
  its answer, at no cost and with a note. It goes on while anybody waits for it. What streams or samples freely is
  computed for itself.
* "Slow down" and "not now" (`RateLimited`, or a dead engine that definitely had nothing) are everybody's: all callers
  wait until the time that the endpoint named, and the call goes back into the queue; a stream is not tried again. So
  give the endpoint below `RetryPolicy(attempts=1)`: two that retry would double the waits.
* A caller that goes away, or whose deadline passes, leaves the queue, or frees the call if nobody else waits for it.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from typing import Any

from msgspec.structs import replace

from inference.admission import Admission, Ticket
from inference.budget import Budget, Reservation
from inference.clock import Clock, SystemClock, within
from inference.completion import Completion, Delta
from inference.errors import DeadlinePassed, EngineDead, InvalidAnswer, LLMError, QueueFull, RateLimited
from inference.limits import BudgetLimits, Rate, ServingLimits
from inference.llm import BaseLLM, TokenCount
from inference.price import Price
from inference.request import Request, request_hash

SHARED = "computed once, for an identical request in flight, which bears the cost"
"""The note on an answer that was another's too."""
_UNNAMED_HOLD_S = 1.0
"""Where an endpoint says to slow down and not for how long; doubled with each attempt of a call."""


class _Flight:
    """A computation that several may wait for."""

    def __init__(self, name: str, task: "asyncio.Task[Completion]", ticket: int) -> None:
        self.name = name
        self.task = task
        self.ticket = ticket
        self.waiters = 0


class _Call:
    """One call as it goes."""

    def __init__(self, queue_s: float) -> None:
        self.queue_s = queue_s
        self.completion: Completion | None = None


class LimitedLLM(BaseLLM):
    """A model behind an admission queue, a rate limiter and a budget. One object serves one event loop."""

    def __init__(
        self,
        model: BaseLLM,
        limits: ServingLimits | None = None,
        *,
        rate: Rate | None = None,
        budget: Budget | None = None,
        price: Price | None = None,
        clock: Clock | None = None,
    ) -> None:
        """Several models may share a `budget`; each has queue and rate of its own."""
        self._model = model
        self._limits = limits or ServingLimits()
        self._admission = Admission(self._limits, rate)
        self._budget = budget or Budget(BudgetLimits())
        self._price = price
        self._clock = clock or SystemClock()
        self._tickets = 0
        self._admitted: dict[int, asyncio.Future[None]] = {}
        self._sent: set[int] = set()
        self._flights: dict[str, _Flight] = {}
        self._alarm: asyncio.Task[None] | None = None

    @property
    def identity(self) -> str:
        """The model's own."""
        return self._model.identity

    @property
    def waiting(self) -> int:
        """Requests in the queue: a cell looks here before it takes on more."""
        return self._admission.waiting

    @property
    def running(self) -> int:
        """Requests sent and not answered."""
        return self._admission.running

    def by_role(self) -> tuple[Counter[str], Counter[str]]:
        """(waiting, running) requests of each role."""
        return self._admission.by_role()

    async def complete(self, request: Request) -> Completion:
        """The model's answer, when it is this request's turn."""
        key = request_hash(request, self.identity) if request.deterministic else ""
        flight = self._flights.get(key)
        is_shared = flight is not None and not flight.task.done()
        if flight is None or flight.task.done():
            flight = self._depart(request, key)
        flight.waiters += 1
        try:
            completion = await within(self._clock, request.timeout_s, self._landed(flight))
            return _borne_by_another(completion) if is_shared else completion
        except TimeoutError:
            raise DeadlinePassed(
                f"{self.identity} did not answer within {request.timeout_s:g} s",
                definite=flight.ticket not in self._sent,
            ) from None
        finally:
            flight.waiters -= 1
            if not flight.waiters and not flight.task.done():
                self._land(flight)  # at once, so that nobody joins what is being cancelled
                flight.task.cancel()
                await asyncio.gather(flight.task, return_exceptions=True)

    async def stream(self, request: Request) -> AsyncGenerator[Delta, None]:
        """The model's own stream, when it is this request's turn. Who leaves early is charged what was reserved."""
        count = (await self.count_tokens(request)).tokens
        self._tickets += 1
        began_s = self._clock.now()
        deadline_s = None if request.timeout_s is None else began_s + request.timeout_s
        ticket = Ticket(self._tickets, request.caller, _most(count, request), deadline_s)
        try:
            async with self._sending(ticket, count, request, 1) as call:
                left_s = None if deadline_s is None else max(0.0, deadline_s - self._clock.now())
                async with aclosing(self._model.stream(replace(request, timeout_s=left_s))) as stream:
                    async for delta in stream:
                        if delta.completion is None:
                            yield delta
                        else:
                            call.completion = self._told(delta.completion, call.queue_s)
                            yield Delta(completion=call.completion)
        finally:
            self._sent.discard(ticket.number)

    async def count_tokens(self, request: Request) -> TokenCount:
        """The model's own count."""
        return await self._model.count_tokens(request)

    def describe(self) -> dict[str, Any]:
        """The model's own."""
        return self._model.describe()

    async def aclose(self) -> None:
        """Ends what waits and runs, and closes the model."""
        tasks: list[asyncio.Task[Any]] = [flight.task for flight in self._flights.values()]
        if self._alarm is not None:
            tasks.append(self._alarm)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._model.aclose()

    # --- A computation that may be shared -----------------------------------------------------------------------

    def _depart(self, request: Request, key: str) -> _Flight:
        self._tickets += 1
        number = self._tickets
        name = key or f"#{number}"
        flight = _Flight(name, asyncio.ensure_future(self._compute(number, request)), number)
        self._flights[name] = flight
        flight.task.add_done_callback(lambda _task: self._land(flight))
        return flight

    def _land(self, flight: _Flight) -> None:
        if self._flights.get(flight.name) is flight:
            del self._flights[flight.name]
        self._sent.discard(flight.ticket)

    async def _landed(self, flight: _Flight) -> Completion:
        # Not the task itself: a caller that goes away must not take it from the others.
        await asyncio.wait({flight.task})
        if flight.task.cancelled():
            raise EngineDead(f"{self.identity} was closed", definite=flight.ticket not in self._sent)
        return flight.task.result()

    async def _compute(self, number: int, request: Request) -> Completion:
        """Asks until there is an answer, or an error that waiting does not mend."""
        count = (await self.count_tokens(request)).tokens
        ticket = Ticket(number, request.caller, _most(count, request))
        asked = replace(request, timeout_s=None)  # each who waits has a deadline of its own
        for attempt in range(1, self._limits.attempts + 1):
            try:
                async with self._sending(ticket, count, request, attempt) as call:
                    call.completion = self._told(await self._model.complete(asked), call.queue_s)
                return call.completion
            except LLMError as error:
                if not self._goes_again(error) or attempt == self._limits.attempts:
                    raise
        raise AssertionError("the last attempt returns or raises")

    def _heed(self, error: LLMError, attempt: int) -> None:
        """What one caller learns of the endpoint, all keep to."""
        if not _is_for_all(error):
            return
        named_s = error.wait_s if isinstance(error, RateLimited) else None
        wait_s = _UNNAMED_HOLD_S * 2.0 ** (attempt - 1) if named_s is None else named_s
        self._admission.hold(self._clock.now(), min(wait_s, self._limits.longest_hold_s))

    def _goes_again(self, error: LLMError) -> bool:
        """True if the call may be made again after the hold."""
        named_s = error.wait_s if isinstance(error, RateLimited) else None
        return _is_for_all(error) and (named_s is None or named_s <= self._limits.longest_hold_s)

    # --- One call -----------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def _sending(
        self, ticket: Ticket, prompt: int, request: Request, attempt: int
    ) -> AsyncIterator[_Call]:
        """From the request's turn to its end: what it may use is held, and what it used is charged."""
        began_s = self._clock.now()
        await self._turn(ticket)
        call = _Call(self._clock.now() - began_s)
        used = 0
        try:
            reservation = self._reserve(ticket, prompt, request)
            self._sent.add(ticket.number)
            try:
                yield call
            except LLMError as error:
                self._heed(error, attempt)  # before its place is given to the next
                if error.definite:
                    self._sent.discard(ticket.number)
                    reservation.release()
                else:
                    used = ticket.tokens
                    reservation.forfeit()
                raise
            except BaseException:
                used = ticket.tokens
                reservation.forfeit()
                raise
            if call.completion is None:
                raise InvalidAnswer(f"{self.identity} ended its stream without a completion")
            used = call.completion.usage.total_tokens
            reservation.settle(used, call.completion.cost_usd)
        finally:
            answered = call.completion is not None
            self._admission.finish(ticket.number, self._clock.now(), used, answered=answered)
            self._pump()

    def _reserve(self, ticket: Ticket, prompt: int, request: Request) -> Reservation:
        price = self._price
        usd = None if price is None else price.ceiling_usd(prompt, ticket.tokens - prompt)
        return self._budget.reserve(request.caller, ticket.tokens, usd)

    def _told(self, completion: Completion, queue_s: float) -> Completion:
        """A completion with its wait, and with its cost where the model did not tell."""
        timing = completion.timing
        total_s = None if timing.total_s is None else timing.total_s + queue_s
        first_s = None if timing.first_token_s is None else timing.first_token_s + queue_s
        cost_usd = completion.cost_usd
        if cost_usd is None and self._price is not None:
            cost_usd = self._price.cost_usd(completion.usage)
        waited = replace(timing, total_s=total_s, first_token_s=first_s, queue_s=queue_s)
        return replace(completion, timing=waited, cost_usd=cost_usd)

    # --- The queue ----------------------------------------------------------------------------------------------

    async def _turn(self, ticket: Ticket) -> None:
        """Returns when the request may be sent. It is running then, and must be finished."""
        now_s = self._clock.now()
        self._admission.offer(ticket, now_s)
        admitted = asyncio.get_running_loop().create_future()
        self._admitted[ticket.number] = admitted
        self._pump()
        try:
            await admitted
        except BaseException:
            if self._admitted.pop(ticket.number, None) is not None:
                self._admission.withdraw(ticket.number)
            elif admitted.done() and not admitted.cancelled() and admitted.exception() is None:
                # Its turn came in the moment in which it was cancelled.
                self._admission.finish(ticket.number, self._clock.now(), 0, answered=False)
            self._pump()
            raise

    def _pump(self) -> None:
        """Sends what may be sent, and sets the alarm for what may be later."""
        now_s = self._clock.now()
        for late in self._admission.expired(now_s):
            waiting = self._admitted.pop(late.number)
            if not waiting.done():
                waiting.set_exception(
                    DeadlinePassed(f"{self.identity} had no room before the deadline", definite=True)
                )
        while (ticket := self._admission.start(now_s)) is not None:
            waiting = self._admitted.pop(ticket.number)
            if waiting.done():  # cancelled, and not yet told
                self._admission.finish(ticket.number, now_s, 0, answered=False)
            else:
                waiting.set_result(None)
        if self._alarm is not None:
            self._alarm.cancel()
        wait_s = self._admission.wait_s(now_s)
        self._alarm = None if wait_s is None else asyncio.ensure_future(self._ring(wait_s))

    async def _ring(self, wait_s: float) -> None:
        await self._clock.sleep(wait_s)
        self._alarm = None
        self._pump()


def _borne_by_another(completion: Completion) -> Completion:
    cost_usd = None if completion.cost_usd is None else 0.0
    return replace(completion, cost_usd=cost_usd, notes=(*completion.notes, SHARED))


def _is_for_all(error: LLMError) -> bool:
    """True for what says something of the endpoint and nothing of the request."""
    return error.transient and error.definite and not isinstance(error, QueueFull)


def _most(prompt: int, request: Request) -> int:
    """The tokens that a call can use."""
    return prompt + request.sampling.n * request.sampling.max_tokens
