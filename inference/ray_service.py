"""A cluster's one model service: a Ray actor that holds queue, rate, budget and recording for all cells.

Rules:
* The actor is async and holds no agent: a `ServiceDesk` (`inference/service_desk.py`) before the model that the plan
  describes, opened in the actor, where the key is read. What a cell holds is a `RayService`, which pickles.
* Ray delivers a call at most once here (no retries of tasks); sessions make a batch that is offered again safe.
* A service that dies starts again, `RESTARTS` times: it asks its recording first, and its budget goes on from the
  ledger. With ceilings and no ledger it does not start again: a budget that forgets is none.
* A model that cannot be opened is told to whoever starts the service, with the mend.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import ray
from ray.exceptions import ActorDiedError, GetTimeoutError, RayError, RayTaskError

from inference.errors import ConfigurationError, EngineDead, LLMError
from inference.ledger import LedgerLocked
from inference.model_plan import ModelPlan
from inference.ray_serving_metrics import ServingMetrics
from inference.service import Opened, open_observed
from inference.service_desk import SESSIONS, ServiceDesk
from inference.service_door import ServiceGone, ServiceUnavailable
from inference.service_wire import Delivery, Taken, decoded_delivery, decoded_taken, encoded

RESTARTS = 3
START_TIMEOUT_S = 900.0
"""An engine loads its model in minutes."""
LEAST_LEASE_S = 1.0
_CALLS_A_SESSION = 4
_LEDGER_ATTEMPTS = 150
_LEDGER_PAUSE_S = 0.2
_ROOM = 10_000
"""Requests that a desk holds beyond those that run and wait, such as answers on their way."""


class ServiceActor:
    """What runs in the actor's process. Every method opens the model first if need be: after a restart, too."""

    def __init__(self, plan: ModelPlan, lease_s: float) -> None:
        self._plan = plan
        self._lease_s = lease_s
        self._desk: ServiceDesk | None = None
        self._opened: Opened | None = None
        self._problem: LLMError | None = None
        self._lock: asyncio.Lock | None = None
        self._metrics: asyncio.Task[None] | None = None

    def __repr__(self) -> str:
        return f"model service {self._plan.model}"

    async def identity(self) -> str:
        """The model's."""
        return (await self._at_desk()).identity

    async def describe(self) -> dict[str, Any]:
        """What a manifest should say of the model."""
        desk = await self._at_desk()
        return desk.describe()

    async def submit(self, session: str, confirmed: int, batch: bytes) -> bytes:
        """Takes requests."""
        return encoded(await (await self._at_desk()).submit(session, confirmed, batch))

    async def collect(self, session: str, confirmed: int) -> bytes:
        """Gives answers."""
        return encoded(await (await self._at_desk()).collect(session, confirmed))

    async def cancel(self, session: str, numbers: list[int]) -> None:
        """Ends calls."""
        await (await self._at_desk()).cancel(session, numbers)

    async def leave(self, session: str) -> None:
        """Ends a session."""
        await (await self._at_desk()).leave(session)

    async def count_tokens(self, request: bytes) -> tuple[int, bool]:
        """Counts."""
        return await (await self._at_desk()).count_tokens(request)

    async def stats(self) -> dict[str, float]:
        """Requests held, waiting and running, callers, and what was spent."""
        desk = await self._at_desk()
        assert self._opened is not None, "the desk stands on it"
        limited, spent = self._opened.limited, self._opened.budget.spent()
        return {
            "held": desk.held,
            "waiting": limited.waiting,
            "running": limited.running,
            "sessions": desk.sessions,
            "spent_tokens": spent.tokens,
            "spent_usd": spent.usd,
        }

    async def close(self) -> None:
        """Ends what runs, and closes recording, ledger and model."""
        if self._metrics is not None:
            self._metrics.cancel()
        if self._desk is not None:
            await self._desk.aclose()

    async def _at_desk(self) -> ServiceDesk:
        if self._desk is not None:
            return self._desk
        if self._lock is None:
            self._lock = asyncio.Lock()
        async with self._lock:
            if self._problem is not None:
                raise self._problem
            if self._desk is None:
                try:
                    self._opened = await self._open()
                except LLMError as error:
                    self._problem = error
                    raise
                limits = self._plan.limits
                held = limits.queued_requests + limits.running_requests + _ROOM
                self._desk = ServiceDesk(
                    self._opened.observed, held=held, lease_s=self._lease_s, poll_s=self._lease_s / 6
                )
                metrics = ServingMetrics(self._plan.model, self._opened)
                self._metrics = asyncio.ensure_future(metrics.keep())
        return self._desk

    async def _open(self) -> Opened:
        """The model. Waits while the process that this one replaces still has the ledger."""
        resumed = ray.get_runtime_context().was_current_actor_reconstructed
        for _ in range(_LEDGER_ATTEMPTS):
            try:
                # In a thread: engines take minutes to start, and other calls must hear that they wait.
                return await asyncio.to_thread(open_observed, self._plan, resumed=resumed)
            except LedgerLocked:
                if not resumed:
                    raise
                await asyncio.sleep(_LEDGER_PAUSE_S)
        return await asyncio.to_thread(open_observed, self._plan, resumed=resumed)


