"""One suite for PBFT, Tendermint, Ben-Or and agreement with a common coin: what each of them must do."""

from dataclasses import replace
from functools import partial
from random import Random
from typing import Any

import msgspec
import pytest

from actors.errors import ConfigurationError
from coordination.checker import SafetyViolation
from coordination.pbft.replica import PBFT
from coordination.protocol import (
    ChangeMembers,
    Codec,
    Compact,
    Propose,
    ProtocolKind,
    Receive,
    Restore,
    Setting,
    Tick,
)
from coordination.randomised.kind import BEN_OR, COIN_AGREEMENT
from coordination.simulation.campaign import Case
from coordination.simulation.fault import heal
from coordination.simulation.latency import Uniform
from coordination.simulation.liar import LIARS, Forgetful, equivocating
from coordination.simulation.network import NetworkSettings
from coordination.simulation.simulation import World
from coordination.tendermint.replica import TENDERMINT
from tests.coordination.agreement import KINDS, SIGNED, Run, checkers, name_of, unit

every_kind = pytest.mark.parametrize("kind", KINDS, ids=name_of)
byzantine_kinds = pytest.mark.parametrize(
    "kind", [kind for kind in KINDS if kind.faults == "byzantine"], ids=name_of
)
signed_kinds = pytest.mark.parametrize("kind", SIGNED, ids=name_of)


# --- Costs ----------------------------------------------------------------------------------------------------


@every_kind
def test_one_decision_costs_what_the_table_says_for_4_to_31_replicas(kind: ProtocolKind) -> None:
    assert kind.costs is not None
    for n in range(4, 32):
        run = Run(unit(kind, n), watching=())
        leader = run.leader()
        run.propose("one")
        assert run.until_all_have(1, 50.0)
        simulation = run.simulation
        simulation.run(until_s=simulation.now)
        at = [times[1] for times in run.decided_at.values()]
        assert simulation.messages == kind.costs.messages(n), f"n = {n}"
        assert simulation.authenticators == kind.costs.authenticators(n), f"n = {n}"
        assert run.decided_at[leader.place][1] == kind.costs.delays, f"n = {n}"
        assert max(at) == kind.costs.delays + kind.costs.told, f"n = {n}"


@every_kind
def test_a_request_of_another_replica_costs_one_message_and_one_delay_more(kind: ProtocolKind) -> None:
    assert kind.costs is not None
    run = Run(unit(kind, 7))
    other = next(node for node in run.nodes if node is not run.leader())
    run.propose("one", at=other)
    assert run.until_all_have(1, 50.0)
    run.simulation.run(until_s=run.simulation.now)
    assert run.simulation.messages == kind.costs.messages(7) + 1
    assert run.decided_at[other.place][1] == kind.costs.delays + 1


# --- Safety and liveness under faults ---------------------------------------------------------------------------


@every_kind
@pytest.mark.parametrize("seed", range(1000, 1010))
def test_all_faults_at_once_break_nothing_and_healing_ends_them_within_the_bound(
    kind: ProtocolKind, seed: int
) -> None:
    result = Case.drawn(kind, seed).run(checkers, events=6000)
    assert result.recovery_delays <= kind.recovery_delays


@byzantine_kinds
@pytest.mark.parametrize("lie", sorted(LIARS))
def test_f_liars_of_any_kind_neither_split_the_others_nor_stop_them(kind: ProtocolKind, lie: str) -> None:
    n = kind.replicas(1)
    world = unit(kind, n, delay_s=1.5, liars={n: LIARS[lie].disguise(1.5)})
    run = Run(world, seed=7)
    honest = run.simulation.honest
    for count in range(6):
        run.propose(f"a{count}", f"b{count}", at=honest[count % len(honest)])
    assert run.until(
        lambda: all(len(set(run.commands(node.place))) == 12 for node in honest), kind.recovery_delays * 1.5
    )
    assert {found.culprit for found in run.simulation.evidence} <= {n}


@byzantine_kinds
@pytest.mark.parametrize("seed", range(4))
def test_twins_keep_agreement(kind: ProtocolKind, seed: int) -> None:
    n = kind.replicas(1)
    network = NetworkSettings(Uniform(0.2, 1.8), loss=0.05)
    run = Run(World(kind, n, network, delay_s=2.0, twins=(1 + seed % n,)), seed)
    rng = Random(seed)
    for count in range(8):
        groups = [node.place for node in run.nodes]
        rng.shuffle(groups)
        cut = rng.randint(1, len(groups) - 1)
        run.simulation.network.partition([groups[:cut], groups[cut:]])
        run.simulation.network_changed()
        run.propose(f"x{count}", at=rng.choice(run.nodes))
        run.simulation.run(until_s=run.simulation.now + 30.0)
    heal(run.simulation)
    honest = run.simulation.honest
    run.propose("last", at=honest[0])
    bound_s = kind.recovery_delays * 2.0
    assert run.until(lambda: all("last" in run.commands(node.place) for node in honest), bound_s)


