"""The memory of a trial: opened beside it, seated in its plan, closed with it.

Rules:
* The store lies in the trial's folder, `memory/`: in this process a `Memory`, on Ray an actor (`memory/ray_memory.py`).
  Either leaves the same files, which `rayswarm recall` and `rayswarm memory` open when the trial has ended.
* An agent's scope is {tenant, swarm: the experiment's name, role, agent: its address}. What is to be seen by all of the
  swarm it writes into the scope {tenant, swarm}.
* A trial that goes on finds its memory as it was; one that begins anew, without a journal, begins without a memory.
* In a replay agents have their seats, and nothing behind them: what came from the memory comes from the journal.
* What the swarm knows as facts is left as `knowledge.json`, for the report.
"""

import asyncio
import math
import shutil
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Final, cast

from actors.address import role_of
from actors.context import Context
from actors.errors import ConfigurationError, SwarmError
from actors.message import Message
from actors.plan import Plan
from cluster.class_path import resolve, told
from cluster.experiment import Experiment, MemorySection
from cluster.results import write_json
from inference.embedder import Embedder, EmbedderIdentity
from inference.hashing_embedder import HashingEmbedder
from memory.errors import MemoryFault
from memory.fact import fact_of
from memory.item import Kind
from memory.memory import Memory
from memory.scope import Scope
from memory.seat import Door, LocalDoor, Seat

FOLDER: Final = "memory"
SHARD: Final = "shard-0"
KNOWLEDGE_ENTITIES: Final = 300
KNOWLEDGE_EDGES: Final = 3_000


class MemorySeats:
    """What sits at `context.memory`: for each agent its seat, under its own scope. Goes to other processes."""

    def __init__(self, door: Door, swarm: Scope) -> None:
        self._door = door
        self.swarm = swarm

    def __call__(self, context: Context) -> Seat:
        """The seat of the agent whose turn it is."""
        origin = origin_of(context.address, context.message)
        return Seat(self._door, agent_scope(self.swarm, context.address), origin)


class ClosedDoor:
    """Stands where a memory would: in a plan that is replayed, or not yet run."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # what pickle and copy ask for
            raise AttributeError(name)
        raise SwarmError("this swarm's memory is not open: it is while a trial runs (`rayswarm run`)")


def swarm_scope(section: MemorySection, experiment: str) -> Scope:
    """The scope that all agents of an experiment's swarm see."""
    return Scope(section.tenant, experiment)


def agent_scope(swarm: Scope, address: str) -> Scope:
    """The scope of one agent."""
    return Scope(swarm.tenant, swarm.swarm, role_of(address), address)


def origin_of(address: str, message: Message) -> str:
    """What stands for a turn: its agent and its message, which others may have been sent too."""
    return f"{address} {message.message_id}"


def closed_seats(experiment: Experiment) -> dict[str, Callable[[Context], Any]]:
    """Seats for a plan that does not run; none if the experiment has no memory."""
    if experiment.memory is None:
        return {}
    return {
        "memory": MemorySeats(cast("Door", ClosedDoor()), swarm_scope(experiment.memory, experiment.name))
    }


def default_embedder() -> Embedder:
    """The built-in embedder. It needs no cache: hashing a text costs as much as looking it up."""
    return HashingEmbedder()


def made_embedder(path: str) -> Embedder:
    """The embedder that the function at `module:name` makes. Raises `ConfigurationError` if it makes none."""
    try:
        made = resolve(path)()
    except ConfigurationError:
        raise
    except Exception as error:  # the user's code may raise anything; it is told with its place
        raise ConfigurationError(f"embedder {path}: {told(error)}") from error
    if not isinstance(getattr(made, "identity", None), EmbedderIdentity):
        raise ConfigurationError(
            f"embedder {path}: made {made!r:.100}, which is no embedder: it has no identity"
        )
    embedder: Embedder = made
    return embedder


def embedder_maker(section: MemorySection) -> Callable[[], Embedder]:
    """The function that makes the memory's embedder, here or in another process."""
    return default_embedder if section.embedder is None else partial(made_embedder, section.embedder)


@asynccontextmanager
async def with_memory(
    experiment: Experiment, plan: Plan, trial: Path, address: str | None
) -> AsyncIterator[Plan]:
    """The plan with an open memory in its seats, if the experiment has one; closed at the end of the block."""
    section = experiment.memory
    if section is None:
        yield plan
        return
    folder = trial / FOLDER
    if not (trial / "journal").exists():
        shutil.rmtree(folder, ignore_errors=True)
    swarm = swarm_scope(section, experiment.name)
    opened = _on_ray if experiment.on == "ray" else _here
    async with opened(section, folder, address) as door:
        seats = MemorySeats(door, swarm)
        # Calls that the past of a fork had begun are made by its old plan.
        before = None if plan.before is None else _seated(plan.before, seats)
        yield replace(_seated(plan, seats), before=before)
    await asyncio.to_thread(write_knowledge, trial, section, swarm)


def _seated(plan: Plan, seats: MemorySeats) -> Plan:
    return replace(plan, seats={**plan.seats, "memory": seats})


@asynccontextmanager
async def _here(section: MemorySection, folder: Path, address: str | None) -> AsyncIterator[Door]:
    del address
    memory = await asyncio.to_thread(_opened, folder / SHARD, embedder_maker(section))
    try:
        yield LocalDoor(memory)
    finally:
        await asyncio.to_thread(memory.close)


@asynccontextmanager
async def _on_ray(section: MemorySection, folder: Path, address: str | None) -> AsyncIterator[Door]:
    # Ray is imported by who runs on it: it takes half a second.
    from actors.ray_session import ray_session  # noqa: PLC0415 - the reason is above

    with ray_session(address):
        memory = await asyncio.to_thread(_started, section, folder)
        try:
            yield memory
        finally:
            await memory.stop()


def _started(section: MemorySection, folder: Path) -> Any:
    from memory.ray_memory import start_memory  # noqa: PLC0415 - it imports Ray: see `_on_ray`

    # No CPU is reserved: the agents may have asked for all of them, and the memory must come up all the same.
    return start_memory(folder.resolve(), make_embedder=embedder_maker(section), num_cpus=0)


def _opened(folder: Path, make_embedder: Callable[[], Embedder]) -> Memory:
    try:
        return Memory.open(folder, make_embedder())
    except MemoryFault as error:
        raise ConfigurationError(f"memory: {error}") from error


def write_knowledge(trial: Path, section: MemorySection, swarm: Scope) -> None:
    """Leaves the facts that all of the swarm sees as a graph; its best connected part, if it is large."""
    folder = trial / FOLDER / SHARD
    if not folder.is_dir():  # on another node's disk
        return
    with _opened(folder, embedder_maker(section)) as memory:
        items = memory.items(scope=swarm)
        facts = [fact for item in items if item.kind is Kind.FACT and (fact := fact_of(item)) is not None]
    edges = [(fact.subject, fact.relation, fact.object) for fact in facts if not fact.literal]
    if not edges:
        return
    degree = Counter(end for subject, _, target in edges for end in (subject, target))
    ranked = sorted(degree, key=lambda name: (-degree[name], name))
    drawn = frozenset(ranked[:KNOWLEDGE_ENTITIES])
    kept = sorted(edge for edge in edges if edge[0] in drawn and edge[2] in drawn)
    step = max(1, math.ceil(len(kept) / KNOWLEDGE_EDGES))
    graph = {"facts": len(facts), "entities": len(degree), "edges": [list(edge) for edge in kept[::step]]}
    write_json(trial / "knowledge.json", graph)
