"""The randomised protocols as logs: batches through bits, and bits alone."""

from random import Random
from typing import Any

import pytest

from coordination.protocol import ProtocolKind, Receive, Restore, Setting
from coordination.randomised.kind import BEN_OR, BEN_OR_BYZANTINE, COIN_AGREEMENT
from coordination.randomised.message import Body, Done, Init, Vote
from coordination.randomised.replica import Randomised
from coordination.randomised.slot import BODIES
from coordination.request import Request
from coordination.simulation.ledger import Ledger
from coordination.simulation.liar import LIARS
from tests.coordination.agreement import Run, name_of, unit

KINDS = (BEN_OR, BEN_OR_BYZANTINE, COIN_AGREEMENT)
every_kind = pytest.mark.parametrize("kind", KINDS, ids=name_of)
BITS = {"binary": True, "fixed_coins": 0}


@every_kind
def test_the_binary_form_agrees_on_a_bit_that_an_honest_replica_proposed(kind: ProtocolKind) -> None:
    n = kind.replicas(1)
    lies: tuple[str | None, ...] = (
        ("silent",) if kind is BEN_OR else (None, "equivocating", "double-voting", "late")
    )
    for seed in range(12):
        lie = lies[seed % len(lies)]
        liars = {} if lie is None else {n: LIARS[lie].disguise(1.5)}
        run = Run(
            unit(kind, n, delay_s=1.5, options={**BITS, "coin_seed": seed}, liars=liars),
            seed,
            [Ledger(only_proposed=True)],
        )
        rng = Random(seed)
        for node in run.nodes:
            run.propose(*[rng.getrandbits(1) for _ in range(5)], at=node)
        assert run.until_all_have(5, 3000.0), f"seed {seed}"
        assert len({tuple(run.commands(node.place)[:5]) for node in run.simulation.honest}) == 1


@every_kind
@pytest.mark.parametrize("bit", [0, 1])
def test_when_all_propose_one_bit_it_is_decided(kind: ProtocolKind, bit: int) -> None:
    run = Run(unit(kind, kind.replicas(1), options=BITS), watching=())
    for node in run.nodes:
        run.propose(bit, at=node)
    assert run.until_all_have(1, 500.0)
    assert all(run.commands(node.place) == [bit] for node in run.nodes)


def test_the_binary_form_of_ben_or_takes_two_delays_and_refuses_what_is_no_bit() -> None:
    n = 7
    refused: list[Any] = []
    run = Run(unit(BEN_OR, n, options=BITS))
    run.simulation.watchers.append(lambda node, event, effects: refused.extend(effects.rejected))
    for node in run.nodes:
        run.propose(1, "no bit", at=node)
    assert run.until_all_have(1, 50.0)
    run.simulation.run(until_s=run.simulation.now)
    assert {times[1] for times in run.decided_at.values()} == {2.0}
    assert run.simulation.messages == 3 * n * (n - 1)
    assert [one.commands for one in refused] == [("no bit",)] * n


@every_kind
def test_a_slot_without_a_batch_is_empty_and_the_next_candidate_has_its_turn(kind: ProtocolKind) -> None:
    n = kind.replicas(1)
    run = Run(unit(kind, n, delay_s=1.5, liars={2: LIARS["silent"].disguise(1.5)}), watching=())
    run.propose("a", at=run.nodes[2])  # the candidate of slot 1 is replica 2
    assert run.until_all_have(1, 300.0)
    assert [one.commands for one in run.decided[2][:2]] == [(), ("a",)]


def test_a_candidate_that_tells_two_stories_does_not_split_the_others() -> None:
    for seed in range(10):
        liars = {2: LIARS["equivocating"].disguise(1.5)}
        run = Run(unit(COIN_AGREEMENT, 4, delay_s=1.5, liars=liars), seed)
        run.propose("a", "b", at=run.nodes[1])
        run.propose("c", at=run.nodes[2])
        assert run.until(
            lambda run=run: all("c" in run.commands(one.place) for one in run.simulation.honest), 900.0
        )  # type: ignore[misc]  # bound now


def replica(kind: ProtocolKind, number: int, records: tuple[Any, ...] = ()) -> Randomised:
    made = kind.make(Setting(number, tuple(range(1, kind.replicas(1) + 1)), Random(0)))
    assert isinstance(made, Randomised)
    made.handle(Restore(0.0, records))
    return made


@every_kind
def test_a_restarted_replica_echoes_no_other_batch(kind: ProtocolKind) -> None:
    def init(command: str) -> Init:
        return Init(1, (Request(2, 1, 0, (command,)),))

    one = replica(kind, 1)
    effects = one.handle(Receive(1.0, 2, init("a")))
    assert effects.sends
    again = replica(kind, 1, tuple(effects.records))
    assert not again.handle(Receive(2.0, 2, init("b"))).sends


def test_a_batch_from_who_is_not_the_candidate_is_nothing() -> None:
    one = replica(COIN_AGREEMENT, 1)
    assert not one.handle(Receive(1.0, 3, Init(1, (Request(3, 1, 0, ("a",)),)))).sends


def test_fewer_than_f_plus_one_decisions_are_not_believed() -> None:
    one = replica(COIN_AGREEMENT, 1)
    assert not one.handle(Receive(1.0, 3, Done(1, 0, -1))).decided
    assert not one.handle(Receive(1.0, 3, Done(1, 1, -1))).decided
    assert [found.commands for found in one.handle(Receive(1.0, 4, Done(1, 0, -1))).decided] == [()]


def test_a_liar_cannot_fill_a_replicas_memory() -> None:
    one = replica(COIN_AGREEMENT, 1)
    for count in range(3000):
        one.handle(Receive(1.0, 2, Vote(1, count, count % 3, 1)))
        one.handle(Receive(1.0, 2, Vote(1 + count, 1, 0, 1)))
        one.handle(Receive(1.0, 2, Body(1, (Request(2, 1, count, ("x",)),))))
        one.handle(Receive(1.0, 2, Init(1, (Request(2, 1, count, ("x",)),))))
    slot = one._slot
    assert len(slot.bodies) <= BODIES
    assert len(slot.binary._rounds) <= 66  # type: ignore[attr-defined]  # a CoinAgreement
    assert len(one._state.early) <= 256
