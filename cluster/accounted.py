"""The model of one trial: each call asked once, in the budget, recorded, and written in the log.

It stands between the seats of all agents and the model, and holds the queue and the rate too: so a call reserves what
it may use when it is its turn, not while it waits, and what waits when the process dies was not paid for.

Rules:
* A request that is answered already, or under way, is not asked again: who asks has that answer. All requests of seats
  are deterministic (greedy, or seeded by agent and call), so the same request means the same call, made again by a
  cell that was recovered; or a greedy question that others have asked too, which is paid once in a trial.
* A call reserves what it may use before it is sent, and settles after. Where only what others hold stands in its way
  it waits until they have settled; it is refused when what is spent leaves no room for it. So ceilings are used to
  the last call that fits, and are exceeded only where a call uses more than it might (a prompt that was estimated).
* At most as many calls as the queue holds are in it; more wait before it, so that a swarm of any size finds room.
* An answer is in the recording before anybody has it. A call goes on when its caller goes away, since it is paid for,
  until its own deadline.
* All of it is in two files, `completions.jsonl` and `calls.jsonl`: who opens them again goes on from there.
"""

import asyncio
import time
from collections import deque
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from cluster.call_log import FILE, LOST, Again, Asked, CallLog, Ended, lines_of
from inference.budget import Budget, Reservation, Spent
from inference.completion import Completion
from inference.errors import ERRORS, BudgetExceeded, DeadlinePassed, EngineDead, LLMError
from inference.limited import LimitedLLM
from inference.limits import BudgetLimits, Rate, ServingLimits
from inference.llm import BaseLLM, TokenCount
from inference.price import Price
from inference.provider import RECORDING
from inference.recording import Recording
from inference.request import Caller, Request, request_hash

_WOKEN = 64
"""Calls that look for room when one has settled: that each of thousands did so each time would take minutes."""


@dataclass(frozen=True)
class Bounds:
    """What holds the calls of a trial back."""

    budget: BudgetLimits = field(default_factory=BudgetLimits)
    price: Price | None = None
    """Needed where there are ceilings in money."""
    serving: ServingLimits = field(default_factory=ServingLimits)
    rate: Rate = field(default_factory=Rate)


_call: ContextVar[str] = ContextVar("call")
"""The key of the call that is made in this task."""


class _Books(Budget):
    """A budget that writes down each call before it is sent."""

    def __init__(self, limits: BudgetLimits, log: CallLog) -> None:
        super().__init__(limits)
        self._log = log
        self.held: dict[str, Asked] = {}
        """Calls under way, by key."""

    def reserve(self, caller: Caller, tokens: int, usd: float | None) -> Reservation:
        """See `Budget`."""
        reservation = super().reserve(caller, tokens, usd)
        asked = Asked(_call.get(), caller.agent, caller.role, tokens, usd or 0.0)
        try:
            self._log.append(asked)
        except BaseException:
            reservation.release()
            raise
        self.held[asked.key] = asked
        return reservation


class _Shared(BaseLLM):
    """A model that others have too: it is not closed with this trial."""

    def __init__(self, model: BaseLLM) -> None:
        self._model = model

    @property
    def identity(self) -> str:
        return self._model.identity

    async def complete(self, request: Request) -> Completion:
        return await self._model.complete(request)

    async def count_tokens(self, request: Request) -> TokenCount:
        return await self._model.count_tokens(request)

    def describe(self) -> dict[str, Any]:
        return self._model.describe()


