"""Cells as Ray actors, on a running cluster or one started here.

Rules:
* Nothing touches Ray at import. A cluster that runs is used; one is started only if there is none, and only what was
  started here is shut down.
* Actors are named in the namespace `rayswarm/<run id>`: `cell/3`, or the agent's own address for a dedicated one, so
  that a run is recognised in the dashboard.
* Ray never retries a call (it would run twice); a dead actor is restarted by Ray and recovers from its journal.
"""

import asyncio
import os
from typing import Any

import ray
from ray.exceptions import ActorDiedError, ActorUnavailableError, RayActorError, RayError, RayTaskError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from actors.address import Placement
from actors.errors import CellLost, ConfigurationError, SwarmError
from actors.layout import layout_of_run
from actors.plan import Plan
from actors.ray_cell import RayCell
from actors.runtime import CellDown

_REVIVE_TRIES = 200
_REVIVE_PAUSE_S = 0.1
_CONTROL = ("status", "process_id")


class RayRuntime:
    """Each cell in a Ray actor."""

    def __init__(self, plan: Plan, address: str | None = None, options: dict[str, Any] | None = None) -> None:
        self._plan = plan
        self._address = address
        self._options = options or {}
        self._owns_ray = False
        self._actors: list[Any] = []
        self.dashboard: str | None = None
        self.placement: Placement = plan.placement(plan.cells or 1)

    async def start(self) -> None:
        """Joins or starts Ray and makes an actor for each cell."""
        self._join()
        self.placement = layout_of_run(self._plan) or self._plan.placement(
            self._plan.cells or self._cpus(), dedicated_roles(self._plan)
        )
        names = cell_names(self.placement)
        alive = ray.nodes()  # type: ignore[no-untyped-call]  # Ray leaves it untyped
        nodes = [node["NodeID"] for node in alive if node["Alive"]]
        remote: Any = ray.remote  # Its types know nothing of concurrency groups.
        actor = remote(concurrency_groups={"control": 2})(_with_control_methods())
        namespace = f"rayswarm/{self._plan.run_id}"
        for number, name in enumerate(names):
            options = self._options_of(number, nodes)
            try:
                handle = actor.options(name=name, namespace=namespace, **options).remote(
                    self._plan, self.placement, number, names
                )
            except ValueError as error:
                raise ConfigurationError(
                    f"run {self._plan.run_id!r} is in use on this cluster: {error}. "
                    f"Give the plan another run_id, or wait for it to end."
                ) from error
            self._actors.append(handle)

    def _join(self) -> None:
        if not ray.is_initialized():
            namespace = f"rayswarm/{self._plan.run_id}"
            options: dict[str, Any] = {"log_to_driver": False, "include_dashboard": True, **self._options}
            address = self._address or os.environ.get("RAY_ADDRESS")
            try:
                if address is not None and address != "local":
                    ray.init(address=address, namespace=namespace, log_to_driver=options["log_to_driver"])
                else:
                    ray.init(address=address, namespace=namespace, **options)
                    self._owns_ray = address == "local" or not _joined_existing()
            except (ConnectionError, RayError, ValueError) as error:
                raise ConfigurationError(
                    f"cannot use the Ray cluster at {address or 'this machine'}: {error}. "
                    f"Give address='local' to start one here."
                ) from error
            self._leave = True
        else:
            self._leave = False
        url = ray._private.worker.get_dashboard_url()  # type: ignore[no-untyped-call]  # as above
        self.dashboard = f"http://{url}" if url else None

    def _cpus(self) -> int:
        return max(1, int(_resources().get("CPU", 1)))

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
        elif len(nodes) > 1:
            node = nodes[number % len(nodes)]
            options["scheduling_strategy"] = NodeAffinitySchedulingStrategy(node, soft=True)
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
        except (ActorDiedError, ActorUnavailableError, RayActorError) as error:
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
        if self._leave:
            ray.shutdown(wait_for_processes=True) if self._owns_ray else ray.shutdown()


def dedicated_roles(plan: Plan) -> frozenset[str]:
    """The roles whose agents get a Ray actor each: those that ask for it, and all of a small swarm."""
    total = sum(1 if role.count is None else role.count for role in plan.roles.values())
    small = total <= plan.limits.dedicated_agents and plan.cells is None
    return frozenset(
        name
        for name, role in plan.roles.items()
        if (small if role.dedicated is None else role.dedicated) and role.count != 0
    )


def cell_names(placement: Placement) -> list[str]:
    """The actors' names: `cell/0` and on, then the addresses of dedicated agents."""
    names = [f"cell/{number}" for number in range(placement.packed)]
    for role in placement.dedicated:
        names.extend(placement.members(role))
    return names


def _with_control_methods() -> type[RayCell]:
    # Wrapped here and not where the class is defined, so that Ray pickles it by name.
    class Cell(RayCell):
        __doc__ = RayCell.__doc__

    for name in _CONTROL:
        setattr(Cell, name, ray.method(concurrency_group="control")(getattr(RayCell, name)))
    return Cell


def _resources() -> dict[str, float]:
    resources: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]  # Ray leaves it untyped
    return resources


def _joined_existing() -> bool:
    node = ray._private.worker.global_worker.node
    return node is not None and not node.head