@pytest.mark.parametrize("kind", [PBFT, TENDERMINT, COIN_AGREEMENT], ids=name_of)
def test_one_liar_too_many_splits_the_others_where_f_could_not(kind: ProtocolKind) -> None:
    def splits(liars: tuple[int, ...]) -> bool:
        disguise = partial(equivocating, fellows=frozenset(liars))
        world = unit(
            kind, 4, delay_s=1.5, liars={one: lambda make, rng, _: disguise(make, rng) for one in liars}
        )
        run = Run(world, seed=3)
        try:
            for count in range(12):
                run.propose(f"a{count}", f"b{count}", at=run.nodes[count % 4])
                run.simulation.run(until_s=run.simulation.now + 20.0)
        except SafetyViolation:
            return True
        return False

    assert not splits((4,))
    assert splits((3, 4))


@signed_kinds
def test_a_replica_that_forgets_its_votes_is_caught_by_the_checker(kind: ProtocolKind) -> None:
    broken = replace(kind, make=lambda setting: Forgetful(kind.make(setting)))
    caught = 0
    for seed in range(2000, 2040):
        try:
            Case.drawn(broken, seed).run(checkers, events=3000)
        except SafetyViolation:
            caught += 1
            break
    assert caught, "40 seeds found nothing"


# --- Restarts and catching up -------------------------------------------------------------------------------------


@every_kind
def test_after_all_crash_the_same_slots_are_decided_again_and_more(kind: ProtocolKind) -> None:
    run = Run(unit(kind, kind.replicas(1), disk_s=0.3, torn=True), seed=5)
    for count in range(5):
        run.propose(count)
        assert run.until_all_have(count + 1, 200.0)
    before = {node.place: [one.commands for one in run.decided[node.place]] for node in run.nodes}
    for node in run.nodes:
        run.simulation.crash(node)
    run.decided.clear()
    heal(run.simulation)
    for node in run.nodes:
        again = [one.commands for one in run.decided.get(node.place, ())]
        assert again == before[node.place][: len(again)]
    run.propose("after", at=run.nodes[0])
    assert run.until_all_have(6, kind.recovery_delays * 10.0)
    for node in run.nodes:
        assert run.commands(node.place) == [0, 1, 2, 3, 4, "after"]


@every_kind
def test_a_replica_that_was_away_gets_slots_and_a_state_and_starts_again_from_one_record(
    kind: ProtocolKind,
) -> None:
    run = Run(unit(kind, kind.replicas(1), delay_s=2.0), seed=6)
    away, others = run.nodes[-1], run.nodes[:-1]
    run.simulation.crash(away)
    for count in range(40):
        run.propose(count, at=others[count % len(others)])
        assert run.until_all_have(count + 1, 1000.0, among=others)
    slot = min(max(one.slot for one in run.decided[node.place]) for node in others) - 3
    for node in others:
        run.simulation.tell(node, lambda now: Compact(now, slot, ("state", slot)))
    assert run.until(lambda: all(len(node.durable) < 40 for node in others), 100.0)
    installed: list[Any] = []
    run.simulation.watchers.append(
        lambda node, event, effects: (
            installed.append((node.place, effects.installed)) if effects.installed is not None else None
        )
    )
    run.simulation.restart(away)
    last = max(one.slot for one in run.decided[others[0].place])
    assert run.until(lambda: any(one.slot >= last for one in run.decided.get(away.place, ())), 500.0)
    assert [(place, found.slot, tuple(found.state)) for place, found in installed] == [
        (away.place, slot, ("state", slot))
    ]
    run.simulation.crash(others[0])
    run.simulation.restart(others[0])
    assert installed[-1][0] == others[0].place
    run.propose("more", at=others[0])
    assert run.until(lambda: all("more" in run.commands(node.place) for node in run.nodes), 2000.0)


# --- What comes in ------------------------------------------------------------------------------------------------


def traffic(kind: ProtocolKind, n: int) -> list[Any]:
    """Messages of a run with trouble."""
    return troubled(kind, n)[0]


def troubled(kind: ProtocolKind, n: int) -> tuple[list[Any], list[Any]]:
    """Messages of a run with trouble, and what was decided in it."""
    seen: list[Any] = []
    run = Run(unit(kind, n, delay_s=1.0), seed=9, watching=())
    run.simulation.watchers.append(
        lambda node, event, effects: seen.append(event.message) if isinstance(event, Receive) else None
    )
    for count in range(4):
        run.propose(count, at=run.nodes[count % n])
        run.simulation.run(until_s=run.simulation.now + 40.0)
        node = run.nodes[count % n]
        run.simulation.crash(node)
        run.propose(-count, at=run.nodes[(count + 1) % n])
        run.simulation.run(until_s=run.simulation.now + 150.0)
        run.simulation.restart(node)
    return seen, max((run.decided[node.place] for node in run.nodes), key=len)


@every_kind
def test_every_message_and_record_survives_the_wire(kind: ProtocolKind) -> None:
    n = kind.replicas(1)
    codec = Codec(type(kind.make(Setting(1, tuple(range(1, n + 1)), Random(0)))))
    seen = traffic(kind, n)
    for message in seen:
        assert codec.decode(codec.encode(message)) == message
    types = {type(message).__name__ for message in seen}
    assert {"Status", "Past", "Forward"} <= types
    run = Run(unit(kind, n))
    run.propose("one")
    assert run.until_all_have(1, 100.0)
    for record in run.nodes[0].durable:
        assert codec.decode(codec.encode(record)) == record


