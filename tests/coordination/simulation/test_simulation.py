"""The simulator: virtual time, machines, disks and links, from one seed."""

from functools import partial
from typing import Any

import pytest

from actors.errors import ConfigurationError
from coordination.checker import SafetyViolation
from coordination.raft.raft import RAFT
from coordination.simulation.clients import Clients, Load
from coordination.simulation.fault import Calendar, chaos
from coordination.simulation.latency import Constant, Uniform
from coordination.simulation.ledger import Ledger
from coordination.simulation.network import HEADER_BYTES, NetworkSettings
from coordination.simulation.simulation import Simulation, World
from tests.coordination.simulation.pingers import BOASTER, SCRIBE, Note, Scribe


def scribes(**settings: Any) -> Simulation:
    network = settings.pop("network", NetworkSettings(Constant(0.010)))
    return Simulation(World(SCRIBE, 3, network, **settings), seed=5)


def scribe(simulation: Simulation, place: int) -> Scribe:
    replica = simulation.nodes[place].protocol
    assert isinstance(replica, Scribe)
    return replica


def steps_of(seed: int) -> list[str]:
    """A stormy run of Raft, step by step."""
    world = World(
        RAFT, 3, NetworkSettings(Uniform(0.001, 0.004), loss=0.05, duplicate=0.05), disk_s=0.001, torn=True
    )
    simulation = Simulation(world, seed)
    steps: list[str] = []
    simulation.watchers.append(lambda node, event, effects: steps.append(f"{node.place} {event} {effects}"))
    Clients(simulation, Load(clients=3)).start()
    Calendar(simulation, chaos(simulation.stream("chaos"), replicas=3, horizon_s=1.0, delay_s=0.004))
    simulation.run(events=3_000)
    return steps


def test_the_same_seed_gives_the_same_steps_and_another_seed_others() -> None:
    first = steps_of(3)
    assert len(first) >= 2_900
    assert first == steps_of(3)
    assert first != steps_of(4)


def test_each_replica_draws_from_a_stream_of_its_own_that_no_other_world_moves() -> None:
    draws = [scribe(scribes(), place).draw for place in range(3)]
    assert len(set(draws)) == 3
    stormy = scribes(network=NetworkSettings(Uniform(0.1, 0.2), loss=0.5), disk_s=0.3)
    assert [scribe(stormy, place).draw for place in range(3)] == draws


def test_time_jumps_to_what_is_due_and_a_message_takes_its_delay() -> None:
    simulation = scribes()
    simulation.propose(simulation.nodes[0], (7,), at=100.0)
    simulation.run()
    assert [time for time, _, _ in scribe(simulation, 1).heard] == [pytest.approx(100.010)]
    assert simulation.events == 3 + 1 + 1 + 2  # three starts, the proposal, its record, two messages
    assert simulation.messages == 2


def test_a_message_that_waits_for_a_record_leaves_when_the_record_is_durable() -> None:
    simulation = scribes(disk_s=0.5)
    simulation.propose(simulation.nodes[0], (7,))
    simulation.run(until_s=0.49)
    assert scribe(simulation, 0).persisted == []
    assert simulation.messages == 0
    simulation.run()
    assert scribe(simulation, 0).persisted == [1]
    assert scribe(simulation, 2).heard[0][0] == pytest.approx(0.51)


def test_a_crash_keeps_exactly_what_was_durable_and_what_waited_is_never_said() -> None:
    simulation = scribes(disk_s=0.1)
    for at_s, number in ((0.0, 1), (0.05, 2), (0.12, 3)):
        simulation.propose(simulation.nodes[0], (number,), at=at_s)
    simulation.at(
        0.16, partial(simulation.crash, simulation.nodes[0])
    )  # 1 and 2 are durable, 3 is being written
    simulation.at(1.0, partial(simulation.restart, simulation.nodes[0]))
    simulation.run()
    assert scribe(simulation, 0).restored == [1, 2]
    assert [note.number for _, _, note in scribe(simulation, 1).heard] == [1, 2]


def test_a_torn_disk_may_keep_more_but_always_a_prefix() -> None:
    found = set()
    for seed in range(40):
        world = World(SCRIBE, 3, NetworkSettings(Constant(0.010)), disk_s=0.1, torn=True)
        simulation = Simulation(world, seed)
        for number in (1, 2, 3):
            simulation.propose(simulation.nodes[0], (number,), at=0.01 * number)
        simulation.at(0.115, partial(simulation.crash, simulation.nodes[0]))  # 1 is durable, 2 and 3 are not
        simulation.at(1.0, partial(simulation.restart, simulation.nodes[0]))
        simulation.run()
        found.add(tuple(scribe(simulation, 0).restored))
    assert found == {(1,), (1, 2), (1, 2, 3)}


def test_what_was_meant_for_an_earlier_life_never_comes() -> None:
    simulation = scribes(disk_s=0.1)
    simulation.propose(simulation.nodes[0], ("ring", 5.0))
    simulation.propose(simulation.nodes[0], (1,))
    simulation.at(0.05, partial(simulation.crash, simulation.nodes[0]))
    simulation.at(0.06, partial(simulation.restart, simulation.nodes[0]))
    simulation.run()
    assert scribe(simulation, 0).ticks == []
    assert scribe(simulation, 0).persisted == []


def test_a_dead_machine_hears_nothing_and_a_paused_one_hears_it_later() -> None:
    simulation = scribes()
    simulation.crash(simulation.nodes[1])
    simulation.pause(simulation.nodes[2])
    simulation.propose(simulation.nodes[0], (7,))
    simulation.at(1.0, partial(simulation.restart, simulation.nodes[1]))
    simulation.at(1.0, partial(simulation.resume, simulation.nodes[2]))
    simulation.run()
    assert scribe(simulation, 1).heard == []
    assert scribe(simulation, 2).heard == [(pytest.approx(1.0), 1, Note("told", 7))]