@dataclass(frozen=True)
class RayService:
    """A service that runs, as its owner and every cell hold it. Lives as long as the process that started it."""

    actor: Any
    identity: str

    @classmethod
    def start(
        cls,
        plan: ModelPlan,
        *,
        name: str | None = None,
        options: Mapping[str, Any] | None = None,
        lease_s: float = 60.0,
        timeout_s: float = START_TIMEOUT_S,
    ) -> "RayService":
        """Starts the actor, and waits until its model is open.

        `options` are Ray's for actors (`num_cpus`, `namespace`, `runtime_env`, ...). A cell that is not heard of for
        `lease_s` is gone. Raises what opening the model raises, and `EngineDead` if that takes longer than `timeout_s`.
        """
        if not lease_s >= LEAST_LEASE_S:
            raise ConfigurationError(f"lease_s is {lease_s!r}: give {LEAST_LEASE_S:g} seconds or more")
        remote: Any = ray.remote(ServiceActor)  # its stubs take every method for a plain function
        own = {
            "num_cpus": 0,
            "name": name,
            "max_concurrency": _CALLS_A_SESSION * SESSIONS,
            "max_restarts": RESTARTS if plan.ledger is not None or not plan.has_ceiling else 0,
            "max_task_retries": 0,
            "enable_task_events": False,
        }
        actor = remote.options(**{**own, **(options or {})}).remote(plan, lease_s)
        try:
            return cls(actor, ray.get(actor.identity.remote(), timeout=timeout_s))
        except BaseException as error:
            ray.kill(actor)
            if isinstance(error, RayTaskError) and isinstance(error.cause, LLMError):
                raise error.cause from None
            if isinstance(error, GetTimeoutError):
                raise EngineDead(f"{plan.model} was not open within {timeout_s:g} s", definite=True) from None
            raise

    def describe(self) -> dict[str, Any]:
        """What a manifest should say of the model. Waits; not for an event loop."""
        told: dict[str, Any] = ray.get(self.actor.describe.remote(), timeout=30)
        return told

    def stats(self) -> dict[str, float]:
        """Requests held, waiting and running, callers, and what was spent. Waits; not for an event loop."""
        told: dict[str, float] = ray.get(self.actor.stats.remote(), timeout=30)
        return told

    def stop(self, timeout_s: float = 30.0) -> None:
        """Ends what runs, closes the recording, and ends the actor. It may be called twice."""
        try:
            ray.get(self.actor.close.remote(), timeout=timeout_s)
        except RayError:
            pass  # it is dead already, or does not listen: it is killed
        finally:
            ray.kill(self.actor)

    # --- The door, for `ServiceLLM` ------------------------------------------------------------------------------

    async def submit(self, session: str, confirmed: int, batch: bytes) -> Taken:
        """As `Door`."""
        return decoded_taken(await _heard(self.actor.submit.remote(session, confirmed, batch)))

    async def collect(self, session: str, confirmed: int) -> Delivery:
        """As `Door`."""
        return decoded_delivery(await _heard(self.actor.collect.remote(session, confirmed)))

    async def cancel(self, session: str, numbers: list[int]) -> None:
        """As `Door`."""
        await _heard(self.actor.cancel.remote(session, numbers))

    async def leave(self, session: str) -> None:
        """As `Door`."""
        await _heard(self.actor.leave.remote(session))

    async def count_tokens(self, request: bytes) -> tuple[int, bool]:
        """As `Door`."""
        count: tuple[int, bool] = await _heard(self.actor.count_tokens.remote(request))
        return count


async def _heard(reference: Any) -> Any:
    """A call's result, with Ray's errors as the door's."""
    try:
        return await reference
    except RayTaskError as error:
        if isinstance(error.cause, LLMError):
            raise error.cause from None
        raise
    except ActorDiedError as error:
        raise ServiceGone(str(error).partition("\n")[0]) from None
    except RayError as error:
        raise ServiceUnavailable(str(error).partition("\n")[0]) from None
