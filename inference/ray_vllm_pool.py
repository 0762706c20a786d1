"""The replicas of a plan whose model vLLM serves: started side by side, each an actor, together a pool.

Rules:
* All replicas start at once, since each takes a minute; if one cannot, those that could are ended again.
* A replica's engine restarts within its actor; one that is dead for good fails its check, and the pool goes on without.
* What was on a replica that died is computed again by another, unless the model has a price by the token: a
  completion has no other effect.
"""

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor

from inference.errors import EngineDead
from inference.llm import BaseLLM
from inference.model_plan import ModelPlan
from inference.pool import ReplicaPool
from inference.ray_vllm import start_vllm
from inference.vllm_replica import VLLMReplica

_AT_ONCE = 16
"""Replicas that start side by side."""


def start_replicas(plan: ModelPlan) -> BaseLLM:
    """The model, served. Blocks until it is: in an event loop use `asyncio.to_thread`. Raises as `start_vllm`."""
    with ThreadPoolExecutor(min(plan.replicas, _AT_ONCE), thread_name_prefix="start") as threads:
        starting = [
            threads.submit(start_vllm, plan.spec.name, plan.vllm_settings) for _ in range(plan.replicas)
        ]
    faults = [fault for started in starting if (fault := started.exception()) is not None]
    replicas = [started.result() for started in starting if started.exception() is None]
    if faults:
        for replica in replicas:
            asyncio.run(replica.aclose())  # with its placement group
        raise faults[0]
    if len(replicas) == 1:
        return replicas[0]
    named = {f"replica/{number}": replica for number, replica in enumerate(replicas)}
    return ReplicaPool(
        named,
        plan.pool_settings,
        health={name: _check_of(replica) for name, replica in named.items()},
    )


def _check_of(replica: VLLMReplica) -> Callable[[], Awaitable[None]]:
    async def check() -> None:
        health = await replica.health()
        if health.state == "dead":
            raise EngineDead(health.fault)

    return check
