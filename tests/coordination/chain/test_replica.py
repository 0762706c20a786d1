"""Chained HotStuff and Jolteon: commands, views, restarts, laggards, and what a run without work does."""

from collections.abc import Callable
from dataclasses import replace
from random import Random
from typing import Any

import pytest

from coordination.chain.block import (
    GENESIS_QC,
    QC,
    Block,
    Bundle,
    Forward,
    Notice,
    Proposal,
    Timeout,
    Vote,
    propose_statement,
)
from coordination.hotstuff import HOTSTUFF
from coordination.jolteon import JOLTEON
from coordination.protocol import Codec, Compact, Protocol, ProtocolKind, Receive, everything
from coordination.signature import Certificate, Signature, TokenScheme, ed25519_schemes
from coordination.simulation.liar import silent
from coordination.streamlet import STREAMLET
from tests.coordination.chain.runs import Run, begin

VIEWS = pytest.mark.parametrize("kind", [HOTSTUFF, JOLTEON], ids=lambda kind: kind.name)
ALL = pytest.mark.parametrize("kind", [HOTSTUFF, JOLTEON, STREAMLET], ids=lambda kind: kind.name)


def same_decisions(run: Run) -> bool:
    """Whether all honest live replicas have decided the same."""
    return len({str(run.commands(node.id)) for node in run.simulation.honest if node.alive}) == 1


@ALL
def test_commands_of_all_replicas_are_decided_once_each_and_the_chain_goes_quiet(kind: ProtocolKind) -> None:
    run = begin(kind, 7)
    wanted = [f"{replica}/{index}" for index in range(9) for replica in range(1, 8)]
    for command in wanted:
        run.propose(int(command[0]), command)
        run.pass_by(0.4)
    run.finish()
    assert sorted(run.commands(1)) == sorted(wanted)
    assert same_decisions(run)
    # One origin's commands keep their order where they went into one block after another.
    assert max(len(one.commands) for one in run.decided[1]) <= 10


@ALL
def test_a_quiet_chain_only_pings(kind: ProtocolKind) -> None:
    run = begin(kind, options={"heartbeat": 20.0})
    run.propose(1, "x")
    run.until(lambda: run.know("x"))
    run.pass_by(100.0)
    before = len(run.sent)
    run.pass_by(1000.0)
    kinds = {type(message).__name__ for _, _, _, message in run.sent[before:]}
    assert kinds == {"Ping"}
    assert len(run.sent) - before <= 4 * 51


@ALL
def test_who_missed_the_end_learns_of_it_from_a_ping(kind: ProtocolKind) -> None:
    run = begin(kind, options={"heartbeat": 20.0})
    run.isolate(4)
    run.propose(1, "x")
    run.until(lambda: run.know("x", 1, 2, 3))
    run.pass_by(50.0)
    assert not run.know("x", 4)
    run.heal()
    assert run.until(lambda: run.know("x", 4)) <= 20.0 * 3 + 10


@VIEWS
def test_decisions_come_at_the_networks_pace_not_the_bounds(kind: ProtocolKind) -> None:
    assert kind.costs is not None
    run = begin(kind, latency_s=0.001)
    leader = run.protocol(1).leader
    run.propose(leader, "x")
    run.finish()
    assert min(at["x"] for at in run.known_at.values()) == pytest.approx(0.001 * kind.costs.delays)


@VIEWS
@pytest.mark.parametrize("n", [4, 7])
def test_silent_leaders_are_passed_by_within_the_bound(kind: ProtocolKind, n: int) -> None:
    f = (n - 1) // 3
    for first in range(1, n + 1):
        liars = {(first + index - 1) % n + 1: silent() for index in range(f)}
        run = begin(kind, n, liars=liars)
        honest = next(replica for replica in range(1, n + 1) if replica not in liars)
        run.propose(honest, "x")
        waits = 2 * f + 3 if kind is HOTSTUFF else f + 3
        assert run.until(lambda run=run: run.know("x")) <= waits * 5.0 * 2


