import math
from collections.abc import Iterator
from random import Random
from typing import Any

import pytest

from actors.errors import ConfigurationError
from coordination.protocol import Codec, Effects, Event, Receive, Restore, Setting
from coordination.simulation.network import NetworkSettings
from coordination.simulation.node import Node
from coordination.simulation.simulation import Simulation, World
from coordination.swim import SWIM, Ack, Incarnation, Ping, Status, Swim, SwimOptions, Update

PERIOD_S = SwimOptions().period_delays * 0.001


def group(members: int, seed: int = 1, network: NetworkSettings | None = None, **options: Any) -> Simulation:
    return Simulation(
        World(SWIM, members, network or NetworkSettings(), options=options, disk_s=0.0001), seed
    )


def living(simulation: Simulation) -> Iterator[Swim]:
    return (node.protocol for node in simulation.nodes if node.alive and isinstance(node.protocol, Swim))


def periods(simulation: Simulation, number: float) -> None:
    simulation.run(until_s=simulation.now + number * PERIOD_S * 1.1)  # its delay bound includes the disk


class Incarnations:
    """At every step: nobody holds a greater incarnation of a member than it gave itself, in all of its lives."""

    def __init__(self, simulation: Simulation) -> None:
        self.given = {node.id: -1 for node in simulation.nodes}
        for member in living(simulation):
            self.given[member.id] = member.incarnation
        simulation.watchers.append(self.watch)

    def watch(self, node: Node, event: Event, effects: Effects) -> None:
        assert isinstance(node.protocol, Swim)
        assert node.protocol.incarnation >= self.given[node.id], "an incarnation fell"
        self.given[node.id] = node.protocol.incarnation
        for member, held in node.protocol.held.items():
            assert held.incarnation <= self.given[member]


@pytest.mark.parametrize("members", [2, 5, 16, 31])
def test_a_quiet_group_costs_two_messages_a_member_and_period_and_suspects_nobody(members: int) -> None:
    simulation = Simulation(World(SWIM, members), 1)
    simulation.run(until_s=PERIOD_S)
    before = simulation.messages
    simulation.run(until_s=11 * PERIOD_S)
    assert simulation.messages - before == 2 * members * 10
    assert {status for each in living(simulation) for status in map(each.status, range(1, members + 1))} == {
        0
    }


def test_a_dead_member_is_pinged_within_as_many_periods_as_the_paper_says() -> None:
    members, runs = 10, 300
    waited = []
    for seed in range(runs):
        simulation = Simulation(World(SWIM, members, options={"round_robin": False}), seed)
        simulation.run(until_s=3 * PERIOD_S)
        simulation.crash(simulation.nodes[0])
        crashed_s, pinged_s = simulation.now, list[float]()

        def watch(
            node: Node, event: Event, effects: Effects, seen: list[float] = pinged_s, at: Any = simulation
        ) -> None:
            if any(to == 1 and isinstance(message, Ping) for to, message, _token in effects.sends):
                seen.append(at.now)

        simulation.watchers.append(watch)
        simulation.run(until_s=100 * PERIOD_S, stop=lambda seen=pinged_s: bool(seen))  # type: ignore[misc]  # bound now
        waited.append(math.ceil((pinged_s[0] - crashed_s) / PERIOD_S))
    nobody = (1 - 1 / (members - 1)) ** (members - 1)  # does in a period; 1/e for great n
    assert abs(sum(waited) / runs - 1 / (1 - nobody)) < 0.1 * math.e / (math.e - 1)


def test_round_robin_pings_each_other_within_2n_minus_1_periods() -> None:
    members = 9
    simulation = group(members, seed=4)
    turn: dict[tuple[int, int], int] = {}
    longest = 0
    count = dict.fromkeys(range(1, members + 1), 0)

    def watch(node: Node, event: Event, effects: Effects) -> None:
        nonlocal longest
        for to, message, _token in effects.sends:
            if isinstance(message, Ping) and message.origin == node.id:
                count[node.id] += 1
                longest = max(longest, count[node.id] - turn.get((node.id, to), 0))
                turn[node.id, to] = count[node.id]

    simulation.watchers.append(watch)
    periods(simulation, 100)
    assert len(turn) == members * (members - 1)
    assert members - 1 <= longest <= 2 * members - 1


@pytest.mark.parametrize("loss", [0.0, 0.1])
def test_a_crash_is_known_to_all_and_a_restart_too(loss: float) -> None:
    for seed in range(5):
        simulation = group(16, seed, NetworkSettings(loss=loss))
        Incarnations(simulation)
        periods(simulation, 5)
        simulation.crash(simulation.nodes[3])
        periods(simulation, 12 + 2 * 4 + 6)  # suspicion, spreading, and detection with room to spare
        assert {each.status(4) for each in living(simulation)} == {Status.DEAD}, f"seed {seed}"
        assert all(len(each.alive()) == 15 for each in living(simulation)), f"seed {seed}"
        simulation.restart(simulation.nodes[3])
        periods(simulation, 20)
        assert all(len(each.alive()) == 16 for each in living(simulation)), f"seed {seed}"


