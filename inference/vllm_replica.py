"""The caller's side of a vLLM actor: a `BaseLLM` that gathers what is asked at once into one Ray call.

Rules:
* What is asked in one turn of the event loop leaves together. One call waits for answers as long as there is something
  to wait for; new requests go with the next, which also brings what is ready. So calls do not grow with requests.
* A deadline holds here too, whatever happens to the actor. The actor is told who goes away, and frees the sequence.
* When the actor's process dies, what it had is `EngineDead`, indefinite; what was not sent yet goes to the next.
* One object serves one event loop; it can be handed to other processes, where it opens a session of its own.
"""

import asyncio
import itertools
from collections import deque
from collections.abc import AsyncGenerator, Coroutine, Sequence
from typing import Any
from uuid import uuid4

import ray
from msgspec.structs import replace
from ray.exceptions import ActorDiedError, RayError
from ray.util.placement_group import remove_placement_group

from inference.completion import Completion, Delta
from inference.deadline import Deadline
from inference.errors import BadRequest, EngineDead, LLMError
from inference.llm import BaseLLM, TokenCount
from inference.request import Request
from inference.vllm_adapter import AdapterLLM
from inference.vllm_metrics import Health, Metrics
from inference.vllm_prompt import checked_ids
from inference.vllm_wire import (
    BATCH_BYTES,
    Answer,
    Asked,
    Batch,
    decoded_answers,
    encoded,
    encoded_request,
)

CALL_S = 60.0
"""Of a call for health or counts: an actor that says nothing for so long is lost."""
OPEN_ATTEMPTS = 60
"""To reach an actor that Ray restarts, before what waits is given up."""
OPEN_AGAIN_S = 1.0
_TURNS = 4
"""Of the event loop, in which callers that were just answered ask what comes next."""


class _Pending:
    """A request that waits for its end."""

    def __init__(self, asked: Asked, call: Deadline) -> None:
        self.asked = asked
        self.call = call
        self.session = ""
        """Where it was sent; empty before that."""
        self.answers: deque[Answer | LLMError] = deque()
        self.stirred = asyncio.Event()

    def add(self, answer: Answer | LLMError) -> None:
        self.answers.append(answer)
        self.stirred.set()

    async def next(self) -> Answer:
        """The next piece, or the end. Raises what it failed of."""
        while not self.answers:
            self.stirred.clear()
            await self.stirred.wait()
        answer = self.answers.popleft()
        if isinstance(answer, LLMError):
            raise answer
        if answer.failure is not None:
            raise answer.failure.error()
        return answer


