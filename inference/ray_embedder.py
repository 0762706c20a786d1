"""An embedder as a Ray actor that batches the requests of many agents.

Rules:
* The actor is async: calls wait side by side and leave in micro-batches (`micro_batch.py`).
* The embedder is made in the actor, from a function without arguments, so a model never crosses the wire.
* An embedding has no effect: a lost actor is restarted, and its calls are made again.
* A restarted actor has the same identity, or refuses to serve.

A Ray call costs far more than hashing a text: 64 texts a call where a caller has them.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import ray

from inference.embedder import Embedder, EmbedderError, EmbedderIdentity, Vectors
from inference.embedding_cache import CachedEmbedder
from inference.micro_batch import BatchSettings, MicroBatcher

CALLS_MAX = 1_000
RESTARTS = 3
RETRIES = 3


class EmbedderActor:
    """What runs in the actor's process."""

    def __init__(
        self, make: Callable[[], Embedder], settings: BatchSettings | None = None, cache_entries: int = 0
    ) -> None:
        embedder = make()
        if cache_entries:
            embedder = CachedEmbedder(embedder, entries=cache_entries)
        self._batcher = MicroBatcher(embedder, settings)

    async def identity(self) -> EmbedderIdentity:
        """What its vectors may be compared with."""
        return self._batcher.embedder.identity

    async def embed(self, texts: Sequence[str], expected_hash: str = "") -> Vectors:
        """float32 (len(texts), dimension), rows of length 1. Refuses who expects the vectors of another embedder."""
        identity = self._batcher.embedder.identity
        if expected_hash not in ("", identity.hash):
            raise EmbedderError(
                f"the embedder's actor was restarted, and is {identity} now: its model's files were changed. "
                f"Put them back, or start anew and embed again what was embedded."
            )
        return await self._batcher.embed(texts)

    async def counts(self) -> dict[str, int]:
        """Texts and batches embedded, texts refused."""
        counts = self._batcher.counts
        return {"texts": counts.texts, "batches": counts.batches, "refused_texts": counts.refused_texts}


def start_embedder(
    make: Callable[[], Embedder],
    *,
    settings: BatchSettings | None = None,
    cache_entries: int = 0,
    num_cpus: float = 1.0,
    num_gpus: float = 0.0,
    name: str | None = None,
) -> "RayEmbedder":
    """Starts the actor and waits until its model is loaded. `make` must be importable where the actor runs."""
    remote: Any = ray.remote(EmbedderActor)  # its stubs take every method for a plain function
    actor = remote.options(
        num_cpus=num_cpus,
        num_gpus=num_gpus,
        name=name,
        max_concurrency=CALLS_MAX,
        max_restarts=RESTARTS,
        max_task_retries=RETRIES,
    ).remote(make, settings, cache_entries)
    return RayEmbedder(actor, ray.get(actor.identity.remote()))


class RayEmbedder:
    """An `Embedder` that asks the actor. Can be handed to other actors."""

    def __init__(self, actor: Any, identity: EmbedderIdentity) -> None:
        self.actor = actor
        self._identity = identity

    @property
    def identity(self) -> EmbedderIdentity:
        """That of the embedder in the actor."""
        return self._identity

    def embed(self, texts: Sequence[str]) -> Vectors:
        """float32 (len(texts), dimension). Waits; in an event loop use `embed_async`."""
        vectors: Vectors = ray.get(self.actor.embed.remote(list(texts), self._identity.hash))
        return vectors

    async def embed_async(self, texts: Sequence[str]) -> Vectors:
        """The same, without holding up the event loop."""
        answer = self.actor.embed.remote(list(texts), self._identity.hash)
        vectors: Vectors = await asyncio.wrap_future(answer.future())
        return vectors

    def counts(self) -> dict[str, int]:
        """Texts and batches embedded, texts refused."""
        counts: dict[str, int] = ray.get(self.actor.counts.remote())
        return counts
