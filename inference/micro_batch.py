"""Micro-batches: the texts of many callers, embedded together.

Why: a model takes a batch of 64 short texts in little more time than one, and a call of its own for each caller
wastes that. Triton's dynamic batching and TEI (Hugging Face) do the same.

Rules:
* A batch leaves when it is full, or when its first text has waited `wait_s` (at most 5 ms), or at once where the
  embedder is idle and `wait_s` is 0. While one batch is embedded the next gathers, so batches grow with the load.
* Within a batch texts are sorted by length, so that a model that pads gets neighbours of one length. Callers get
  their rows in their own order.
* At most `waiting_texts` wait; what would exceed that is refused whole with `EmbedderBusy`. One call may hold more
  than a batch: it is cut.
* A caller that goes away takes nothing from the others. What the embedder raises goes to those in its batch only.
* The embedder runs in one thread of its own: one batch at a time, and the event loop stays free.
"""

import asyncio
from collections import deque
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field

import numpy as np

from inference.embedder import Embedder, EmbedderBusy, EmbedderError, Vectors, check_vectors

WAIT_S_MAX = 0.005


@dataclass(frozen=True)
class BatchSettings:
    """How texts are gathered."""

    batch_texts: int = 256
    wait_s: float = 0.002
    waiting_texts: int = 100_000

    def __post_init__(self) -> None:
        if not 1 <= self.batch_texts <= self.waiting_texts:
            raise EmbedderError(
                f"batch_texts is {self.batch_texts}: give 1 to waiting_texts ({self.waiting_texts})"
            )
        if not 0 <= self.wait_s <= WAIT_S_MAX:
            raise EmbedderError(f"wait_s is {self.wait_s}: give 0 to {WAIT_S_MAX} seconds")


@dataclass
class BatchCounts:
    """What was done since the start."""

    texts: int = 0
    batches: int = 0
    refused_texts: int = 0


@dataclass
class _Asked:
    texts: Sequence[str]
    answer: "asyncio.Future[Vectors]"
    vectors: Vectors
    given: int = 0
    """How many texts have left in a batch."""
    missing: int = field(init=False)

    def __post_init__(self) -> None:
        self.missing = len(self.texts)


class MicroBatcher:
    """Embeds for many callers of one event loop."""

    def __init__(self, embedder: Embedder, settings: BatchSettings | None = None) -> None:
        self.embedder = embedder
        self.settings = settings or BatchSettings()
        self.counts = BatchCounts()
        self._asked: deque[_Asked] = deque()
        self._waiting_texts = 0
        self._full = asyncio.Event()
        self._worker: asyncio.Task[None] | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="embedder")

    async def embed(self, texts: Sequence[str]) -> Vectors:
        """float32 (len(texts), dimension). Raises `EmbedderBusy` where too many texts wait already."""
        vectors = np.empty((len(texts), self.embedder.identity.dimension), dtype=np.float32)
        if not texts:
            return vectors
        if self._waiting_texts + len(texts) > self.settings.waiting_texts:
            self.counts.refused_texts += len(texts)
            raise EmbedderBusy(
                f"{self._waiting_texts} texts wait and {len(texts)} more would exceed waiting_texts="
                f"{self.settings.waiting_texts}: ask again later, or raise the limit"
            )
        asked = _Asked(texts, asyncio.get_running_loop().create_future(), vectors)
        self._asked.append(asked)
        self._waiting_texts += len(texts)
        if self._waiting_texts >= self.settings.batch_texts:
            self._full.set()
        if self._worker is None or self._worker.done():
            self._worker = asyncio.create_task(self._work())
        return await asked.answer

    async def close(self) -> None:
        """Answers what waits, then ends the thread."""
        if self._worker is not None:
            await self._worker
        self._thread.shutdown()

    async def _work(self) -> None:
        """Embeds batches until none is asked for."""
        while self._asked:
            if self._waiting_texts < self.settings.batch_texts and self.settings.wait_s > 0:
                self._full.clear()
                with suppress(TimeoutError):  # then the first text has waited long enough
                    await asyncio.wait_for(self._full.wait(), self.settings.wait_s)
            batch = self._next_batch()
            if batch:
                await self._embed(batch)

    def _next_batch(self) -> list[tuple[_Asked, int]]:
        """Whose texts are next: (caller, place among its texts), sorted by length. Skips callers that went away."""
        batch: list[tuple[_Asked, int]] = []
        while self._asked and len(batch) < self.settings.batch_texts:
            asked = self._asked[0]
            room = self.settings.batch_texts - len(batch)
            end = len(asked.texts) if asked.answer.done() else min(len(asked.texts), asked.given + room)
            if not asked.answer.done():
                batch += [(asked, place) for place in range(asked.given, end)]
            self._waiting_texts -= end - asked.given
            asked.given = end
            if end == len(asked.texts):
                self._asked.popleft()
        batch.sort(key=lambda entry: len(entry[0].texts[entry[1]]))
        return batch

    async def _embed(self, batch: list[tuple[_Asked, int]]) -> None:
        texts = [asked.texts[place] for asked, place in batch]
        self.counts.batches += 1
        self.counts.texts += len(texts)
        try:
            made = await asyncio.get_running_loop().run_in_executor(self._thread, self.embedder.embed, texts)
            check_vectors(made, len(texts), self.embedder.identity)
        except Exception as error:  # whatever the model raises belongs to its callers
            for asked, _ in batch:
                if not asked.answer.done():
                    asked.answer.set_exception(error)
            return
        for (asked, place), vector in zip(batch, made, strict=True):
            asked.vectors[place] = vector
            asked.missing -= 1
            if asked.missing == 0 and not asked.answer.done():
                asked.answer.set_result(asked.vectors)
