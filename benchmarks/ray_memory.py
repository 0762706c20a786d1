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

        await asyncio.gather(
            *(batched(scope, "ship") for scope in scopes)
        )  # what a first recall makes is kept
        together = await _rate(batched, scopes, shard)
        alone = await _rate(single, scopes, shard)
        await memory.stop()
    return {
        "batched_recalls_per_second": rounded(together[0]),
        "single_recalls_per_second": rounded(alone[0]),
        "batching_ratio": rounded(together[0] / alone[0]),
        "batched_recall_cpu_ms": rounded(together[1]),
        "single_recall_cpu_ms": rounded(alone[1]),
        "batching_cpu_ratio": rounded(alone[1] / together[1]),
    }


async def _rate(
    recall: Callable[[Scope, str], Awaitable[Any]], scopes: list[Scope], shard: Any
) -> tuple[float, float]:
    """When all agents recall at once, again and again: recalls a second in the best of the rounds, and the processor
    time of one, here and in the actor, in milliseconds."""
    best = 0.0
    worked = await _processor_s(shard)
    for number in range(_ROUNDS):
        # Each asks in words of its own, so that nothing is gained by asking the same for many.
        texts = [f"{scope.agent} asks in round {number} which ship is late" for scope in scopes]
        began = time.perf_counter()
        answers = await asyncio.gather(
            *(recall(scope, text) for scope, text in zip(scopes, texts, strict=True))
        )
        best = max(best, len(scopes) / (time.perf_counter() - began))
        if any(len(answer) != 5 for answer in answers):
            raise AssertionError("each agent should recall five items")
    worked = await _processor_s(shard) - worked
    return best, worked * 1e3 / (_ROUNDS * len(scopes))


async def _processor_s(shard: Any) -> float:
    there: float = await shard.__ray_call__.remote(lambda _: time.process_time())
    return there + time.process_time()
