"""The desk of a model service: takes batches of requests from many cells, and hands out answers as they are done.

It knows nothing of Ray: `inference/ray_service.py` puts it into an actor, a test calls it as it is.

Rules:
* A caller has a session. It numbers its requests upwards and has one batch under way, so a batch that is sent again,
  since its reply was lost, takes nothing twice.
* Answers stand in the session's outbox until the caller confirms them: a reply that is lost is given again. Whoever
  asks for answers has all that are there, and none waits for a slower one.
* At most `held` requests are here, with the answers that nobody has fetched. What would exceed that is not taken.
* A caller from whom nothing is heard for `lease_s` is gone: its calls are cancelled, which frees what they held, and
  its session is forgotten. So does one that leaves.
"""

import asyncio
import logging
from collections import deque
from typing import Any
from uuid import uuid4

import msgspec

from inference.clock import Clock, SystemClock, within
from inference.errors import BadRequest, EngineDead, InvalidAnswer, LLMError
from inference.failure import Failure
from inference.llm import BaseLLM
from inference.request import Request
from inference.service_wire import (
    Answer,
    Asked,
    Delivery,
    Taken,
    decoded_batch,
    decoded_request,
    encoded_answer,
)
from inference.telemetry import caller_span

SESSIONS = 10_000
DELIVERY_ANSWERS = 1_000
DELIVERY_BYTES = 1 << 20
_GATHER_S = 0.001
"""So long a delivery waits for answers that are done in the same moment."""

log = logging.getLogger("rayswarm")


class _Session:
    """One caller's."""

    def __init__(self, now_s: float) -> None:
        self.heard_s = now_s
        self.taken = 0
        """The greatest number that was taken."""
        self.calls: dict[int, asyncio.Task[None]] = {}
        self.outbox: deque[msgspec.Raw] = deque()
        self.first = 1
        """The count of the first answer in the outbox."""
        self.delivered = 0
        """The count of the last answer that was handed out; it may not have arrived."""
        self.ready = asyncio.Event()

    def confirm(self, last: int) -> None:
        """The caller has all answers up to this one."""
        while self.outbox and self.first <= last:
            self.outbox.popleft()
            self.first += 1
        if not self.outbox:
            self.ready.clear()

    def held(self) -> int:
        """What takes room. Answers handed out do not: who asks for nothing more confirms the last ones late."""
        last = self.first - 1 + len(self.outbox)
        return len(self.calls) + last - max(self.delivered, self.first - 1)


