"""How fast the simulator carries Raft: three replicas, every message, record and decision, on one core.

Proposals come in a steady stream at the leader, as from clients that do not wait; what is counted is commands decided
by the wall clock. Unbatched, each command is a proposal, an entry and a message of its own to each follower; the commit
index rides on the next message (`eager_commit` off). Batched, a proposal holds a hundred.
"""

import time
from dataclasses import dataclass

from coordination.raft.raft import RAFT
from coordination.simulation.latency import Constant
from coordination.simulation.network import NetworkSettings
from coordination.simulation.simulation import Simulation, World

REPLICAS = 3
BATCH = 100


@dataclass(frozen=True)
class Speed:
    """By the wall clock."""

    commits_per_second: float
    events_per_second: float


def measure(*, batch: int, commands: int, seed: int = 1) -> Speed:
    """Decides so many commands, in proposals of `batch`."""
    world = World(
        RAFT,
        REPLICAS,
        NetworkSettings(Constant(0.001)),
        delay_s=0.002,
        options={"eager_commit": False},
    )
    simulation = Simulation(world, seed)
    simulation.run(until_s=1.0, stop=lambda: simulation.leader() is not None)
    simulation.run(until_s=simulation.now + 0.1)
    leader = simulation.leader()
    assert leader is not None, "a quiet network elects a leader within a second"
    proposals = max(1, commands // batch)
    each_ms = 100 if batch == 1 else 10
    for number in range(proposals):
        first = number * batch
        at_s = simulation.now + 0.001 * (number // each_ms)
        simulation.propose(leader, tuple(range(first, first + batch)), at_s)
    commands_before, events_before = simulation.commands, simulation.events
    began = time.perf_counter()
    simulation.run(until_s=simulation.now + 0.001 * (proposals // each_ms) + 0.05)
    wall_s = time.perf_counter() - began
    decided = simulation.commands - commands_before
    if decided != proposals * batch:
        raise AssertionError(f"{proposals * batch} commands were proposed and {decided} decided")
    return Speed(decided / wall_s, (simulation.events - events_before) / wall_s)