def garbled(message: Any, rng: Random) -> Any:
    """The message with some of its fields, also of those within, replaced by others of the same type."""
    changed = {}
    for name in message.__struct_fields__:
        value = getattr(message, name)
        if rng.random() < 0.5:
            continue
        if isinstance(value, bool):
            changed[name] = not value
        elif isinstance(value, int):
            changed[name] = rng.choice((-(2**62), -1, 0, 1, 2, 3, value + 1, 65, 2**62))
        elif isinstance(value, bytes):
            changed[name] = rng.choice((b"", rng.randbytes(4), rng.randbytes(32)))
        elif isinstance(value, tuple):
            kept = [garbled(one, rng) if isinstance(one, msgspec.Struct) else one for one in value]
            changed[name] = tuple(rng.sample(kept, len(kept)))[: rng.randint(0, len(kept))]
        elif isinstance(value, msgspec.Struct):
            changed[name] = garbled(value, rng)
    return msgspec.structs.replace(message, **changed)


@every_kind
def test_garbage_raises_nothing_decides_nothing_new_and_accuses_nobody(kind: ProtocolKind) -> None:
    n = kind.replicas(1)
    seen, decided = troubled(kind, n)
    true = {one.slot: one.commands for one in decided}
    rng = Random(4)
    replica = kind.make(Setting(2, tuple(range(1, n + 1)), Random(0)))
    replica.handle(Restore(0.0))
    liar = 1
    for count in range(3000):
        message = garbled(rng.choice(seen), rng)
        effects = replica.handle(Receive(count * 0.001, liar, message))
        assert not effects.evidence
        if kind.faults == "byzantine":  # a certificate that came through whole is as good from a liar
            assert all(one.commands == true[one.slot] for one in effects.decided)
    for message in ("text", None, 7, object(), (), Tick(0.0)):
        assert not replica.handle(Receive(5.0, liar, message)).sends
    for message in seen:
        assert not replica.handle(Receive(5.0, 99, message)).sends  # a stranger


@every_kind
def test_what_a_protocol_does_not_know_is_an_error_that_names_the_mend(kind: ProtocolKind) -> None:
    replica = kind.make(Setting(1, (1, 2, 3, 4, 5, 6), Random(0)))
    replica.handle(Restore(0.0))
    with pytest.raises(ConfigurationError, match="members are fixed"):
        replica.handle(ChangeMembers(0.0, None))
    with pytest.raises(ConfigurationError, match="Give more than 0"):
        kind.make(Setting(1, (1, 2, 3, 4), Random(0), options={"resend": 0}))
    with pytest.raises(ConfigurationError, match="has no 'colour'"):
        kind.make(Setting(1, (1, 2, 3, 4), Random(0), options={"colour": 1}))


@every_kind
def test_invalid_commands_are_refused_at_once_and_never_decided_for_a_liar(kind: ProtocolKind) -> None:
    def valid(commands: tuple[Any, ...]) -> bool:
        return "bad" not in commands

    n = kind.replicas(1)
    refused: list[Any] = []
    run = Run(unit(kind, n, valid=valid))
    run.simulation.watchers.append(lambda node, event, effects: refused.extend(effects.rejected))
    run.propose("bad")
    run.propose("good")
    assert run.until_all_have(1, 100.0)
    assert [one.commands for one in refused] == [("bad",)]
    assert run.commands(0) == ["good"]


@every_kind
def test_more_than_the_backlog_is_refused_and_the_rest_is_decided_in_order(kind: ProtocolKind) -> None:
    refused: list[Any] = []
    run = Run(unit(kind, kind.replicas(1), batch=2, options={"backlog": 10}))
    run.simulation.watchers.append(lambda node, event, effects: refused.extend(effects.rejected))
    run.propose(*range(14))
    assert run.until_all_have(10, 5000.0)
    assert [command for one in refused for command in one.commands] == [10, 11, 12, 13]
    assert run.commands(0) == list(range(10))
    assert all(len(one.commands) <= 2 for one in run.decided[0])


@every_kind
def test_the_same_events_give_the_same_effects(kind: ProtocolKind) -> None:
    n = kind.replicas(1)

    def told() -> list[Any]:
        replica = kind.make(Setting(2, tuple(range(1, n + 1)), Random(3)))
        effects = [replica.handle(Restore(0.0))]
        for count, message in enumerate(traffic(kind, n)):
            effects.append(replica.handle(Receive(float(count), 1 + count % n, message)))
            effects.append(replica.handle(Propose(float(count), (count,))))
        return effects

    assert told() == told()


def test_too_few_replicas_for_the_faults_are_an_error() -> None:
    for kind, few in ((PBFT, 3), (TENDERMINT, 3), (COIN_AGREEMENT, 3), (BEN_OR, 2)):
        with pytest.raises(ConfigurationError, match="Give at least"):
            kind.check(few, 1)
