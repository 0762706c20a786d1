"""The model of one trial: each call asked once, in the budget, recorded, and written in the log.

It stands between the seats of all agents and the service that has the queue and the rate.

Rules:
* A request that is answered already, or under way, is not asked again: who asks has that answer. All requests of seats
  are deterministic (greedy, or seeded by agent and call), so the same request means the same call, made again by a
  cell that was recovered; or a greedy question that others have asked too, which is paid once in a trial.
* A call reserves what it may use before it is sent, and settles after. Where only what others hold stands in its way
  it waits until they have settled; it is refused when what is spent leaves no room for it. So ceilings are used to
  the last call that fits, and are exceeded only where a call uses more than it might (a prompt that was estimated).
* At most `held` calls are at the service; more wait here, so that a swarm of any size finds its queue with room.
* An answer is in the recording before anybody has it. A call goes on when its caller goes away: it is paid for.
* All of it is in two files, `completions.jsonl` and `calls.jsonl`: who opens them again goes on from there.
"""

import asyncio
import time
from collections import deque
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from cluster.call_log import FILE, LOST, Again, Asked, CallLog, Ended, lines_of
from inference.budget import Budget, Reservation, Spent
from inference.completion import Completion
from inference.errors import ERRORS, BudgetExceeded, DeadlinePassed, EngineDead, LLMError
from inference.limits import BudgetLimits, Ceiling
from inference.llm import BaseLLM, TokenCount
from inference.price import Price
from inference.provider import RECORDING
from inference.recording import Recording
from inference.request import Caller, Request, request_hash

_WOKEN = 64
"""Calls that look for room when one has settled: that each of thousands did so each time would take minutes."""


class AccountedLLM(BaseLLM):
    """A model with the budget and the books of a trial. One object serves one event loop."""

    def __init__(
        self,
        model: BaseLLM,
        folder: Path,
        limits: BudgetLimits | None = None,
        price: Price | None = None,
        held: int = 10_000,
    ) -> None:
        """`folder` is the trial's. The model stays open when this is closed."""
        self._model = model
        self._identity = model.identity
        self._price = price
        self._limits = limits or BudgetLimits()
        self._limited = _has_ceiling(self._limits)
        self._budget = Budget(self._limits)
        self._flights: dict[str, asyncio.Task[Completion]] = {}
        self._reservations = 0
        self._room: deque[asyncio.Future[None]] = deque()
        """Calls that wait until others have settled."""
        self._places = asyncio.Semaphore(held)
        self._recording = Recording(folder / RECORDING, writable=True)
        self._log = CallLog(folder / FILE)
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
        self._recording.close()
        self._log.close()

    # --- One call -----------------------------------------------------------------------------------------------

    async def _ask(self, key: str, request: Request) -> Completion:
        caller, came = request.caller, time.monotonic()
        ended = Ended(key, caller.agent, caller.role)
        async with self._places:
            try:
                asked, reservation = await self._reserved(key, request)
            except LLMError as error:
                self._log.append(replace(ended, outcome=error.reason))
                raise
            waited_s = time.monotonic() - came
            try:
                completion = await self._model.complete(request)
                reservation.settle(completion.usage.total_tokens, completion.cost_usd)
            except BaseException as error:
                self._failed(ended, asked, reservation, request, error)
                raise
            finally:
                self._reservations -= 1
                self._make_room()
        timing = replace(completion.timing, queue_s=waited_s + (completion.timing.queue_s or 0.0))
        completion = replace(completion, timing=timing)
        self._recording.append(self._identity, request.content(), 0, completion)
        self._log.append(self._charged(ended, asked, completion, time.monotonic() - came))
        return completion

    def _failed(
        self, ended: Ended, asked: Asked, reservation: Reservation, request: Request, error: BaseException
    ) -> None:
        """Writes down a call without an answer, and charges it if it may have happened."""
        if isinstance(error, LLMError) and error.definite:
            reservation.release()
        else:
            reservation.forfeit()
            ended = replace(ended, charged_tokens=asked.tokens, charged_usd=asked.usd)
        reason = error.reason if isinstance(error, LLMError) else LOST
        if isinstance(error, LLMError) and reason in ERRORS:
            self._recording.append(self._identity, request.content(), 0, error)
        self._log.append(replace(ended, outcome=reason))

    def _charged(self, ended: Ended, asked: Asked, completion: Completion, total_s: float | None) -> Ended:
        usd = asked.usd if completion.cost_usd is None else completion.cost_usd
        ended = ended.of(completion, total_s)
        return replace(ended, charged_tokens=completion.usage.total_tokens, charged_usd=usd)

    async def _reserved(self, key: str, request: Request) -> tuple[Asked, Reservation]:
        """What the call may use, held and written down. Raises `BudgetExceeded`."""
        caller, tokens, usd = request.caller, 0, None
        if self._limited:
            prompt = (await self._model.count_tokens(request)).tokens
            most = request.sampling.n * request.sampling.max_tokens
            tokens = prompt + most
            usd = None if self._price is None else self._price.ceiling_usd(prompt, most)
        while True:
            try:
                reservation = self._budget.reserve(caller, tokens, usd)
                break
            except BudgetExceeded as error:
                if error.final:
                    raise
            room = asyncio.get_running_loop().create_future()
            self._room.append(room)
            await room
        asked = Asked(key, caller.agent, caller.role, tokens, usd or 0.0)
        try:
            self._log.append(asked)
        except BaseException:
            reservation.release()
            raise
        self._reservations += 1
        return asked, reservation

    def _make_room(self) -> None:
        """Some of those who wait look again, in turn; all, if nothing is held: nobody will wake them later."""
        for _ in range(min(len(self._room), _WOKEN) if self._reservations else len(self._room)):
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


def _has_ceiling(limits: BudgetLimits) -> bool:
    ceilings = [
        limits.run,
        limits.each_role,
        limits.each_agent,
        *limits.roles.values(),
        *limits.agents.values(),
    ]
    return any(ceiling != Ceiling() for ceiling in ceilings)
