"""The actor's side of a caller: its requests run, and their answers wait until they are fetched. No Ray in it.

Rules:
* The caller calls `exchange` with what is new and has what is ready. At most one such call waits at a time: a newer one
  lets the older return. So a batch of answers, and the requests that they lead to, cost one call.
* A caller that has not called for `LEASE_S` is gone: what it asked is cancelled, and the session ended. So a caller
  whose process dies frees what it held.
* A call may overtake another: who leaves before its request has arrived is remembered, and the request is not run.
"""

import asyncio
from collections import OrderedDict
from contextlib import aclosing

from inference.errors import EngineDead, LLMError
from inference.failure import Failure
from inference.vllm_adapter import Adaptable
from inference.vllm_wire import (
    BATCH_BYTES,
    Answer,
    Answers,
    Asked,
    Batch,
    decoded_request,
    encoded,
)

WAIT_S = 2.0
"""The longest that a call waits for an answer."""
LEASE_S = 30.0
LINGER_S = 0.001
"""Answers of one step of the engine come one after another: so long is waited for those that follow the first."""
_EARLY = 1_000


class Session:
    """One caller's requests."""

    def __init__(self, engine: Adaptable) -> None:
        self._engine = engine
        self._running: dict[int, asyncio.Task[None]] = {}
        self._left_early: OrderedDict[int, None] = OrderedDict()
        self._ready: OrderedDict[int, Answer] = OrderedDict()
        """Answers by request; pieces of a stream gather in one."""
        self._stirred = asyncio.Event()
        self._calls = 0
        self._replies = 0
        self._called_s = asyncio.get_running_loop().time()

    @property
    def idle_s(self) -> float:
        """Seconds since the last call ended; 0 while one waits."""
        return 0.0 if self._calls else asyncio.get_running_loop().time() - self._called_s

    async def exchange(self, batch: Batch) -> bytes:
        """Takes what is new; gives what is ready, or nothing after `WAIT_S` or when a newer call comes."""
        for asked in batch.asked:
            if asked.number in self._left_early:
                del self._left_early[asked.number]
            else:
                self._running[asked.number] = asyncio.ensure_future(self._run(asked))
        for number in batch.left:
            self._leave(number)
        if self._calls:
            self._stirred.set()  # the older call returns
            await asyncio.sleep(0)
        self._calls += 1
        try:
            if not self._ready:
                self._stirred.clear()
                try:
                    async with asyncio.timeout(WAIT_S):
                        await self._stirred.wait()
                    await asyncio.sleep(LINGER_S)
                except TimeoutError:
                    pass
            return self._fetch()
        finally:
            self._calls -= 1
            self._called_s = asyncio.get_running_loop().time()

    def close(self) -> None:
        """Cancels what runs."""
        for task in self._running.values():
            task.cancel()

    def _leave(self, number: int) -> None:
        task = self._running.get(number)
        if task is not None:
            task.cancel()
            self._ready.pop(number, None)
            return
        if self._ready.pop(number, None) is None:
            self._left_early[number] = None
            while len(self._left_early) > _EARLY:
                self._left_early.popitem(last=False)

    def _fetch(self) -> bytes:
        """What is ready, as far as one reply holds it."""
        self._replies += 1
        out: list[Answer] = []
        size = 0
        while self._ready and size < BATCH_BYTES:
            _number, answer = self._ready.popitem(last=False)
            out.append(answer)
            size += _size(answer)
        return encoded(Answers(self._replies, tuple(out)))

    async def _run(self, asked: Asked) -> None:
        number = asked.number
        try:
            request = decoded_request(asked.request)
            if asked.streamed:
                stream = self._engine.stream(request, prompt_ids=asked.prompt_ids, adapter=asked.adapter)
                async with aclosing(stream):
                    async for delta in stream:
                        if delta.completion is None:
                            self._add(Answer(number, ((delta.choice, delta.text),)))
                        else:
                            self._add(Answer(number, completion=delta.completion))
            else:
                completion = await self._engine.complete(
                    request, prompt_ids=asked.prompt_ids, adapter=asked.adapter
                )
                self._add(Answer(number, completion=completion))
        except LLMError as error:
            self._add(Answer(number, failure=Failure.of(error)))
        except Exception as error:  # a fault of this program or of vLLM's: its caller must not wait for ever
            text = f"the actor failed on the request: {type(error).__name__}: {error!s:.300}"
            self._add(Answer(number, failure=Failure.of(EngineDead(text))))
        finally:
            self._running.pop(number, None)

    def _add(self, answer: Answer) -> None:
        waiting = self._ready.get(answer.number)
        if waiting is not None:
            pieces = waiting.pieces + answer.pieces
            answer = Answer(answer.number, pieces, answer.completion, answer.failure)
        self._ready[answer.number] = answer
        self._stirred.set()


def _size(answer: Answer) -> int:
    """About how many bytes it takes."""
    size = 100 + sum(len(text) for _choice, text in answer.pieces)
    if answer.completion is not None:
        for choice in answer.completion.choices:
            size += len(choice.text) + 5 * len(choice.token_ids or ()) + 100 * len(choice.logprobs or ())
    return size
