"""The books of a trial on Ray: one actor with its budget, recording and log, for all cells.

Rules:
* The actor runs on the node of whoever starts it, where the run's folder is, and asks for no CPU: the agents may have
  taken them all.
* Cells reach it as they reach any model service (`inference/service_llm.py`), in batches.
* One that dies is started again and takes up its files: what was answered is not asked again, what was spent is spent,
  and what was under way is charged what it might have used. Its callers are told that their calls may have happened.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from cluster.accounted import AccountedLLM, Bounds
from inference.limits import Rate, ServingLimits
from inference.model_plan import ModelPlan
from inference.ray_service import RayService
from inference.service_desk import SESSIONS, ServiceDesk
from inference.service_llm import ServiceLLM, ServiceSettings
from inference.service_wire import encoded

NAMESPACE = "rayswarm"
RESTARTS = 3
START_TIMEOUT_S = 120.0
CALLS = 1_000_000
"""That a trial may have under way: at most one for each agent whose turn waits."""
_CALLS_A_SESSION = 4
_WIDE = ServingLimits(
    running_requests=CALLS, queued_requests=CALLS, queued_tokens=10**12, agent_requests=CALLS, attempts=1
)


@dataclass(frozen=True)
class NamedService(RayService):
    """A service that other processes find by its actor's name.

    Not by a handle: Ray makes an actor that it starts again of its arguments, and may have given up a handle in them.
    """

    name: str = ""

    def __reduce__(self) -> tuple[Any, ...]:
        return (_found, (self.name, self.identity))


def _found(name: str, identity: str) -> NamedService:
    return NamedService(ray.get_actor(name, NAMESPACE), identity, name)


def start_model(plan: ModelPlan) -> NamedService:
    """Starts the service of a model, and waits until it is open. Queue and rate are the accounts', before it."""
    name = f"model/{uuid4().hex}"
    service = RayService.start(
        replace(plan, limits=_WIDE, rate=Rate()), name=name, options={"namespace": NAMESPACE}
    )
    return NamedService(service.actor, service.identity, name)


class AccountsActor:
    """What runs in the actor's process: a desk before a trial's accounts."""

    def __init__(self, model: NamedService, folder: Path, bounds: Bounds) -> None:
        self._model = ServiceLLM(model, ServiceSettings(waiting_requests=CALLS))
        self._folder = folder
        self._bounds = bounds
        self._desk: ServiceDesk | None = None

    async def identity(self) -> str:
        """The model's."""
        return self._at_desk().identity

    async def submit(self, session: str, confirmed: int, batch: bytes) -> bytes:
        """Takes requests."""
        return encoded(await self._at_desk().submit(session, confirmed, batch))

    async def collect(self, session: str, confirmed: int) -> bytes:
        """Gives answers."""
        return encoded(await self._at_desk().collect(session, confirmed))

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
        await self._model.aclose()

    def _at_desk(self) -> ServiceDesk:
        """The desk; made in the actor's event loop, on its first call."""
        if self._desk is None:
            self._desk = ServiceDesk(AccountedLLM(self._model, self._folder, self._bounds), held=CALLS)
        return self._desk


def door_of(accounts: NamedService) -> ServiceLLM:
    """The model, as a cell has it."""
    return ServiceLLM(accounts, ServiceSettings(waiting_requests=CALLS))


def start_accounts(model: NamedService, folder: Path, bounds: Bounds) -> NamedService:
    """Starts the actor and waits until its books are open."""
    remote: Any = ray.remote(AccountsActor)  # its stubs take every method for a plain function
    name = f"accounts/{uuid4().hex}"
    node = ray.get_runtime_context().get_node_id()
    actor = remote.options(
        name=name,
        namespace=NAMESPACE,
        num_cpus=0,
        max_concurrency=_CALLS_A_SESSION * SESSIONS,
        max_restarts=RESTARTS,
        max_task_retries=0,
        scheduling_strategy=NodeAffinitySchedulingStrategy(node, soft=False),
    ).remote(model, folder.resolve(), bounds)
    try:
        identity = ray.get(actor.identity.remote(), timeout=START_TIMEOUT_S)
    except BaseException:
        ray.kill(actor)
        raise
    return NamedService(actor, identity, name)
