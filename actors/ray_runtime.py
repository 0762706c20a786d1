"""Cells as Ray actors, on a running cluster or one started here (`actors/ray_session.py`).

Rules:
* Actors are named in the namespace `rayswarm/<run id>`: `cell/3`, or the agent's own address for a dedicated one, so
  that a run is recognised in the dashboard. Two runs of one id cannot share a cluster.
* Ray never retries a call (it would run twice); a dead actor is restarted by Ray and recovers from its journal.
* The actors end with the runtime, or with the process that started it, whatever ends that.
"""

import asyncio
import time
from collections.abc import Mapping
from contextlib import ExitStack
from typing import Any

import ray
from ray.exceptions import ActorUnavailableError, RayActorError, RayTaskError

from actors.address import Placement
from actors.errors import CellLost, ConfigurationError, SwarmError
from actors.layout import layout_of_run
from actors.plan import Plan
from actors.ray_cell import RayCell
from actors.ray_session import ray_session
from actors.runtime import CellDown

_REVIVE_TRIES = 200
_REVIVE_PAUSE_S = 0.1
_NAME_WAIT_S = 10.0
"""The actors of a driver that was killed keep their names for so long, at most, before the name is another run's."""
_CONTROL = ("status", "process_id")


class RayRuntime:
    """Each cell in a Ray actor."""

    def __init__(self, plan: Plan, address: str | None = None, options: dict[str, Any] | None = None) -> None:
        self._plan = plan
        self._address = address
        self._options = options or {}
        self._session = ExitStack()
        self._actors: list[Any] = []
        self.dashboard: str | None = None
        self.placement: Placement = plan.placement(plan.cells or 1)

    async def start(self) -> None:
        """Joins or starts Ray and makes an actor for each cell."""
        try:
            self.dashboard = self._session.enter_context(ray_session(self._address, self._options)).dashboard
            dedicated = dedicated_roles(self._plan)
            self.placement = layout_of_run(self._plan) or self._plan.placement(
                self._plan.cells or self._packed_cells(dedicated), dedicated
            )
            names = cell_names(self.placement)
            nodes = spread(_cpus_by_node(), len(names))
            for number, name in enumerate(names):
                role = self._dedicated_role(number)
                actor = _actor_class("Cell" if role is None else self._plan.roles[role].agent.__name__)
                made = actor.options(name=name, namespace=self._namespace, **self._options_of(number, nodes))
                self._actors.append(await self._made(made, number, names))
            await self._all_placed(names)
        except BaseException:
            await self.stop()
            raise

    @property
    def _namespace(self) -> str:
        return f"rayswarm/{self._plan.run_id}"

    async def _made(self, actor: Any, number: int, names: list[str]) -> Any:
        """The actor of a cell; waits a little for its name."""
        until = time.monotonic() + _NAME_WAIT_S
        while True:
            try:
                return actor.remote(self._plan, self.placement, number, names)
            except ValueError as error:
                if "already taken" not in str(error):
                    raise ConfigurationError(f"{names[number]}: Ray refuses its options: {error}") from error
                if time.monotonic() > until:
                    raise ConfigurationError(
                        f"run {self._plan.run_id!r} is at work on this cluster already: {names[number]} of the "
                        f"namespace {self._namespace} is another program's. Wait for it to end, or give this "
                        f"run another run_id."
                    ) from error
            await asyncio.sleep(_REVIVE_PAUSE_S)

    async def _all_placed(self, names: list[str]) -> None:
        """Waits until each actor runs. Ray itself would wait for ever for CPUs that no node has."""
        limit = self._plan.limits.start_timeout_s
        answers = {
            asyncio.wrap_future(actor.process_id.remote().future()): name
            for actor, name in zip(self._actors, names, strict=True)
        }
        done, waiting = await asyncio.wait(answers, timeout=limit)
        for answer in done:
            error = answer.exception()
            if error is not None and not isinstance(error, ActorUnavailableError):
                raise CellLost(f"{answers[answer]} could not be started: {error}") from error
        if waiting:
            missing = sorted(answers[answer] for answer in waiting)
            asked = {
                role: {"num_cpus": settings.num_cpus, "num_gpus": settings.num_gpus, **settings.resources}
                for role, settings in self._plan.roles.items()
                if role in self.placement.dedicated
            }
            raise ConfigurationError(
                f"Ray found no place within {limit:g} s for {', '.join(missing[:5])}"
                f"{f' and {len(missing) - 5} more' if len(missing) > 5 else ''}. Each agent asks for {asked}; "
                f"the cluster has {_resources()}. Let the roles ask for less, or raise "
                f"limits.start_timeout_s if nodes will join."
            )

    def _packed_cells(self, dedicated: frozenset[str]) -> int:
        """One for each CPU; one in all if it is only for agents that a dedicated role may spawn."""
        packed = any(name not in dedicated for name in self._plan.roles)
        return max(1, int(_resources().get("CPU", 1))) if packed else 1

    def _options_of(self, number: int, nodes: list[str]) -> dict[str, Any]:
        restarts = self._plan.limits.restarts if self._plan.journal is not None else 0
        options: dict[str, Any] = {
            "num_cpus": 0,
            "max_restarts": restarts,
            "max_task_retries": 0,
            "enable_task_events": False,
            "max_concurrency": 1000,
        }
        role = self._dedicated_role(number)
        if role is not None:
            settings = self._plan.roles[role]
            options["num_cpus"] = settings.num_cpus
            options["num_gpus"] = settings.num_gpus
            options["resources"] = dict(settings.resources)
        if role is None or not (settings.num_cpus or settings.num_gpus or settings.resources):
            # The node meant for it, or any if that is gone. (Ray takes a soft node affinity for a hint, and strays.)
            options["label_selector"] = {"ray.io/node-id": nodes[number]}
            options["fallback_strategy"] = [{"label_selector": {}}]
        return options

    def _dedicated_role(self, number: int) -> str | None:
        for role, first in self.placement.dedicated.items():
            if first <= number < first + len(self.placement.members(role)):
                return role
        return None

    async def call(self, cell: int, method: str, *arguments: Any) -> Any:
        """Calls a method of the actor."""
        if method == "deliver":
            source, epoch, packet = arguments
            arguments = (source, epoch, packet.first, packet.count, packet.data)
        try:
            return await getattr(self._actors[cell], method).remote(*arguments)
        except RayActorError as error:
            raise CellDown(f"cell {cell}: {type(error).__name__}", cell) from error
        except RayTaskError as error:
            cause = error.cause
            raise (cause if isinstance(cause, SwarmError) else SwarmError(f"cell {cell}: {error}")) from error

    async def revive(self, cell: int) -> None:
        """Waits until Ray has restarted the actor."""
        for _ in range(_REVIVE_TRIES):
            try:
                await self._actors[cell].process_id.remote()
                return
            except ActorUnavailableError:
                await asyncio.sleep(_REVIVE_PAUSE_S)
            except RayActorError as error:
                raise CellLost(f"cell {cell} died and Ray does not restart it: {error}") from error
        raise CellLost(f"cell {cell} did not come back within {_REVIVE_TRIES * _REVIVE_PAUSE_S:g} s")

    async def stop(self) -> None:
        """Ends the actors, and Ray if it was started here."""
        for actor in self._actors:
            ray.kill(actor, no_restart=True)
        self._actors.clear()
        self._session.close()


