import math
from random import Random
from typing import Any

import pytest

from actors.errors import ConfigurationError
from coordination.gossip import COOLING, GOSSIP, Answer, Call, Gossip, GossipOptions, Rumour, Started
from coordination.protocol import Codec, Effects, Event, Propose, Receive, Restore, Setting
from coordination.simulation.network import NetworkSettings
from coordination.simulation.node import Node
from coordination.simulation.simulation import Simulation, World

PERIOD_DELAYS = GossipOptions().period_delays


class Deliveries:
    """What each replica delivered in its present life, checked at every step: each rumour once, slots without a gap."""

    def __init__(self, simulation: Simulation) -> None:
        self.of: dict[int, list[Any]] = {node.id: [] for node in simulation.nodes}
        simulation.watchers.append(self.watch)

    def watch(self, node: Node, event: Event, effects: Effects) -> None:
        if isinstance(event, Restore):
            self.of[node.id] = []
        for decided in effects.decided:
            assert decided.proof not in self.of[node.id], "a rumour was delivered twice"
            self.of[node.id].append(decided.proof)
            assert decided.slot == len(self.of[node.id])


def spread(
    replicas: int, seed: int, network: NetworkSettings | None = None
) -> tuple[Simulation, Deliveries, int | None]:
    """One rumour until it is over: the run, the deliveries, and the rounds until all knew it."""
    simulation = Simulation(World(GOSSIP, replicas, network or NetworkSettings()), seed)
    deliveries = Deliveries(simulation)
    simulation.propose(simulation.nodes[seed % replicas], ("news",))
    period_s = PERIOD_DELAYS * simulation.delay_s
    all_knew = None
    for number in range(1, 60):
        simulation.run(until_s=(number + 0.9) * period_s)
        if all_knew is None and all(deliveries.of.values()):
            all_knew = number
    return simulation, deliveries, all_knew


def transmissions(simulation: Simulation) -> int:
    return sum(node.protocol.transmissions for node in simulation.nodes if isinstance(node.protocol, Gossip))


@pytest.mark.parametrize("replicas", [4, 16, 64, 200])
def test_all_know_a_rumour_in_logarithmic_time_for_few_transmissions(replicas: int) -> None:
    for seed in range(4):
        simulation, _deliveries, all_knew = spread(replicas, seed)
        assert all_knew is not None, f"seed {seed}"
        assert all_knew <= math.log(replicas, 3) + 4, f"seed {seed}"
        most_count = 2 + math.ceil(math.log2(max(2.0, math.log2(replicas))))
        assert transmissions(simulation) <= 5 * most_count * replicas, f"seed {seed}"


def test_a_rumour_ends_everywhere_and_calls_go_on_without_it() -> None:
    simulation, _deliveries, _all_knew = spread(64, 1)
    before, calls = transmissions(simulation), simulation.messages
    period_s = PERIOD_DELAYS * simulation.delay_s
    simulation.run(until_s=simulation.now + 10 * period_s)
    assert transmissions(simulation) == before
    assert simulation.messages - calls == 10 * 2 * 64


@pytest.mark.parametrize(
    "network",
    [NetworkSettings(loss=0.1), NetworkSettings(duplicate=0.3), NetworkSettings(reorder=0.3)],
    ids=str,
)
def test_loss_repetition_and_disorder_neither_stop_a_rumour_nor_deliver_it_twice(
    network: NetworkSettings,
) -> None:
    missed = sum(spread(32, seed, network)[2] is None for seed in range(10))
    assert missed == 0


def test_many_rumours_from_all_reach_all() -> None:
    simulation = Simulation(World(GOSSIP, 20), 3)
    deliveries = Deliveries(simulation)
    for number, node in enumerate(simulation.nodes):
        simulation.propose(node, (f"{node.id}a", f"{node.id}b"), at=0.01 * number)
    simulation.run(until_s=1.0)
    assert {len(delivered) for delivered in deliveries.of.values()} == {40}
    assert len({tuple(sorted(delivered)) for delivered in deliveries.of.values()}) == 1


def test_a_replica_that_was_away_hears_later_rumours_and_its_own_are_new_ones() -> None:
    simulation = Simulation(World(GOSSIP, 12, disk_s=0.002), 3)
    deliveries = Deliveries(simulation)
    node = simulation.nodes[4]
    simulation.propose(node, ("before",))
    simulation.run(until_s=0.5)
    simulation.crash(node)
    simulation.run(until_s=0.6)
    simulation.restart(node)
    simulation.propose(node, ("after",))
    simulation.run(until_s=1.5)
    assert deliveries.of[1] == [(5, 1, 1), (5, 2, 1)]
    assert deliveries.of[5] == [(5, 2, 1)]


def setting(**options: Any) -> Setting:
    return Setting(1, (1, 2, 3), Random(1), options=options)


def test_what_is_too_much_is_rejected_and_what_no_replica_sends_is_dropped() -> None:
    replica = Gossip(setting(most_hot=2))
    replica.handle(Restore(0.0))
    effects = replica.handle(Propose(0.0, ("a", "b", "c")))
    assert [decided.commands for decided in effects.decided] == [("a",), ("b",)]
    assert [rejected.commands for rejected in effects.rejected] == [("c",)]
    stranger = replica.handle(Receive(0.0, 9, Call(())))
    assert (stranger.sends, stranger.decided) == ([], [])
    assert replica.handle(Receive(0.0, 2, Started(1))).sends == []


def test_a_rumour_heard_from_one_that_cools_is_delivered_and_cools() -> None:
    replica = Gossip(setting())
    replica.handle(Restore(0.0))
    effects = replica.handle(Receive(0.0, 2, Answer((Rumour(2, 1, 1, COOLING, "old"),))))
    assert [decided.commands for decided in effects.decided] == [("old",)]
    answer = replica.handle(Receive(0.0, 3, Call(()))).sends[0][1]
    assert answer.rumours[0].counter == COOLING


def test_a_new_life_has_a_number_that_is_durable_before_its_first_call() -> None:
    replica = Gossip(setting())
    effects = replica.handle(Restore(0.0, (Started(1), Started(2))))
    assert (effects.records, effects.token) == ([Started(3)], 1)
    assert replica.handle(Receive(0.0, 3, Call(()))).sends[0][2] == 1


def test_messages_survive_the_wire() -> None:
    codec = Codec(Gossip)
    message = Call((Rumour(1, 2, 3, 0, {"a": [1, "b"]}),))
    assert codec.decode(codec.encode(message)) == message


def test_settings_that_cannot_work_are_errors() -> None:
    with pytest.raises(
        ConfigurationError, match="period_delays, most_hot and most_remembered must be above 0"
    ):
        Gossip(setting(period_delays=0.0))