class AccountedLLM(BaseLLM):
    """A model with the queue, the budget and the books of a trial. One object serves one event loop."""

    def __init__(self, model: BaseLLM, folder: Path, bounds: Bounds | None = None) -> None:
        """`folder` is the trial's. The model stays open when this is closed."""
        bounds = bounds or Bounds()
        self._identity = model.identity
        self._flights: dict[str, asyncio.Task[Completion]] = {}
        self._room: deque[asyncio.Future[None]] = deque()
        """Calls that wait until others have settled."""
        self._places = asyncio.Semaphore(bounds.serving.queued_requests)
        self._recording = Recording(folder / RECORDING, writable=True)
        self._log = CallLog(folder / FILE)
        self._budget = _Books(bounds.budget, self._log)
        self._model = LimitedLLM(
            _Shared(model), bounds.serving, rate=bounds.rate, budget=self._budget, price=bounds.price
        )
        self._take_up(folder / FILE)

    @property
    def identity(self) -> str:
        """The model's own."""
        return self._identity

    def spent(self) -> Spent:
        """What the trial has spent."""
        return self._budget.spent()

    async def complete(self, request: Request) -> Completion:
        """The model's answer, or the one that it gave before. Raises `LLMError`."""
        key = request_hash(request, self._identity)
        flight = self._flights.get(key)
        if flight is None and self._recording.count(key):
            self._note_again(key, request.caller)
            return self._recording.outcome(key, 0)
        if flight is None:
            flight = self._flights[key] = asyncio.ensure_future(self._ask(key, request))
            flight.add_done_callback(lambda task: self._landed(key, task))
        else:
            self._note_again(key, request.caller)
        done, _ = await asyncio.wait({flight}, timeout=request.timeout_s)
        if not done:
            raise DeadlinePassed(f"{self._identity} did not answer within {request.timeout_s:g} s")
        if flight.cancelled():
            raise EngineDead(f"{self._identity} was closed")
        return flight.result()

    async def count_tokens(self, request: Request) -> TokenCount:
        """The model's own count."""
        return await self._model.count_tokens(request)

    def describe(self) -> dict[str, Any]:
        """The model's own."""
        return self._model.describe()

    async def aclose(self) -> None:
        """Ends the calls under way, and closes the files."""
        flights = list(self._flights.values())
        for flight in flights:
            flight.cancel()
        await asyncio.gather(*flights, return_exceptions=True)
        await self._model.aclose()
        self._recording.close()
        self._log.close()

    # --- One call -----------------------------------------------------------------------------------------------

    async def _ask(self, key: str, request: Request) -> Completion:
        came = time.monotonic()
        _call.set(key)
        ended = Ended(key, request.caller.agent, request.caller.role)
        async with self._places:
            try:
                completion, began = await self._in_budget(key, request)
            except BaseException as error:
                self._failed(ended, self._budget.held.pop(key, None), request, error)
                raise
            else:
                asked = self._budget.held.pop(key)
            finally:
                self._make_room()
        queue_s = began - came + (completion.timing.queue_s or 0.0)
        completion = replace(completion, timing=replace(completion.timing, queue_s=queue_s))
        self._recording.append(self._identity, request.content(), 0, completion)
        self._log.append(self._charged(ended, asked, completion, time.monotonic() - came))
        return completion

    async def _in_budget(self, key: str, request: Request) -> tuple[Completion, float]:
        """The answer, as soon as there is room for the call, and when it went into the queue for the last time."""
        while True:
            began = time.monotonic()
            try:
                return await self._model.complete(request), began
            except BudgetExceeded as error:
                self._budget.held.pop(key, None)
                if error.final:
                    raise
            if self._budget.held:  # else nobody is left to wait for
                room = asyncio.get_running_loop().create_future()
                self._room.append(room)
                await room

    def _failed(self, ended: Ended, asked: Asked | None, request: Request, error: BaseException) -> None:
        """Writes down a call without an answer; it was charged if it was sent and may have happened."""
        if asked is not None and not (isinstance(error, LLMError) and error.definite):
            ended = replace(ended, charged_tokens=asked.tokens, charged_usd=asked.usd)
        if isinstance(error, LLMError) and error.reason in ERRORS:
            self._recording.append(self._identity, request.content(), 0, error)
        if asked is not None or isinstance(error, LLMError):
            self._log.append(replace(ended, outcome=error.reason if isinstance(error, LLMError) else LOST))

    def _charged(self, ended: Ended, asked: Asked, completion: Completion, total_s: float | None) -> Ended:
        usd = asked.usd if completion.cost_usd is None else completion.cost_usd
        ended = ended.of(completion, total_s)
        return replace(ended, charged_tokens=completion.usage.total_tokens, charged_usd=usd)

    def _make_room(self) -> None:
        """Some of those who wait look again, in turn; all, if nothing is held: nobody will wake them later."""
        for _ in range(min(len(self._room), _WOKEN) if self._budget.held else len(self._room)):
            room = self._room.popleft()
            if not room.done():
                room.set_result(None)

    def _landed(self, key: str, task: "asyncio.Task[Completion]") -> None:
        del self._flights[key]
        if not task.cancelled():
            task.exception()  # looked at: whoever asked may be gone

    # --- The books ----------------------------------------------------------------------------------------------

    def _note_again(self, key: str, caller: Caller) -> None:
        self._log.append(Again(key, caller.agent, caller.role))

    def _take_up(self, path: Path) -> None:
        """Charges what was spent before, and ends what an earlier process left under way."""
        under_way: dict[str, Asked] = {}
        for line in lines_of(path):
            if isinstance(line, Asked):
                under_way[line.key] = line
            elif isinstance(line, Ended):
                under_way.pop(line.key, None)
                self._charge(line)
        for key, asked in under_way.items():
            ended = Ended(key, asked.agent, asked.role)
            completion = self._recorded(key)
            if completion is not None:
                ended = self._charged(ended, asked, completion, None)
            else:
                ended = replace(ended, outcome=LOST, charged_tokens=asked.tokens, charged_usd=asked.usd)
            self._charge(ended)
            self._log.append(ended)

    def _charge(self, ended: Ended) -> None:
        caller = Caller(agent=ended.agent, role=ended.role)
        self._budget.charge(caller, ended.charged_tokens, ended.charged_usd)

    def _recorded(self, key: str) -> Completion | None:
        if not self._recording.count(key):
            return None
        try:
            return self._recording.outcome(key, 0)
        except LLMError:
            return None