@VIEWS
def test_after_a_partition_a_decision_comes_within_the_bound(kind: ProtocolKind) -> None:
    for seed in range(6):
        run = begin(kind, 7, seed=seed, liars={7: silent()})
        run.simulation.network.partition([[0, 1, 2], [3, 4, 5, 6]])
        run.simulation.network_changed()
        for replica in range(1, 7):
            run.propose(replica, f"{replica}")
        run.pass_by(50.0 * (seed + 1))
        assert not run.commands(1)
        run.heal()
        waits = 7 if kind is HOTSTUFF else 5
        assert run.until(lambda run=run: run.know("1")) <= waits * 5.0 * 2**3
        run.pass_by(2000.0)
        assert same_decisions(run)
        assert len(run.commands(1)) == 6


@VIEWS
def test_the_wait_grows_while_nothing_is_decided_and_shrinks_with_progress(kind: ProtocolKind) -> None:
    run = begin(kind)
    run.simulation.network.partition([[0], [1], [2], [3]])
    run.simulation.network_changed()
    for replica in range(1, 5):
        run.propose(replica, f"{replica}")
    run.pass_by(300.0)
    # Alone, a replica gives up one view only: its wait stays short, so that it is quick when others come back.
    assert run.protocol(2).pace.wait_s() == 5.0
    run.simulation.network.partition([[0, 1, 2], [3]])
    run.simulation.network_changed()
    run.until(lambda: run.know("1", 1, 2, 3))
    assert run.protocol(1).pace.wait_s() == 5.0


