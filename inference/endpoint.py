"""Calls of an endpoint with retries and a deadline, the same for every protocol.

Rules:
* `timeout_s` of the request, or the endpoint's own, covers a call with all its attempts and waits.
* A stream is tried again only before its first piece: what was said cannot be taken back.
* Every error leaves with the key struck out.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass, field
from random import Random

from msgspec.structs import replace

from inference.clock import Clock, SystemClock
from inference.completion import Completion, Delta, Timing
from inference.errors import DeadlinePassed, LLMError
from inference.price import Price
from inference.request import Request
from inference.retry import RetryPolicy
from inference.secret import Secret


@dataclass
class EndpointSettings:
    """What is the same for all endpoints."""

    key: Secret | None = None
    price: Price | None = None
    timeout_s: float = 300.0
    """For a call with all its attempts, where the request names none."""
    idle_s: float = 60.0
    """The longest silence of an endpoint within one attempt."""
    retry: RetryPolicy = field(default_factory=RetryPolicy)
    clock: Clock = field(default_factory=SystemClock)
    rng: Random = field(default_factory=Random)
    """For the jitter of waits. By default seeded by the system: callers that fail together must not wait alike."""


class Calls:
    """Makes attempts until one succeeds, or the policy or the deadline ends them."""

    def __init__(self, settings: EndpointSettings, where: str) -> None:
        self._settings = settings
        self._where = where

    async def complete(
        self, request: Request, attempt: Callable[[Request], Awaitable[Completion]]
    ) -> Completion:
        """The first completion that an attempt gives."""
        call = _Call(self._settings, request, self._where)
        async with call.deadline():
            for number in range(1, self._settings.retry.attempts + 1):
                try:
                    call.sent = True
                    return call.finished(await attempt(request))
                except LLMError as error:
                    await call.wait(error, number)
        raise AssertionError("the policy ends the last attempt")

    async def stream(
        self, request: Request, attempt: Callable[[Request], AsyncGenerator[Delta, None]]
    ) -> AsyncGenerator[Delta, None]:
        """The first stream that an attempt begins."""
        call = _Call(self._settings, request, self._where)
        for number in range(1, self._settings.retry.attempts + 1):
            try:
                call.sent = True
                async with aclosing(attempt(request)) as stream:
                    while True:  # ends with the stream, or at the deadline
                        async with call.deadline():
                            delta = await anext(stream, None)
                        if delta is None:
                            return
                        yield call.timed(delta)
            except LLMError as error:
                async with call.deadline():
                    await call.wait(error, number)


class _Call:
    """One call: its deadline, and what is known of it."""

    def __init__(self, settings: EndpointSettings, request: Request, where: str) -> None:
        self._settings = settings
        self._where = where
        self._timeout_s = settings.timeout_s if request.timeout_s is None else request.timeout_s
        self._began = settings.clock.now()
        self._ends = asyncio.get_running_loop().time() + self._timeout_s
        self._first_s: float | None = None
        self.sent = False

    def deadline(self) -> "_Deadline":
        """Within it, `DeadlinePassed` is raised when the call's time is over."""
        return _Deadline(self)

    def passed(self) -> DeadlinePassed:
        """The error of a call whose time is over."""
        return DeadlinePassed(
            f"{self._where} did not answer within {self._timeout_s:g} s", definite=not self.sent
        )

    @property
    def ends(self) -> float:
        """When, by the loop's time."""
        return self._ends

    async def wait(self, error: LLMError, attempt: int) -> None:
        """Waits before the next attempt. Raises the error, without the key, if there is none."""
        key = self._settings.key
        if key is not None:
            error.args = (key.scrub(str(error)),)
        retry_s = (
            None
            if self._first_s is not None
            else self._settings.retry.wait_s(error, attempt, self._settings.rng)
        )
        if retry_s is None:
            raise error
        self.sent = not error.definite
        await self._settings.clock.sleep(retry_s)

    def finished(self, completion: Completion) -> Completion:
        """A completion with its time and its cost."""
        now = self._settings.clock.now() - self._began
        price = self._settings.price
        cost_usd = None if price is None else price.cost_usd(completion.usage)
        return replace(completion, timing=Timing(now, self._first_s), cost_usd=cost_usd)

    def timed(self, delta: Delta) -> Delta:
        """A piece, with the completion's time and cost if it is the last."""
        if self._first_s is None:
            self._first_s = self._settings.clock.now() - self._began
        return delta if delta.completion is None else Delta(completion=self.finished(delta.completion))


class _Deadline:
    """`asyncio.timeout_at`, raising the call's own error."""

    def __init__(self, call: _Call) -> None:
        self._call = call
        self._timeout = asyncio.timeout_at(call.ends)

    async def __aenter__(self) -> None:
        await self._timeout.__aenter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: object
    ) -> None:
        try:
            await self._timeout.__aexit__(kind, error, trace)  # type: ignore[arg-type]  # a traceback, passed on
        except TimeoutError:
            raise self._call.passed() from None