def test_what_is_durable_stays_so_when_older_news_of_the_disk_comes_late() -> None:
    simulation = scribes(disk_s=0.1)
    node = simulation.nodes[0]
    simulation.propose(node, (1,))
    simulation.propose(node, (2,), at=0.01)
    simulation.at(
        0.095, partial(simulation.pause, node)
    )  # the first is stored while the machine stands still
    simulation.at(0.105, partial(simulation.resume, node))
    simulation.run()
    assert scribe(simulation, 0).persisted == [2, 1]
    assert node.durable_token == 2
    assert not node.held


def test_a_tick_comes_by_the_replicas_own_clock() -> None:
    simulation = scribes()
    node = simulation.nodes[0]
    simulation.set_clock(node, rate=0.5, offset_s=20.0)
    simulation.propose(node, ("ring", 3.0))
    simulation.run()
    assert scribe(simulation, 0).ticks == [pytest.approx(23.0)]
    assert simulation.now == pytest.approx(6.0)


def test_a_clock_that_jumps_forward_brings_the_tick_at_once() -> None:
    simulation = scribes()
    node = simulation.nodes[0]
    simulation.propose(node, ("ring", 100.0))
    simulation.at(1.0, partial(simulation.set_clock, node, offset_s=500.0))
    simulation.run()
    assert scribe(simulation, 0).ticks == [pytest.approx(501.0)]


def test_links_between_parts_are_cut_and_come_back() -> None:
    simulation = scribes()
    simulation.network.partition([[0], [1]])
    simulation.network_changed()
    simulation.propose(simulation.nodes[0], (1,))
    simulation.run(until_s=1.0)
    simulation.network.heal()
    simulation.network_changed()
    simulation.propose(simulation.nodes[0], (2,))
    simulation.run()
    assert [note.number for _, _, note in scribe(simulation, 1).heard] == [2]
    assert [note.number for _, _, note in scribe(simulation, 2).heard] == [1, 2]


def test_both_twins_hear_what_is_sent_to_their_id_and_neither_is_honest() -> None:
    simulation = scribes(twins=(3,))
    assert [node.id for node in simulation.nodes] == [1, 2, 3, 3]
    assert [node.honest for node in simulation.nodes] == [True, True, False, False]
    simulation.propose(simulation.nodes[0], (7,))
    simulation.run()
    assert [len(scribe(simulation, place).heard) for place in (1, 2, 3)] == [1, 1, 1]
    assert simulation.messages == 2  # one to each id


def test_messages_leave_a_narrow_line_one_after_another_at_their_real_size() -> None:
    simulation = scribes(network=NetworkSettings(Constant(0.0), bandwidth_bits_per_s=8_000.0))
    simulation.propose(simulation.nodes[0], (7,))
    simulation.run()
    size = simulation.bytes / 2
    assert size > HEADER_BYTES
    assert scribe(simulation, 1).heard[0][0] == pytest.approx(size / 1_000)
    assert scribe(simulation, 2).heard[0][0] == pytest.approx(2 * size / 1_000)


@pytest.mark.parametrize(("share", "copies"), [("loss", 0), ("duplicate", 2)])
def test_a_share_of_one_loses_or_doubles_every_message(share: str, copies: int) -> None:
    simulation = scribes(network=NetworkSettings(Constant(0.01), **{share: 1.0}))
    simulation.propose(simulation.nodes[0], (7,))
    simulation.run()
    assert [len(scribe(simulation, place).heard) for place in (1, 2)] == [copies, copies]


def test_held_back_messages_are_overtaken() -> None:
    simulation = scribes(network=NetworkSettings(Constant(0.01), reorder=0.5))
    for number in range(50):
        simulation.propose(simulation.nodes[0], (number,), at=0.001 * number)
    simulation.run()
    numbers = [note.number for _, _, note in scribe(simulation, 1).heard]
    assert sorted(numbers) == list(range(50))
    assert numbers != sorted(numbers)


def test_a_run_ends_at_its_limit_of_events_in_the_middle_and_goes_on_from_there() -> None:
    whole, parts = scribes(), scribes()
    for simulation in (whole, parts):
        for number in range(20):
            simulation.propose(simulation.nodes[0], (number,))
    whole.run()
    for events in range(5, whole.events, 7):
        parts.run(events=events)
        assert parts.events >= events
    parts.run()
    assert parts.events == whole.events
    assert scribe(parts, 1).heard == scribe(whole, 1).heard


def test_a_violation_names_the_seed_the_step_and_the_last_events() -> None:
    simulation = Simulation(World(BOASTER, 3), seed=11, checkers=[Ledger()])
    simulation.propose(simulation.nodes[0], ("left",))
    simulation.propose(simulation.nodes[1], ("right",))
    with pytest.raises(SafetyViolation, match=r"agreement, broken by replica 2") as caught:
        simulation.run()
    text = str(caught.value)
    assert "seed 11, event 5" in text
    assert "replica 1  Propose" in text


def test_what_cannot_be_simulated_is_refused_with_the_mend() -> None:
    with pytest.raises(ConfigurationError, match="Give 1 or more"):
        Simulation(World(SCRIBE, 0))
    with pytest.raises(ConfigurationError, match="The replicas are 1 to 3"):
        Simulation(World(SCRIBE, 3, twins=(4,)))
    with pytest.raises(ConfigurationError, match="0 to 1"):
        NetworkSettings(loss=1.5)
