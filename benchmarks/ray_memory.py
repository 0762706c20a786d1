"""256 agents recall at once from a memory on Ray: gathered into batches, and one call each."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from benchmarks.outcome import rounded
from benchmarks.ray_session import own_ray
from memory.item import Draft
from memory.ray_memory import start_memory
from memory.scope import Scope
from memory.view import Ask

_AGENTS = 256
_ITEMS = 20
_ROUNDS = 12


async def batching(folder: Path) -> dict[str, float]:
    """Recalls a second of 256 agents, each under a scope of its own, batched and one by one; their ratio."""
    with own_ray(2):
        memory = await asyncio.to_thread(start_memory, folder)
        scopes = [Scope("bench", agent=f"a{number}") for number in range(_AGENTS)]
        for scope in scopes:
            await memory.remember_all(
                [Draft(scope, f"{scope.agent} knows that ship {number} is late") for number in range(_ITEMS)],
                scope=scope,
            )
        shard = memory._shards[0]

        async def batched(scope: Scope, text: str) -> Any:
            return await memory.recall(text, scope=scope, k=5)

        async def single(scope: Scope, text: str) -> Any:
            [answer] = await shard.recall_all.remote([Ask(text, scope, 5)])
            return answer

        together = await _rate(batched, scopes)
        alone = await _rate(single, scopes)
        await memory.stop()
    return {
        "batched_recalls_per_second": rounded(together),
        "single_recalls_per_second": rounded(alone),
        "batching_ratio": rounded(together / alone),
    }


async def _rate(recall: Callable[[Scope, str], Awaitable[Any]], scopes: list[Scope]) -> float:
    """Recalls a second when all agents recall at once, again and again; the best of the rounds."""
    best = 0.0
    for number in range(_ROUNDS):
        began = time.perf_counter()
        # Each asks in words of its own, so that nothing is gained by asking the same for many.
        texts = [f"{scope.agent} asks in round {number} which ship is late" for scope in scopes]
        answers = await asyncio.gather(
            *(recall(scope, text) for scope, text in zip(scopes, texts, strict=True))
        )
        best = max(best, len(scopes) / (time.perf_counter() - began))
        if any(len(answer) != 5 for answer in answers):
            raise AssertionError("each agent should recall five items")
    return best
