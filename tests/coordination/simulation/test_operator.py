"""What an operator does to a simulated log, and that campaigns find what only clients' histories show."""

from dataclasses import replace
from typing import Any

import pytest

from coordination.catalogue import CATALOGUE, entry_named
from coordination.checker import SafetyViolation
from coordination.machine import KeyValueStore
from coordination.protocol import (
    ChangeMembers,
    Compact,
    Effects,
    Event,
    Instruct,
    Protocol,
    ProtocolKind,
    Read,
    ReadAt,
    Setting,
)
from coordination.raft.membership import change_from
from coordination.raft.raft import RAFT, Raft
from coordination.simulation.campaign import Case
from coordination.simulation.clients import Clients, Load
from coordination.simulation.node import Node
from coordination.simulation.operator import Duties, Operator
from coordination.simulation.simulation import Simulation, World


class Stale(KeyValueStore):
    """A mutant: a get shows what stood there before the last change."""

    def __init__(self) -> None:
        super().__init__()
        self.older: dict[str, Any] = {}

    def apply(self, command: Any) -> Any:
        before = self.store.get(command[3])
        result = super().apply(command)
        if command[2] == "get":
            return self.older.get(command[3])
        self.older[command[3]] = before
        return result


class Hasty(Raft):
    """A mutant: it answers a read at once from what it has applied, whoever leads."""

    def handle(self, event: Event) -> Effects:
        if isinstance(event, Read):
            return Effects(reads=[ReadAt(event.context, self.node.log.applied)], wake_at=self.node.wake_at)
        return super().handle(event)


def hasty(setting: Setting) -> Protocol:
    return Hasty(setting)


HASTY = ProtocolKind(**{**vars(RAFT), "make": hasty})


def cases(kind: ProtocolKind, seeds: int) -> list[Case]:
    """The first of the campaign's cases whose history is judged."""
    drawn = [Case.drawn(kind, seed) for seed in range(seeds)]
    return [case for case in drawn if case.duties.record]


def test_a_campaign_finds_a_store_that_shows_what_is_stale() -> None:
    for case in cases(RAFT, 10):
        case.store = Stale
        with pytest.raises(SafetyViolation, match=rf"not linearizable(.|\n)*--seed {case.seed}"):
            case.run(lambda world: (), 4_000)


def test_a_campaign_finds_reads_that_are_answered_without_asking_a_quorum() -> None:
    found = 0
    for case in cases(HASTY, 20):
        try:
            case.run(lambda world: (), 4_000)
        except SafetyViolation as violation:
            found += "not linearizable" in str(violation)
    assert found


def test_duties_are_spread_over_the_seeds_and_leave_the_rest_of_a_case_alone() -> None:
    for entry in CATALOGUE.values():
        duties = [Case.drawn(entry.kind, seed).duties for seed in range(60)]
        assert {one.record for one in duties} == {True, False}
        assert {one.compact_every for one in duties} == {0, 2, 10, 40}
        assert {one.orders for one in duties} == {True, False} & {False, entry.kind.upkeep.order is not None}
        assert all(entry.kind.upkeep.reads for one in duties if one.reads)
    case = Case.drawn(entry_named("raft").kind, 3)
    assert str(case.duties) in case.described()


def test_a_case_with_all_duties_is_fixed_by_its_seed() -> None:
    full = Duties(record=True, compact_every=2, reads=True, orders=True)
    found = next(
        case
        for seed in range(200)
        if replace((case := Case.drawn(RAFT, seed)).duties, compact_every=2) == full
    )
    checkers = entry_named("raft").checkers
    one, other = (Case.drawn(RAFT, found.seed).run(checkers, 4_000) for _ in range(2))
    assert one.operations > 0
    assert replace(one, wall_s=0.0) == replace(other, wall_s=0.0)


@pytest.mark.parametrize("protocol", list(CATALOGUE))
def test_every_protocol_compacts_and_gives_its_state_to_who_starts_again(protocol: str) -> None:
    simulation = Simulation(World(entry_named(protocol).kind, replicas=7, delay_s=0.1), seed=4)
    installed, checkpoints = [], []

    def watch(node: Node, event: Event, effects: Effects) -> None:
        checkpoints.extend([node.id] * effects.checkpoint)
        if effects.installed is not None:
            installed.append(effects.installed)

    simulation.watchers.append(watch)
    clients = Clients(simulation, Load(clients=2), keep=True)
    operator = Operator(simulation, clients, Duties(compact_every=5))
    clients.start()
    operator.start()
    simulation.run(until_s=300.0, events=30_000, stop=lambda: simulation.slots >= 30)
    first = simulation.nodes[0]
    simulation.crash(first)
    simulation.restart(first)
    assert {*checkpoints} == {node.id for node in simulation.nodes}
    assert installed
    assert installed[-1].slot % 5 == 0
    assert clients.state_at(first)[1].sessions


def test_reads_see_what_was_put_before_them() -> None:
    for protocol in ("raft", "multi-paxos"):
        simulation = Simulation(World(entry_named(protocol).kind, replicas=3), seed=1)
        clients = Clients(simulation, Load(clients=2, keys=2), record=True)
        operator = Operator(simulation, clients, Duties(record=True, reads=True))
        clients.start()
        operator.start()
        simulation.run(until_s=1.0, events=20_000)
        assert len(operator.reads) > 10
        assert any(read.result for read in operator.reads)


def test_orders_of_all_kinds_are_given_and_then_all_members_are_brought_back() -> None:
    given: set[type[Any]] = set()
    for seed in range(6):
        simulation = Simulation(World(RAFT, replicas=4), seed=seed)
        simulation.watchers.append(
            lambda node, event, effects: given.add(
                type(event.order if isinstance(event, Instruct) else event)
            )
        )
        clients = Clients(simulation, Load(think_s=0.001))
        operator = Operator(simulation, clients, Duties(orders=True))
        clients.start()
        operator.start()
        delay_s = simulation.delay_s
        simulation.run(until_s=400 * delay_s)
        operator.mend()
        simulation.run(until_s=1400 * delay_s)
        for node in simulation.nodes:
            assert isinstance(node.protocol, Raft)
            assert node.protocol.configuration[1].voters == (1, 2, 3, 4), f"seed {seed}"
            assert not node.protocol.configuration[1].joint
    names = {kind.__name__ for kind in given}
    assert names >= {"TransferLeadership", "Campaign", "ForgetLeader", "ReportUnreachable", "ReportSnapshot"}
    assert ChangeMembers in given
    assert Compact not in given


def test_an_explicit_joint_configuration_is_left_when_all_is_mended() -> None:
    simulation = Simulation(World(RAFT, replicas=3), seed=2)
    clients = Clients(simulation, Load(total=1))
    operator = Operator(simulation, clients, Duties(orders=True))
    clients.start()
    simulation.run(until_s=1.0)
    leader = simulation.leader()
    assert leader is not None
    simulation.tell(leader, lambda now: ChangeMembers(now, change_from("r2 l3", "explicit")))
    simulation.run(until_s=1.5)
    assert isinstance(leader.protocol, Raft)
    assert leader.protocol.configuration[1].joint
    operator.mend()
    simulation.run(until_s=4.0)
    leader = simulation.leader()
    assert leader is not None
    assert isinstance(leader.protocol, Raft)
    assert leader.protocol.configuration[1].voters == (1, 2, 3)