class VLLMReplica(BaseLLM):
    """A model in a vLLM actor. `inference.ray_vllm.start_vllm` starts one."""

    def __init__(self, actor: Any, described: dict[str, Any], group: Any = None) -> None:
        """`described`: what the actor's `start` gave. `group`: its placement group, where this object owns it."""
        self.actor = actor
        self._described = described
        self._group = group
        self._timeout_s: float = described["settings"]["timeout_s"]
        self._numbers = itertools.count(1)
        self._pending: dict[int, _Pending] = {}
        self._unsent: deque[_Pending] = deque()
        self._left: list[int] = []
        self._session = ""
        self._calls = 0
        """Of `exchange`, under way."""
        self._replies = 0
        """Of the session, given out."""
        self._early: dict[int, tuple[Answer, ...]] = {}
        """Replies that overtook others."""
        self._sender: asyncio.Task[None] | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._closed = False

    def __reduce__(self) -> tuple[Any, ...]:
        # Who receives it shares the actor, and does not end it.
        return (VLLMReplica, (self.actor, self._described))

    @property
    def identity(self) -> str:
        """`vllm:NAME@REVISION`."""
        return str(self._described["identity"])

    @property
    def load(self) -> int:
        """Requests of this caller that wait for their end."""
        return len(self._pending)

    def describe(self) -> dict[str, Any]:
        """What a manifest needs: revision, tokenizer, versions, device, determinism, settings. Plain values."""
        return dict(self._described)

    # --- Asking -------------------------------------------------------------------------------------------------

    async def complete(
        self, request: Request, *, prompt_ids: Sequence[int] | None = None, adapter: str = ""
    ) -> Completion:
        """The answer. `prompt_ids`: the prompt as `render` gave it, in place of the messages. `adapter`: a LoRA."""
        call = self._deadline(request)
        pending = self._ask(request, prompt_ids, adapter, call, streamed=False)
        try:
            answer = await call.within(pending.next())
        finally:
            self._end(pending)
        assert answer.completion is not None, "what is not streamed comes whole"
        timing = replace(answer.completion.timing, total_s=call.passed_s)
        return replace(answer.completion, timing=timing)

    async def complete_many(
        self, requests: Sequence[Request], *, adapter: str = ""
    ) -> list[Completion | LLMError]:
        """An answer or an error for each, in their order. They leave together."""
        told = await asyncio.gather(
            *(self.complete(request, adapter=adapter) for request in requests), return_exceptions=True
        )
        out: list[Completion | LLMError] = []
        for each in told:
            if isinstance(each, BaseException) and not isinstance(each, LLMError):
                raise each
            out.append(each)
        return out

    async def stream(
        self, request: Request, *, prompt_ids: Sequence[int] | None = None, adapter: str = ""
    ) -> AsyncGenerator[Delta, None]:
        """The answer in pieces, larger ones when the engine or the caller is busy."""
        call = self._deadline(request)
        pending = self._ask(request, prompt_ids, adapter, call, streamed=True)
        first_s = None
        try:
            while True:  # ends with the completion, or an error
                answer = await call.within(pending.next())
                first_s = call.passed_s if first_s is None else first_s
                for choice, text in answer.pieces:
                    yield Delta(text, choice)
                if answer.completion is not None:
                    timing = replace(answer.completion.timing, total_s=call.passed_s, first_token_s=first_s)
                    yield Delta(completion=replace(answer.completion, timing=timing))
                    return
        finally:
            self._end(pending)

    def _deadline(self, request: Request) -> Deadline:
        return Deadline(self._timeout_s if request.timeout_s is None else request.timeout_s)

    async def render(self, request: Request) -> list[int]:
        """The prompt as the model reads it."""
        ids: list[int] = await self._call(self.actor.render, bytes(encoded_request(request)))
        return ids

    async def count_tokens(self, request: Request) -> TokenCount:
        """The length of the prompt, exact."""
        tokens = await self._call(self.actor.count_tokens, bytes(encoded_request(request)))
        return TokenCount(tokens, exact=True)

    def adapter(self, name: str) -> AdapterLLM:
        """The model with a LoRA adapter. Raises `BadRequest` for one that is not there."""
        return AdapterLLM(self, name, self._check_adapter(name))

    def _check_adapter(self, name: str) -> str:
        there: dict[str, str] = self._described["adapters"]
        if name not in there:
            raise BadRequest(f"there is no LoRA adapter {name!r}: there are {', '.join(there) or 'none'}")
        return there[name]

    # --- Life ---------------------------------------------------------------------------------------------------

    async def health(self) -> Health:
        """How the replica is; `dead` if it cannot be reached."""
        try:
            health: Health = await self._call(self.actor.health)
        except LLMError as error:
            return Health("dead", 0, 0, str(error))
        return health

    async def metrics(self) -> Metrics:
        """Counts since its process began. Raises `EngineDead`."""
        metrics: Metrics = await self._call(self.actor.metrics)
        return metrics

    async def drain(self, timeout_s: float) -> bool:
        """Takes no more, of any caller; True when all is answered, False if that took longer."""
        drained: bool = await self._call(self.actor.drain, timeout_s, limit_s=timeout_s + CALL_S)
        return drained

    async def aclose(self) -> None:
        """Ends what this caller asked; who started the replica ends it."""
        if self._closed:
            return
        self._closed = True
        for pending in list(self._pending.values()):
            self._fail(pending, EngineDead(f"{self.identity} was closed", definite=not pending.session))
        session, self._session = self._session, ""
        if self._group is None:
            if session:
                await self._quietly(self.actor.leave, session)
        else:
            await self._quietly(self.actor.close)
            ray.kill(self.actor)
            remove_placement_group(self._group)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _quietly(self, method: Any, *values: Any) -> None:
        """Calls an actor that may be dead already."""
        try:
            await self._call(method, *values)
        except EngineDead:
            return

    async def _call(self, method: Any, *values: Any, limit_s: float = CALL_S) -> Any:
        """A call of its own. Raises `LLMError`."""
        try:
            async with asyncio.timeout(limit_s):
                return await asyncio.wrap_future(method.remote(*values).future())
        except TimeoutError:
            raise EngineDead(f"{self.identity} said nothing for {limit_s:g} s") from None
        except RayError as error:
            cause = getattr(error, "cause", None)
            if isinstance(cause, LLMError):
                raise cause from None
            raise EngineDead(f"the actor of {self.identity} is gone: {error!s:.300}") from None

    # --- The exchange -------------------------------------------------------------------------------------------

    def _ask(
        self,
        request: Request,
        prompt_ids: Sequence[int] | None,
        adapter: str,
        call: Deadline,
        *,
        streamed: bool,
    ) -> _Pending:
        if self._closed:
            raise EngineDead(f"{self.identity} was closed", definite=True)
        # Checked here: what the actor cannot decode would fail with all that travels beside it.
        ids = None if prompt_ids is None else tuple(checked_ids(prompt_ids))
        if adapter:
            self._check_adapter(adapter)
        asked = Asked(next(self._numbers), encoded_request(request), streamed, adapter, ids)
        pending = self._pending[asked.number] = _Pending(asked, call)
        self._unsent.append(pending)
        self._stir()
        return pending

    def _end(self, pending: _Pending) -> None:
        """A caller has its answer, or goes away."""
        if self._pending.pop(pending.asked.number, None) is None:
            return
        if pending.session:
            self._left.append(pending.asked.number)
            self._stir()
        else:
            self._unsent.remove(pending)

    def _stir(self) -> None:
        """Sends what is new, when all that is asked at this moment is there."""
        if self._sender is None and not self._closed:
            self._sender = self._kept(self._send())

    async def _send(self) -> None:
        for _turn in range(_TURNS):
            await asyncio.sleep(0)
        try:
            if not self._session:
                self._session = await self._opened()
        except EngineDead as error:
            while self._unsent:
                self._fail(self._unsent.popleft(), error)
            return
        finally:
            self._sender = None
        while self._unsent or self._left or (self._pending and not self._calls):
            self._calls += 1
            self._kept(self._exchange(self._session, self._batch()))

    async def _opened(self) -> str:
        """A session. An actor whose process died may be on its way back. Raises `EngineDead`, definite."""
        session = uuid4().hex
        for _attempt in range(OPEN_ATTEMPTS):
            try:
                await asyncio.wrap_future(self.actor.open.remote(session).future())
            except ActorDiedError as error:
                raise EngineDead(
                    f"the actor of {self.identity} is dead: {error!s:.300}", definite=True
                ) from None
            except RayError:
                await asyncio.sleep(OPEN_AGAIN_S)
            else:
                self._replies, self._early = 0, {}
                return session
        raise EngineDead(f"the actor of {self.identity} cannot be reached", definite=True)

    def _batch(self) -> Batch:
        asked: list[Asked] = []
        size = 0
        while self._unsent and size < BATCH_BYTES:
            pending = self._unsent.popleft()
            pending.session, pending.call.sent = self._session, True
            asked.append(pending.asked)
            size += len(bytes(pending.asked.request)) + 5 * len(pending.asked.prompt_ids or ())
        left, self._left = tuple(self._left), []
        return Batch(tuple(asked), left)

    async def _exchange(self, session: str, batch: Batch) -> None:
        try:
            data = await asyncio.wrap_future(self.actor.exchange.remote(session, encoded(batch)).future())
        except RayError as error:
            self._lose(
                session, f"the actor of {self.identity} died while it had the request ({error!s:.200})"
            )
            return
        finally:
            self._calls -= 1
        answers = decoded_answers(data)
        if answers.number:
            if session == self._session:
                self._early[answers.number] = answers.answers
                self._deliver()
        else:
            self._take_back(batch)
            self._lose(session, f"the actor of {self.identity} began anew, and lost the request")
        if self._pending or self._unsent:
            self._stir()

    def _deliver(self) -> None:
        """Gives out replies in their order."""
        while (answers := self._early.pop(self._replies + 1, None)) is not None:
            self._replies += 1
            for answer in answers:
                pending = self._pending.get(answer.number)
                if pending is None:
                    continue  # its caller went away
                if answer.completion is not None or answer.failure is not None:
                    del self._pending[answer.number]
                pending.add(answer)

    def _take_back(self, batch: Batch) -> None:
        """What an unknown session did not take is asked in the next."""
        for asked in reversed(batch.asked):
            pending = self._pending.get(asked.number)
            if pending is not None:
                pending.session, pending.call.sent = "", False
                self._unsent.appendleft(pending)

    def _lose(self, session: str, why: str) -> None:
        """What was asked in a session and not answered may have been computed."""
        if session == self._session:
            self._session, self._left = "", []
        for pending in [each for each in self._pending.values() if each.session == session]:
            self._fail(pending, EngineDead(why))
        if self._unsent:
            self._stir()

    def _fail(self, pending: _Pending, error: LLMError) -> None:
        if self._pending.pop(pending.asked.number, None) is not None:
            pending.add(error)

    def _kept(self, work: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task
