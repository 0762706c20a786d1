from random import Random

import pytest

from actors.errors import ConfigurationError
from coordination.bully import BULLY, ELECT, Bully, Coordinator
from coordination.protocol import Codec, Effects, Event, Instruct, Setting
from coordination.simulation.latency import Uniform
from coordination.simulation.network import NetworkSettings
from coordination.simulation.node import Node
from coordination.simulation.simulation import Simulation, World

DELAY_S = 0.001


def election(n: int, caller: int, *, greatest_is_dead: bool) -> tuple[int, float, set[int | None]]:
    """One election by hand: messages, delays until the last live replica knew, and whom they follow."""
    simulation = Simulation(World(BULLY, n, options={"heartbeat_delays": 0.0}), 0)
    if greatest_is_dead:
        simulation.crash(simulation.nodes[-1])
    simulation.tell(simulation.nodes[caller - 1], lambda now: Instruct(now, ELECT))
    leader = n - 1 if greatest_is_dead else n
    live = [node for node in simulation.nodes if node.alive]
    known_at: list[float] = []

    def look(node: Node, event: Event, effects: Effects) -> None:
        if not known_at and all(
            each.protocol is not None and each.protocol.leader == leader for each in live
        ):
            known_at.append(simulation.now)

    simulation.watchers.append(look)
    simulation.run()
    return (
        simulation.messages,
        known_at[0] / DELAY_S,
        {each.protocol.leader for each in live if each.protocol},
    )


@pytest.mark.parametrize("n", range(2, 32))
def test_an_election_costs_what_its_table_says(n: int) -> None:
    messages, delays, followed = election(n, n - 1, greatest_is_dead=True)
    assert messages == n - 1
    assert followed == {n - 1}
    assert round(delays) == (3 if n > 2 else 2)  # of two, nobody is left to be told
    messages, delays, followed = election(n, 1, greatest_is_dead=True)
    assert messages == n * n - n - 1
    assert followed == {n - 1}
    assert round(delays) == (4 if n > 2 else 2)
    messages, delays, followed = election(n, 1, greatest_is_dead=False)
    assert messages == n * n - 1
    assert followed == {n}
    assert round(delays) == 2


class Leadership:
    """How long, at most, two live replicas led at one time: looked at after every step."""

    def __init__(self, simulation: Simulation) -> None:
        self.simulation = simulation
        self.longest_s = 0.0
        self._since_s: float | None = None
        simulation.watchers.append(lambda node, event, effects: self.look())

    def look(self) -> None:
        leaders = sum(
            node.alive and node.protocol is not None and node.protocol.leader == node.id
            for node in self.simulation.nodes
        )
        if leaders > 1 and self._since_s is None:
            self._since_s = self.simulation.now
        if self._since_s is not None:
            self.longest_s = max(self.longest_s, self.simulation.now - self._since_s)
        if leaders <= 1:
            self._since_s = None


@pytest.mark.parametrize("seed", range(30))
def test_the_greatest_live_id_leads_whoever_crashes_and_restarts(seed: int) -> None:
    rng = Random(seed)
    n = rng.randint(2, 9)
    simulation = Simulation(World(BULLY, n, NetworkSettings(Uniform(0.0001, DELAY_S)), delay_s=DELAY_S), seed)
    leadership = Leadership(simulation)
    for _ in range(12):
        node = rng.choice(simulation.nodes)
        if node.alive and sum(each.alive for each in simulation.nodes) > 1:
            simulation.crash(node)
        else:
            simulation.restart(node)
        simulation.run(until_s=simulation.now + rng.random() * 40 * DELAY_S)
    simulation.run(until_s=simulation.now + 60 * DELAY_S)
    live = [node for node in simulation.nodes if node.alive]
    assert {node.protocol.leader for node in live if node.protocol} == {max(node.id for node in live)}
    assert leadership.longest_s <= 2 * DELAY_S, "two led for longer than a message takes"


def test_two_leaders_of_a_divided_network_become_one_when_it_heals() -> None:
    simulation = Simulation(World(BULLY, 6), 1)
    simulation.run(until_s=0.05)
    simulation.network.partition([[0, 1, 2], [3, 4, 5]])
    simulation.network_changed()
    simulation.run(until_s=0.2)
    assert [node.protocol.leader for node in simulation.nodes if node.protocol] == [3, 3, 3, 6, 6, 6]
    simulation.network.heal()
    simulation.network_changed()
    simulation.run(until_s=0.3)
    assert {node.protocol.leader for node in simulation.nodes if node.protocol} == {6}


def test_without_heartbeats_nothing_happens_by_itself() -> None:
    simulation = Simulation(World(BULLY, 5, options={"heartbeat_delays": 0.0}), 1)
    simulation.run(until_s=10.0)
    assert simulation.messages == 0


def test_a_heartbeat_below_nothing_is_an_error() -> None:
    with pytest.raises(ConfigurationError, match="heartbeat_delays is below 0"):
        Bully(Setting(1, (1, 2), Random(1), options={"heartbeat_delays": -1.0}))


def test_messages_survive_the_wire() -> None:
    codec = Codec(Bully)
    assert codec.decode(codec.encode(Coordinator())) == Coordinator()
