"""The books of a trial on Ray: one actor with its budget, recording and ledger, for all cells.

Rules:
* The actor runs on the node of whoever starts it, where the run's folder is, and asks for no CPU: the agents may have
  taken them all.
* Cells reach it as they reach any model service (`inference/service_llm.py`), in batches.
* One that dies is started again and takes up its files: what was answered is not asked again, what was spent is spent,
  and what was under way is charged what it might have used. Its callers are told that their calls may have happened.
"""

from pathlib import Path
from typing import Any

import ray
from inference.ray_service import RayService
from inference.service_desk import SESSIONS, ServiceDesk
from inference.service_llm import ServiceLLM
from inference.service_wire import Delivery, Taken
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from cluster.accounted import AccountedLLM
from inference.limits import BudgetLimits
from inference.llm import BaseLLM
from inference.price import Price

RESTARTS = 3
START_TIMEOUT_S = 120.0
_CALLS_A_SESSION = 4


class AccountsActor:
    """What runs in the actor's process: a desk before a trial's accounts."""

    def __init__(self, model: BaseLLM, folder: Path, limits: BudgetLimits, price: Price | None) -> None:
        self._made = (model, folder, limits, price)
        self._desk: ServiceDesk | None = None

    async def identity(self) -> str:
        """The model's."""
        return self._at_desk().identity

    async def submit(self, session: str, confirmed: int, batch: bytes) -> Taken:
        """Takes requests."""
        return await self._at_desk().submit(session, confirmed, batch)

    async def collect(self, session: str, confirmed: int) -> Delivery:
        """Gives answers."""
        return await self._at_desk().collect(session, confirmed)

    async def cancel(self, session: str, numbers: list[int]) -> None:
        """Nobody waits for these any more."""
        await self._at_desk().cancel(session, numbers)

    async def leave(self, session: str) -> None:
        """Ends a session."""
        await self._at_desk().leave(session)

    async def count_tokens(self, request: bytes) -> tuple[int, bool]:
        """Counts."""
        return await self._at_desk().count_tokens(request)

    async def close(self) -> None:
        """Ends what runs, and closes the files."""
        if self._desk is not None:
            await self._desk.aclose()

    def _at_desk(self) -> ServiceDesk:
        """The desk; made in the actor's event loop, on its first call."""
        if self._desk is None:
            self._desk = ServiceDesk(AccountedLLM(*self._made))
        return self._desk


def start_accounts(
    model: BaseLLM, folder: Path, limits: BudgetLimits, price: Price | None
) -> tuple[RayService, ServiceLLM]:
    """Starts the actor and waits until its books are open; `model` must be one that can be sent to it."""
    remote: Any = ray.remote(AccountsActor)  # its stubs take every method for a plain function
    node = ray.get_runtime_context().get_node_id()
    actor = remote.options(
        num_cpus=0,
        max_concurrency=_CALLS_A_SESSION * SESSIONS,
        max_restarts=RESTARTS,
        max_task_retries=0,
        scheduling_strategy=NodeAffinitySchedulingStrategy(node, soft=False),
    ).remote(model, folder, limits, price)
    try:
        identity = ray.get(actor.identity.remote(), timeout=START_TIMEOUT_S)
    except BaseException:
        ray.kill(actor)
        raise
    service = RayService(actor, identity)
    return service, ServiceLLM(service)