def dedicated_roles(plan: Plan) -> frozenset[str]:
    """The roles whose agents get a Ray actor each: those that ask for it, and all of a small swarm.

    A swarm with a role whose agents are all made at run time (`count=0`) is not known to be small.
    """
    counts = [1 if role.count is None else role.count for role in plan.roles.values()]
    small = plan.cells is None and all(counts) and sum(counts) <= plan.limits.dedicated_agents
    return frozenset(
        name
        for name, role in plan.roles.items()
        if (small if role.dedicated is None else role.dedicated) and role.count != 0
    )


def spread(cpus: Mapping[str, float], cells: int) -> list[str]:
    """A node for each cell, so that each node has its share by its CPUs, and neighbours are on different nodes."""
    weights = {node: cpu for node, cpu in cpus.items() if cpu > 0} or dict.fromkeys(cpus, 1.0)
    taken = dict.fromkeys(weights, 0)
    places = []
    for _ in range(cells):
        node = min(weights, key=lambda node: ((taken[node] + 1) / weights[node], taken[node], node))
        taken[node] += 1
        places.append(node)
    return places


def cell_names(placement: Placement) -> list[str]:
    """The actors' names: `cell/0` and on, then the addresses of dedicated agents."""
    names = [f"cell/{number}" for number in range(placement.packed)]
    for role in placement.dedicated:
        names.extend(placement.members(role))
    return names


def _actor_class(name: str) -> Any:
    """Cells as a class of actors, by the name that the dashboard shows: for dedicated agents, that of their class."""
    remote: Any = ray.remote  # Its types know nothing of concurrency groups.
    control = ray.method(concurrency_group="control")
    methods = {method: control(getattr(RayCell, method)) for method in _CONTROL}
    # Made here and not where `RayCell` is defined, so that Ray pickles that by name.
    return remote(concurrency_groups={"control": 2})(
        type(name, (RayCell,), {"__doc__": RayCell.__doc__, **methods})
    )


def _cpus_by_node() -> dict[str, float]:
    nodes = ray.nodes()  # type: ignore[no-untyped-call]  # Ray leaves it untyped
    return {node["NodeID"]: node["Resources"].get("CPU", 0.0) for node in nodes if node["Alive"]}


def _resources() -> dict[str, float]:
    resources: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]  # Ray leaves it untyped
    return resources
