"""Faults: as people write them, and as they happen."""

from random import Random

import pytest

from actors.errors import ConfigurationError
from coordination.raft.raft import RAFT
from coordination.simulation.fault import (
    Calendar,
    Crash,
    Heal,
    Partition,
    Pause,
    Skew,
    Weather,
    chaos,
    faults_from,
    heal,
)
from coordination.simulation.latency import Constant
from coordination.simulation.network import NetworkSettings
from coordination.simulation.simulation import Simulation, World


def rafts(replicas: int = 3) -> Simulation:
    simulation = Simulation(World(RAFT, replicas, NetworkSettings(Constant(0.001)), delay_s=0.002), seed=1)
    simulation.run(until_s=1.0)
    assert simulation.leader() is not None
    return simulation


def test_faults_are_written_in_one_line() -> None:
    assert faults_from("none") == []
    assert faults_from("crash:leader@2s; crash:3@1500ms+1s") == [Crash(2.0, "leader"), Crash(1.5, 3, 1.0)]
    assert faults_from("pause:random@1s+2s") == [Pause(1.0, "random", 2.0)]
    assert faults_from("isolate:leader@2s+3s") == [Partition(2.0, (), "leader", 3.0)]
    assert faults_from("partition:1,2|3,4,5@2s") == [Partition(2.0, ((1, 2), (3, 4, 5)))]
    assert faults_from("loss:0.05@0s+10s;slow:3@2s;heal@9s") == [
        Weather(0.0, 10.0, loss=0.05),
        Weather(2.0, slowdown=3.0),
        Heal(9.0),
    ]


@pytest.mark.parametrize(
    "text", ["crash:leader", "explode:1@2s", "crash:boss@2s", "loss:many@1s", "crash:1@2"]
)
def test_a_fault_that_is_none_is_refused_with_the_forms(text: str) -> None:
    with pytest.raises(ConfigurationError, match="Write for example crash:leader@2s"):
        faults_from(text)


def test_a_crash_of_the_leader_finds_whoever_leads_then_and_another_follows() -> None:
    simulation = rafts()
    before = simulation.leader()
    Calendar(simulation, [Crash(1.0, "leader", 2.0)])
    simulation.run(until_s=2.5)
    after = simulation.leader()
    assert before is not None
    assert after is not None
    assert not before.alive
    assert after is not before
    simulation.run(until_s=4.0)
    assert before.alive


def test_an_isolated_leader_is_replaced_and_a_later_partition_outlives_an_earlier_one() -> None:
    simulation = rafts()
    Calendar(simulation, [Partition(1.0, (), "leader", 5.0), Partition(2.0, ((1,), (2, 3)), None, 9.0)])
    simulation.run(until_s=6.5)
    assert simulation.network.blocked == {(0, 1), (1, 0), (0, 2), (2, 0)}
    simulation.run(until_s=11.5)
    assert simulation.network.blocked == set()


def test_one_way_partitions_block_one_way() -> None:
    simulation = rafts()
    Calendar(simulation, [Partition(1.0, (), 2, None, one_way=True)])
    simulation.run(until_s=1.1)
    assert simulation.network.blocked == {(1, 0), (1, 2)}


def test_weather_clears_up_and_healing_ends_everything() -> None:
    simulation = rafts()
    faults = [Weather(1.0, 1.0, loss=0.5), Crash(1.5, 1), Pause(1.6, 2, 100.0), Skew(1.7, 3, 1.1, 4.0)]
    Calendar(simulation, faults)
    simulation.run(until_s=2.5)
    assert simulation.network.loss == 0.0
    assert not simulation.nodes[0].alive
    assert simulation.nodes[1].paused
    heal(simulation)
    assert all(node.alive and not node.paused and node.rate == 1.0 for node in simulation.nodes)


def test_a_cleared_calendar_does_nothing_more() -> None:
    simulation = rafts()
    calendar = Calendar(simulation, [Crash(1.5, 1), Crash(2.5, 2)])
    simulation.run(until_s=2.0)
    calendar.clear()
    simulation.run(until_s=3.0)
    assert calendar.begun == [Crash(1.5, 1)]
    assert simulation.nodes[1].alive


def test_chaos_is_fixed_by_its_stream_knows_all_faults_and_ends_in_healing() -> None:
    def drawn(seed: int) -> list[object]:
        return list(chaos(Random(seed), replicas=5, horizon_s=10.0, delay_s=0.01))

    assert drawn(1) == drawn(1)
    kinds = {type(fault) for seed in range(10) for fault in drawn(seed)}
    assert kinds == {Crash, Pause, Partition, Weather, Skew, Heal}
    assert all(drawn(seed)[-1] == Heal(10.0) for seed in range(10))