@VIEWS
def test_leaders_rotate_after_their_span_and_a_stable_leader_stays(kind: ProtocolKind) -> None:
    for span, leaders in ((1, 4), (5, 4), (1 << 20, 1)):
        run = begin(kind, options={"span": span}, batch=1)
        run.propose(run.protocol(1).leader, *range(40))
        run.finish()
        spoke = [message.block for _, _, _, message in run.sent if type(message) is Proposal]
        assert len({block.proposer for block in spoke}) == leaders
        assert all(len({b.proposer for b in spoke if b.view // span == i}) <= 1 for i in range(40 // span))


def test_with_four_replicas_and_a_new_leader_each_view_one_silent_replica_stops_hotstuff() -> None:
    """Three certified blocks in consecutive views need four correct leaders in a row: see `pacemaker`."""
    stuck = begin(HOTSTUFF, liars={2: silent()}, options={"span": 1})
    stuck.propose(1, "x")
    stuck.pass_by(2000.0)
    assert not stuck.commands(1)
    assert stuck.protocol(1).pace.view > 50
    for kind, span in ((JOLTEON, 1), (HOTSTUFF, 0)):
        run = begin(kind, liars={2: silent()}, options={"span": span})
        run.propose(1, "x")
        run.until(lambda run=run: run.know("x"))


# --- Crashes ----------------------------------------------------------------------------------------------------


@ALL
def test_a_replica_that_restarts_never_votes_twice_and_decides_the_same_again(kind: ProtocolKind) -> None:
    """The checker looks on: it remembers the words of all lives."""
    for seed in range(8):
        rng = Random(seed)
        run = begin(kind, seed=seed, disk_s=0.3, torn=True, delay_s=1.4, options={"heartbeat": 20.0})
        for index in range(12):
            run.propose(rng.randint(1, 4), f"{index}")
            run.pass_by(rng.random() * 4)
            victim = run.node(rng.randint(1, 4))
            run.simulation.crash(victim)
            run.pass_by(rng.random() * 2)
            run.simulation.restart(victim)
        run.propose(1, "last")
        run.until(lambda run=run: run.know("last"))
        run.pass_by(500.0)
        assert same_decisions(run)


@ALL
def test_all_may_crash_at_once_and_nothing_decided_is_lost(kind: ProtocolKind) -> None:
    run = begin(kind, options={"heartbeat": 20.0})
    run.propose(1, "x")
    run.until(lambda: run.know("x"))
    for node in run.simulation.nodes:
        run.simulation.crash(node)
    for node in run.simulation.nodes:
        run.simulation.restart(node)
    run.propose(2, "y")
    run.until(lambda: run.know("y"))
    assert all(run.commands(replica) == ["x", "y"] for replica in range(1, 5))


@ALL
def test_a_laggard_fetches_hundreds_of_blocks(kind: ProtocolKind) -> None:
    run = begin(kind, batch=1)
    run.isolate(4)
    run.propose(1, *range(250))
    run.until(lambda: run.know(249, 1, 2, 3))
    run.heal()
    run.propose(1, "last")
    run.until(lambda: run.know("last"))
    assert same_decisions(run)
    assert len(run.commands(4)) == 251


@ALL
def test_who_is_too_far_behind_takes_over_a_state_that_f_plus_one_vouch_for(kind: ProtocolKind) -> None:
    run = begin(kind, batch=1)
    run.isolate(4)
    run.propose(4, "mine")
    run.propose(1, *range(250))
    run.until(lambda: run.know(249, 1, 2, 3))
    slot = min(run.decided[replica][-1].slot for replica in (1, 2, 3))
    for replica in (1, 2, 3):
        state = [command for one in run.decided[replica] if one.slot <= slot for command in one.commands]
        run.simulation.tell(run.node(replica), lambda now, state=state: Compact(now, slot, state))
    run.heal()
    run.propose(1, "last")
    run.until(lambda: run.know("last") and run.know("mine", 1, 2, 3))
    assert run.installed == [(4, slot)]
    assert "mine" in run.commands(4)
    # It starts again from what it took over, without the past.
    run.simulation.crash(run.node(4))
    run.simulation.restart(run.node(4))
    assert run.installed == [(4, slot), (4, slot)]
    assert len(run.node(4).durable) < 60
    assert run.decided[4][0].slot == slot + 1


@ALL
def test_records_are_few_after_a_checkpoint_and_hold_what_binds(kind: ProtocolKind) -> None:
    run = begin(kind, batch=1)
    run.propose(1, *range(120))
    run.until(lambda: run.know(119))
    protocol = run.protocol(2)
    voted, before = protocol.voted, len(run.node(2).durable)
    run.simulation.tell(run.node(2), lambda now: Compact(now, run.decided[2][-1].slot, "state"))
    run.pass_by(0.0)
    assert len(run.node(2).durable) < 12 < before
    run.simulation.crash(run.node(2))
    run.simulation.restart(run.node(2))
    assert run.protocol(2).voted >= voted
    run.propose(2, "last")
    run.until(lambda: run.know("last", 1, 3, 4))


# --- What comes from outside ------------------------------------------------------------------------------------


@ALL
def test_invalid_and_too_many_commands_are_rejected_and_never_decided(kind: ProtocolKind) -> None:
    run = begin(kind, valid=lambda commands: "bad" not in commands, options={"capacity": 20})
    run.propose(1, "bad")
    run.propose(1, *range(21))
    run.propose(1, *range(20))
    forged = Forward((Bundle(3, 1 << 50, ("bad",)),))
    run.simulation.tell(run.node(2), lambda now: Receive(now, 3, forged))
    run.finish()
    assert [one.commands for one in run.rejected] == [("bad",), tuple(range(21))]
    assert run.commands(4) == list(range(20))


@VIEWS
def test_a_block_with_invalid_commands_gets_no_vote(kind: ProtocolKind) -> None:
    run = begin(kind, valid=lambda commands: "bad" not in commands, liars={1: unscrupulous})
    assert run.protocol(2).leader == 1
    run.propose(1, "bad")
    run.propose(3, "good")
    run.until(lambda: run.know("good"))
    assert all("bad" not in run.commands(replica) for replica in (2, 3, 4))


def unscrupulous(make: Callable[[], Protocol], rng: Random, liars: frozenset[int]) -> Protocol:
    """A liar that takes everything for valid."""
    replica: Any = make()
    replica.setting = replica.store.setting = replace(replica.setting, valid=everything)
    return replica


@VIEWS
def test_a_leader_cannot_make_others_store_more_than_one_block_a_view(kind: ProtocolKind) -> None:
    run = begin(kind, liars={1: silent()})
    scheme = TokenScheme(1)
    for index in range(50):
        block = Block(1, 1, 1, GENESIS_QC, (Bundle(1, index + 1, (index,)),))
        proposal = Proposal(block, scheme.sign(1, propose_statement(1, block.digest)))
        run.simulation.tell(run.node(2), lambda now, proposal=proposal: Receive(now, 1, proposal))
    run.pass_by(0.0)
    assert len(run.protocol(2).tree.pending) == 1
    assert [found.culprit for found in run.simulation.evidence] == [1]


@ALL
def test_bundles_of_strangers_do_not_get_into_blocks(kind: ProtocolKind) -> None:
    """Else a liar could feed leaders what voters refuse."""
    run = begin(kind)
    for replica in (1, 2, 3, 4):
        poison = Forward((Bundle(77, 1, ("poison",)),))
        run.simulation.tell(run.node(replica), lambda now, poison=poison: Receive(now, 3, poison))
    run.propose(1, "x")
    run.finish()
    assert [run.commands(replica) for replica in (1, 2, 3, 4)] == [["x"]] * 4


@ALL
def test_what_no_correct_replica_sends_is_dropped_and_remembered_within_bounds(kind: ProtocolKind) -> None:
    run = begin(kind)
    replica = run.protocol(2)
    rng = Random(1)
    nobody = Signature(3, b"1234")
    junk = Certificate((nobody, Signature(9, b"")))
    for view in range(0, 4000, 3):
        qc = QC(view, rng.randbytes(32), junk)
        block = Block(view + 1, rng.randint(-1, 9), rng.randint(0, 9), qc, (Bundle(1, view, (view,)),))
        signed = run.node(3).protocol.setting.scheme.sign(3, ("vote", view, block.digest))  # type: ignore[union-attr]
        for message in (
            Proposal(block, nobody),
            Vote(view, block.digest, nobody),
            Vote(view, block.digest, signed),
            Timeout(view, qc, nobody),
            Notice(qc),
            Forward((Bundle(rng.randint(0, 9), -view, tuple(range(rng.randint(0, 20)))),)),
            "noise",
            None,
        ):
            replica.handle(Receive(0.0, rng.randint(0, 9), message))
    assert replica.tree.committed.height == 0
    assert not replica.tree.pending
    pool = replica.store.pool
    assert pool.waiting <= pool.capacity


@ALL
def test_a_run_with_real_signatures_and_the_wire_form_decides_the_same(kind: ProtocolKind) -> None:
    """Every message goes through the codec: no object is shared, nothing is taken as checked."""
    schemes = ed25519_schemes(range(1, 5), b"seed")
    run = begin(kind, schemes=schemes, combines=False, count_bytes=True)
    codec = Codec(type(run.protocol(1)))
    for node in run.simulation.nodes:
        handle = node.protocol.handle  # type: ignore[union-attr]

        def decoded(event: Any, handle: Any = handle) -> Any:
            if isinstance(event, Receive):
                event = Receive(event.now, event.source, codec.decode(codec.encode(event.message)))
            return handle(event)

        node.protocol.handle = decoded  # type: ignore[method-assign, union-attr]
    run.propose(1, "a", "b")
    run.propose(3, "c")
    run.finish()
    assert sorted(run.commands(4)) == ["a", "b", "c"]
    assert same_decisions(run)