def test_suspicion_keeps_live_members_of_a_bad_network_from_being_declared_dead() -> None:
    def declared(**options: Any) -> int:
        simulation = group(12, 2, NetworkSettings(loss=0.25), **options)
        deaths = 0

        def watch(node: Node, event: Event, effects: Effects) -> None:
            nonlocal deaths
            deaths += sum(trace.details["status"] == "DEAD" for trace in effects.trace)

        simulation.watchers.append(watch)
        periods(simulation, 60)
        return deaths

    assert declared() == 0
    assert declared(suspicion_periods=0.1) > 50  # without: the mutant that the paper's section 4.2 mends


def test_two_halves_of_a_network_forget_each_other_and_find_each_other_again() -> None:
    simulation = group(8, 5)
    Incarnations(simulation)
    simulation.network.partition([[0, 1, 2, 3], [4, 5, 6, 7]])
    simulation.network_changed()
    periods(simulation, 40)
    assert [each.alive() for each in living(simulation)] == [[1, 2, 3, 4]] * 4 + [[5, 6, 7, 8]] * 4
    simulation.network.heal()
    simulation.network_changed()
    periods(simulation, 60)
    assert all(len(each.alive()) == 8 for each in living(simulation))


def member(**options: Any) -> Swim:
    one = Swim(Setting(1, (1, 2, 3, 4), Random(1), options=options))
    one.handle(Restore(0.0, ()))
    return one


def test_a_member_refutes_and_its_incarnation_is_durable_first() -> None:
    one = member()
    effects = one.handle(Receive(0.0, 2, Ping(2, 1, (Update(1, Status.SUSPECT, 0),))))
    assert (effects.records, effects.token, effects.checkpoint) == ([Incarnation(1)], 2, True)
    to, ack, token = effects.sends[0]
    assert (to, token) == (2, 2)
    assert Update(1, Status.ALIVE, 1) in ack.updates
    restarted = Swim(Setting(1, (1, 2, 3, 4), Random(1)))
    assert restarted.handle(Restore(0.0, (Incarnation(7),))).records == [Incarnation(8)]


def test_of_two_statements_the_greater_incarnation_wins_then_the_worse_status() -> None:
    one = member()

    def hear(status: Status, incarnation: int) -> Status:
        one.handle(Receive(0.0, 2, Ping(2, 1, (Update(3, status, incarnation),))))
        return one.status(3)

    assert hear(Status.SUSPECT, 0) == Status.SUSPECT
    assert hear(Status.ALIVE, 0) == Status.SUSPECT
    assert hear(Status.ALIVE, 1) == Status.ALIVE
    assert hear(Status.DEAD, 1) == Status.DEAD
    assert hear(Status.SUSPECT, 1) == Status.DEAD
    assert hear(Status.ALIVE, 2) == Status.ALIVE


def test_who_is_held_dead_learns_it_from_the_ack_to_its_ping() -> None:
    one = member()
    one.handle(Receive(0.0, 2, Ping(2, 1, (Update(3, Status.DEAD, 0),))))
    ack = one.handle(Receive(0.0, 3, Ping(3, 1, ()))).sends[0][1]
    assert ack.updates[0] == Update(3, Status.DEAD, 0)


def test_who_holds_an_old_death_against_a_member_gets_its_word_with_the_next_message() -> None:
    one = member()
    one.handle(Receive(0.0, 2, Ping(2, 1, (Update(1, Status.DEAD, 0),))))
    for number in range(40):  # the news of incarnation 1 is sent to member 2 alone, and no more
        one.handle(Receive(0.0, 2, Ping(2, number, ())))
    late = one.handle(Receive(0.0, 3, Ping(3, 1, (Update(1, Status.DEAD, 0),)))).sends[0][1]
    assert late.updates == (Update(1, Status.ALIVE, 1),)
    assert one.handle(Receive(0.0, 3, Ping(3, 2, ()))).sends[0][1].updates == ()


def test_an_ack_for_another_is_passed_on_and_what_strangers_send_is_dropped() -> None:
    one = member()
    effects = one.handle(Receive(0.0, 2, Ack(2, 4, 9, ())))
    assert [(to, message.number) for to, message, _token in effects.sends] == [(4, 9)]
    assert one.handle(Receive(0.0, 77, Ping(77, 1, ()))).sends == []
    strange = one.handle(Receive(0.0, 2, Ping(2, 1, (Update(3, 9, 5), Update(99, 1, 1)))))
    assert strange.trace == []


def test_messages_survive_the_wire() -> None:
    codec = Codec(Swim)
    message = Ack(1, 2, 3, (Update(4, 1, 5),))
    assert codec.decode(codec.encode(message)) == message


def test_periods_too_short_for_a_helper_are_an_error() -> None:
    with pytest.raises(ConfigurationError, match="give period_delays above 6"):
        member(period_delays=5.0)
