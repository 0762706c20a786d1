"""A model as a Ray actor: one replica of vLLM, asked by any number of callers in batches.

Rules:
* The actor is async and holds one `VLLMEngine`. An engine that dies is started again within the actor; an actor whose
  process dies, by Ray, `ACTOR_RESTARTS` times. Ray never sends a call again by itself: what may be asked again is known
  by its error.
* A replica's GPUs, and its CPUs, are one bundle of a placement group, so they are on one node, stay its own over a
  restart, and what is not to be had is told within `place_s` and not waited for.
* Callers use `VLLMReplica`, which batches. `complete` and `stream` of the actor itself take one request, as bytes
  (`inference/vllm_wire.py`), for who wants to hold the call, to cancel it by `ray.cancel`.
"""

import asyncio
import gc
from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress
from typing import Any

import ray
from ray.exceptions import GetTimeoutError, RayError
from ray.util.placement_group import placement_group, remove_placement_group
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from inference.errors import ConfigurationError, EngineDead, LLMError
from inference.vllm_engine import VLLMEngine
from inference.vllm_metrics import Health, Metrics
from inference.vllm_replica import VLLMReplica
from inference.vllm_session import LEASE_S, WAIT_S, Session
from inference.vllm_settings import VLLMSettings, resources
from inference.vllm_wire import Answers, decoded_batch, decoded_request, encoded

CALLS = 10_000
"""Calls that the actor takes side by side. A caller holds one or two."""
ACTOR_RESTARTS = 3
PLACE_S = 60.0


class VLLMActor:
    """What runs in the actor's process."""

    def __init__(self, model: str, settings: VLLMSettings) -> None:
        self._model = model
        self._settings = settings
        self._made: VLLMEngine | None = None
        self._sessions: dict[str, Session] = {}
        self._sweeper: asyncio.Task[None] | None = None

    @property
    def _engine(self) -> VLLMEngine:
        """Made here and not in `__init__`, whose errors reach callers as text only."""
        if self._made is None:
            self._made = VLLMEngine(self._model, self._settings)
        return self._made

    async def start(self) -> dict[str, Any]:
        """Waits until the engine serves. What it is."""
        described = await self._engine.start()
        # vLLM and torch leave a million objects that stay: the collector need not walk through them again and again.
        gc.collect()
        gc.freeze()
        return described

    async def open(self, session: str) -> None:
        """A caller comes. Its session lasts as long as it calls."""
        self._sessions[session] = Session(self._engine)
        if self._sweeper is None or self._sweeper.done():
            self._sweeper = asyncio.ensure_future(self._end_lost_sessions())

    async def exchange(self, session: str, data: bytes) -> bytes:
        """Takes a caller's batch; gives the answers that are ready."""
        known = self._sessions.get(session)
        if known is None:
            return encoded(Answers(0))
        return await known.exchange(decoded_batch(data))

    async def leave(self, session: str) -> None:
        """A caller goes: what it asked is cancelled."""
        known = self._sessions.pop(session, None)
        if known is not None:
            known.close()

    async def complete(self, data: bytes, adapter: str = "") -> bytes:
        """One request, its completion. Raises `LLMError`."""
        return encoded(await self._engine.complete(decoded_request(data), adapter=adapter))

    async def stream(self, data: bytes, adapter: str = "") -> AsyncGenerator[bytes, None]:
        """One request, its pieces. Call it with `num_returns="streaming"`."""
        async with aclosing(self._engine.stream(decoded_request(data), adapter=adapter)) as stream:
            async for delta in stream:
                yield encoded(delta)

    async def count_tokens(self, data: bytes) -> int:
        """The length of a request's prompt."""
        return (await self._engine.count_tokens(decoded_request(data))).tokens

    async def render(self, data: bytes) -> list[int]:
        """A request's prompt as token ids."""
        return await self._engine.render(decoded_request(data))

    async def health(self) -> Health:
        """How the replica is."""
        return self._engine.health()

    async def metrics(self) -> Metrics:
        """Its counts."""
        return self._engine.metrics()

    async def process(self) -> int:
        """The process of the engine's core."""
        return self._engine.process

    async def drain(self, timeout_s: float) -> bool:
        """Takes no more; True when all is answered."""
        return await self._engine.drain(timeout_s)

    async def close(self) -> None:
        """Ends the engine."""
        for session in self._sessions.values():
            session.close()
        self._sessions.clear()
        if self._sweeper is not None:
            self._sweeper.cancel()
        await self._engine.aclose()

    async def _end_lost_sessions(self) -> None:
        """Ends sessions whose callers are gone, while there are sessions."""
        while self._sessions:
            await asyncio.sleep(WAIT_S)
            for name, session in list(self._sessions.items()):
                if session.idle_s > LEASE_S:
                    session.close()
                    del self._sessions[name]


def start_vllm(
    model: str,
    settings: VLLMSettings | None = None,
    *,
    name: str | None = None,
    namespace: str | None = None,
    place_s: float = PLACE_S,
) -> VLLMReplica:
    """Starts a replica and waits until it serves. Blocks: in an event loop use `asyncio.to_thread`.

    Raises `ConfigurationError` for what is not there (a model, a GPU, memory), `ExtraMissing` without vLLM. Ray is
    joined, or started here, if it was not yet.
    """
    settings = settings or VLLMSettings()
    cluster: Any = ray  # some of its functions have no types
    if not ray.is_initialized():
        ray.init(include_dashboard=False, log_to_driver=False)
    bundle = resources(settings, cluster.cluster_resources())
    group = placement_group([bundle], strategy="STRICT_PACK")
    try:
        if not group.wait(place_s):
            raise ConfigurationError(
                f"no node has {_words(bundle)} free for the model {model} within {place_s:g} s: there are "
                f"{_words(cluster.available_resources())} free in all; end something, or ask for less (gpus, cpus)"
            )
        remote: Any = ray.remote(VLLMActor)  # its stubs take every method for a plain function
        actor = remote.options(
            num_cpus=bundle["CPU"],
            num_gpus=bundle.get("GPU", 0),
            scheduling_strategy=PlacementGroupSchedulingStrategy(
                group, placement_group_capture_child_tasks=True
            ),
            name=name,
            namespace=namespace,
            max_concurrency=CALLS,
            max_restarts=ACTOR_RESTARTS,
            max_task_retries=0,
            enable_task_events=False,
        ).remote(model, settings)
        try:
            described = ray.get(actor.start.remote(), timeout=settings.start_s)
        except BaseException as error:
            ray.kill(actor)
            raise _told(error, model) from None
    except BaseException:
        with suppress(RayError):
            remove_placement_group(group)
        raise
    return VLLMReplica(actor, described, group)


def _told(error: BaseException, model: str) -> BaseException:
    """What a start failed of, as one of our errors where it is one."""
    cause = getattr(error, "cause", None)
    if isinstance(cause, LLMError):
        return cause
    if isinstance(error, GetTimeoutError):
        return EngineDead(f"the model {model} did not start in time: raise start_s", definite=True)
    if isinstance(error, RayError):
        return EngineDead(f"the actor of the model {model} did not start: {error!s:.500}", definite=True)
    return error


def _words(resources: dict[str, float]) -> str:
    """Resources in words: `1 CPU, 2 GPU`."""
    return (
        ", ".join(f"{resources[name]:g} {name}" for name in ("CPU", "GPU") if resources.get(name))
        or "nothing"
    )