class ServiceDesk:
    """One model for many callers. One object serves one event loop."""

    def __init__(
        self,
        model: BaseLLM,
        *,
        held: int = 20_000,
        lease_s: float = 60.0,
        poll_s: float = 10.0,
        clock: Clock | None = None,
    ) -> None:
        assert 0 < poll_s < lease_s, "a caller that waits for an answer is not gone"
        self._model = model
        self._held = held
        self._lease_s = lease_s
        self._poll_s = poll_s
        self._clock = clock or SystemClock()
        self._name = uuid4().hex
        self._opened = 0
        self._sessions: dict[str, _Session] = {}
        self._leaving: set[asyncio.Task[None]] = set()
        """Calls of sessions that have ended, until they let go."""
        self._watch: asyncio.Task[None] | None = None

    @property
    def identity(self) -> str:
        """The model's."""
        return self._model.identity

    def describe(self) -> dict[str, Any]:
        """What a manifest should say of the model."""
        return self._model.describe()

    @property
    def held(self) -> int:
        """Requests that are here, with the answers that nobody has fetched."""
        return sum(session.held() for session in self._sessions.values())

    @property
    def sessions(self) -> int:
        """Callers that are here."""
        return len(self._sessions)

    async def submit(self, session: str, confirmed: int, batch: bytes) -> Taken:
        """Takes what there is room for. A session that is not known gets a new one, and nothing is taken."""
        known = self._heard(session)
        if known is None:
            return self._open()
        known.confirm(confirmed)
        asked = decoded_batch(batch)
        held = self.held
        taken = 0
        for one in asked:
            if one.number > known.taken:
                if held >= self._held:
                    break
                held += 1
                known.taken = one.number
                self._begin(known, one)
            taken += 1
        return Taken(session, taken, held)

    async def collect(self, session: str, confirmed: int) -> Delivery:
        """All answers that are there; the first that comes if there are none; none after a while without any."""
        known = self._heard(session)
        if known is None:
            return Delivery("")
        known.confirm(confirmed)
        if not known.outbox:
            try:
                await within(self._clock, self._poll_s, known.ready.wait())
            except TimeoutError:
                self._heard(session)
                return Delivery(session, known.first - 1)
            await self._clock.sleep(_GATHER_S)
        self._heard(session)
        answers: list[msgspec.Raw] = []
        room = DELIVERY_BYTES
        for answer in known.outbox:
            if answers and (len(answers) == DELIVERY_ANSWERS or len(memoryview(answer)) > room):
                break
            room -= len(memoryview(answer))
            answers.append(answer)
        known.delivered = max(known.delivered, known.first - 1 + len(answers))
        return Delivery(session, known.first - 1 + len(answers), tuple(answers))

    async def cancel(self, session: str, numbers: list[int]) -> None:
        """Ends calls. One that is done already has its answer in the outbox; nobody will miss it."""
        known = self._heard(session)
        calls = {} if known is None else known.calls
        for number in numbers:
            if number in calls:
                calls[number].cancel()  # not awaited: who asks sends on, however long a model takes to let go

    async def leave(self, session: str) -> None:
        """Ends a session and all its calls."""
        known = self._sessions.pop(session, None)
        if known is not None:
            self._leaving.update(known.calls.values())
            for call in known.calls.values():
                call.cancel()
                call.add_done_callback(self._leaving.discard)

    async def count_tokens(self, request: bytes) -> tuple[int, bool]:
        """The model's count."""
        count = await self._model.count_tokens(decoded_request(msgspec.Raw(request)))
        return count.tokens, count.exact

    async def aclose(self) -> None:
        """Ends all sessions, and closes the model."""
        if self._watch is not None:
            self._watch.cancel()
            await asyncio.gather(self._watch, return_exceptions=True)
        for session in list(self._sessions):
            await self.leave(session)
        await asyncio.gather(*self._leaving, return_exceptions=True)
        await self._model.aclose()

    # --- Sessions -----------------------------------------------------------------------------------------------

    def _open(self) -> Taken:
        if len(self._sessions) >= SESSIONS:
            raise BadRequest(
                f"the service has {SESSIONS:,} callers, and no more may come: share a ServiceLLM"
            )
        self._opened += 1
        name = f"{self._name}.{self._opened}"
        self._sessions[name] = _Session(self._clock.now())
        if self._watch is None or self._watch.done():
            self._watch = asyncio.ensure_future(self._watch_leases())
        return Taken(name, 0, self.held)

    def _heard(self, session: str) -> _Session | None:
        known = self._sessions.get(session)
        if known is not None:
            known.heard_s = self._clock.now()
        return known

    async def _watch_leases(self) -> None:
        """Until there is nobody left."""
        while self._sessions:
            await self._clock.sleep(self._lease_s / 4)
            gone_s = self._clock.now() - self._lease_s
            for name, session in list(self._sessions.items()):
                if session.heard_s < gone_s:
                    log.warning(
                        "a caller of the model service is gone: %s calls are freed", len(session.calls)
                    )
                    await self.leave(name)

    # --- Calls --------------------------------------------------------------------------------------------------

    def _begin(self, session: _Session, asked: Asked) -> None:
        number = asked.number
        try:
            request = decoded_request(asked.request)
        except LLMError as error:
            self._put(session, Answer(number, failure=Failure.of(error)))
            return
        call = asyncio.ensure_future(self._call(session, number, request, asked.trace))
        session.calls[number] = call
        call.add_done_callback(lambda _call: session.calls.pop(number, None))

    async def _call(self, session: _Session, number: int, request: Request, trace: str) -> None:
        try:
            with caller_span(trace):
                completion = await self._model.complete(request)
            answer = Answer(number, completion)
        except LLMError as error:
            answer = Answer(number, failure=Failure.of(error))
        except Exception as error:  # a fault of ours or of a user's model must not leave its caller waiting
            log.exception("the model service failed")
            told = EngineDead(f"{self.identity} failed: {type(error).__name__}; the service's log tells more")
            answer = Answer(number, failure=Failure.of(told))
        self._put(session, answer)

    def _put(self, session: _Session, answer: Answer) -> None:
        try:
            data = encoded_answer(answer)
        except (OverflowError, TypeError, ValueError) as error:
            told = InvalidAnswer(f"the answer of {self.identity} cannot be sent: {error}")
            data = encoded_answer(Answer(answer.number, failure=Failure.of(told)))
        session.outbox.append(data)
        session.ready.set()
