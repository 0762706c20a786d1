"""PBFT: views, evidence, checkpoints and requests."""

from random import Random
from typing import Any

from coordination.pbft.message import (
    Checkpoint,
    Commit,
    Prepare,
    PrePrepare,
    ViewChange,
    checkpoint_statement,
    commit_statement,
    prepare_statement,
)
from coordination.pbft.reader import PbftReader
from coordination.pbft.replica import PBFT, Pbft
from coordination.protocol import Effects, Persisted, Propose, ProtocolKind, Receive, Restore, Setting, Tick
from coordination.request import Request
from coordination.signature import TokenScheme, digest
from coordination.simulation.latency import Constant
from coordination.simulation.liar import LIARS
from coordination.simulation.network import NetworkSettings
from coordination.simulation.simulation import Simulation, World
from coordination.testimony import conflict
from tests.coordination.agreement import Run, unit

MEMBERS = (1, 2, 3, 4)


def replica(number: int, records: tuple[Any, ...] = (), **options: Any) -> Pbft:
    """A replica of four that has started; replica 1 is the primary of view 0."""
    made = Pbft(Setting(number, MEMBERS, Random(0), scheme=TokenScheme(number), options=options))
    effects = made.handle(Restore(0.0, records))
    made.handle(Persisted(0.0, effects.token))
    return made


def pre_prepare(slot: int, *commands: Any, view: int = 0) -> PrePrepare:
    batch = (Request(1 + view, 1, slot, commands),)
    word = TokenScheme().sign(1 + view, prepare_statement(view, slot, digest(batch)))
    return PrePrepare(view, slot, batch, word)


def prepare(signer: int, like: PrePrepare) -> Prepare:
    found = digest(like.batch)
    word = TokenScheme().sign(signer, prepare_statement(like.view, like.slot, found))
    return Prepare(like.view, like.slot, found, word)


def commit(signer: int, like: PrePrepare) -> Commit:
    found = digest(like.batch)
    word = TokenScheme().sign(signer, commit_statement(like.view, like.slot, found))
    return Commit(like.view, like.slot, found, word)


def messages(effects: Effects, kind: type) -> list[Any]:
    return [message for to, message, _ in effects.sends if type(message) is kind]


# --- Three phases -----------------------------------------------------------------------------------------------


def test_a_backup_prepares_the_first_batch_of_a_slot_and_convicts_a_primary_of_a_second() -> None:
    backup = replica(2)
    first, second = pre_prepare(1, "a"), pre_prepare(1, "b")
    effects = backup.handle(Receive(1.0, 1, first))
    assert len(messages(effects, Prepare)) == 3
    assert all(token == effects.token > 0 for _, message, token in effects.sends)
    effects = backup.handle(Receive(1.0, 3, second))  # passed on by another replica
    assert not effects.sends
    (found,) = effects.evidence
    assert found.culprit == 1
    words = [word for one in (found.first, found.second) for word in PbftReader().words(one)]
    assert conflict(*words)


def test_its_own_votes_count_only_when_they_are_durable() -> None:
    backup = replica(2)
    proposal = pre_prepare(1, "a")
    prepared = backup.handle(Receive(1.0, 1, proposal))
    assert not messages(backup.handle(Receive(1.0, 3, prepare(3, proposal))), Commit)
    committing = backup.handle(Persisted(1.0, prepared.token))  # the third of three
    assert len(messages(committing, Commit)) == 3
    backup.handle(Receive(1.0, 1, commit(1, proposal)))
    assert not backup.handle(Receive(1.0, 3, commit(3, proposal))).decided
    assert backup.handle(Persisted(1.0, committing.token)).decided[0].commands == ("a",)


def test_a_vote_that_is_not_its_signers_does_not_count() -> None:
    backup = replica(2)
    proposal = pre_prepare(1, "a")
    token = backup.handle(Receive(1.0, 1, proposal)).token
    backup.handle(Persisted(1.0, token))
    vote = prepare(4, proposal)
    stolen = Prepare(0, 1, vote.digest, type(vote.signature)(3, vote.signature.proof))
    assert not messages(backup.handle(Receive(1.0, 3, stolen)), Commit)
    assert messages(backup.handle(Receive(1.0, 4, vote)), Commit)


def test_two_commits_of_one_replica_are_evidence_and_the_first_counts() -> None:
    backup = replica(2)
    backup.handle(Receive(1.0, 3, commit(3, pre_prepare(1, "a"))))
    effects = backup.handle(Receive(1.0, 3, commit(3, pre_prepare(1, "b"))))
    assert [found.culprit for found in effects.evidence] == [3]


def test_a_primary_may_not_put_words_into_the_mouths_of_others() -> None:
    backup = replica(2)
    batch = (Request(3, 1, 0, ("forged",)),)  # said to be of replica 3, and not signed by it
    word = TokenScheme().sign(1, prepare_statement(0, 1, digest(batch)))
    assert not backup.handle(Receive(1.0, 1, PrePrepare(0, 1, batch, word))).sends


def test_a_restarted_replica_does_not_vote_again_for_something_else() -> None:
    backup = replica(2)
    effects = backup.handle(Receive(1.0, 1, pre_prepare(1, "a")))
    again = replica(2, tuple(effects.records))
    effects = again.handle(Receive(2.0, 1, pre_prepare(1, "b")))
    assert not messages(effects, Prepare)
    assert [found.culprit for found in effects.evidence] == [1]


def test_a_replica_that_restarts_between_views_says_nothing_of_the_old_one_in_the_new() -> None:
    backup = replica(3)
    records = list(backup.handle(Receive(1.0, 1, pre_prepare(1, "a"))).records)
    effects = backup.handle(Tick(100.0))
    records += effects.records
    assert messages(effects, ViewChange)
    again = Pbft(Setting(3, MEMBERS, Random(0), scheme=TokenScheme(3)))
    effects = again.handle(Restore(200.0, tuple(records)))
    assert again.view == 1
    assert messages(effects, ViewChange)
    assert not messages(effects, Prepare)


def test_a_primary_that_restarts_says_again_what_it_may_not_have_said() -> None:
    primary = replica(1)
    effects = primary.handle(Propose(1.0, ("a",)))
    again = Pbft(Setting(1, MEMBERS, Random(0), scheme=TokenScheme(1)))
    said = messages(again.handle(Restore(2.0, tuple(effects.records))), PrePrepare)
    assert said == messages(effects, PrePrepare)


# --- Bounds -----------------------------------------------------------------------------------------------------


def test_a_liar_cannot_fill_a_replicas_memory() -> None:
    backup = replica(2, checkpoint=4)
    window = 8
    for count in range(2000):
        backup.handle(Receive(1.0, 1, pre_prepare(count, "a")))
        backup.handle(Receive(1.0, 3, commit(3, pre_prepare(count, "a"))))
        backup.handle(Receive(1.0, 3, commit(3, pre_prepare(count, "a", view=count % 3))))
        word = TokenScheme().sign(3, checkpoint_statement(4 * count, b"x"))
        backup.handle(Receive(1.0, 3, Checkpoint(4 * count, b"x", word)))
    state = backup._state
    assert len(state.log.slots) <= window
    assert len(state.early) <= 3 * 4 * window
    assert sum(map(len, backup._execution._words.values())) <= 3 * len(MEMBERS)


def test_checkpoints_move_the_window_and_votes_behind_it_are_forgotten() -> None:
    run = Run(unit(PBFT, 4, delay_s=2.0, options={"checkpoint": 4, "pipeline": 2}), watching=())
    for count in range(30):
        run.propose(count)
        assert run.until_all_have(count + 1, 100.0)
    run.simulation.run(until_s=run.simulation.now + 5.0)
    for node in run.nodes:
        assert isinstance(node.protocol, Pbft)
        assert node.protocol._state.stable.slot == 28
        assert sorted(node.protocol._state.log.slots) == [29, 30]


# --- Views ------------------------------------------------------------------------------------------------------


def test_a_silent_primary_is_replaced_and_the_request_is_executed_once() -> None:
    run = Run(unit(PBFT, 4, delay_s=1.5, liars={1: LIARS["silent"].disguise(1.5)}))
    run.propose("a", "b", at=run.nodes[2])
    assert run.until_all_have(2, 100.0)
    assert {node.protocol.view for node in run.simulation.honest if isinstance(node.protocol, Pbft)} == {1}
    run.propose("c", at=run.nodes[3])
    assert run.until_all_have(3, 10.0)
    assert run.commands(1) == ["a", "b", "c"]


def test_what_one_replica_executed_survives_its_view() -> None:
    """All commits but those to replica 2 are lost, and the primary dies: the next one proposes the same again."""
    run = Run(unit(PBFT, 4, delay_s=1.5))
    run.propose("a")
    run.simulation.run(until_s=1.5)
    run.simulation.network.blocked = {(a, b) for a in range(4) for b in range(4) if b != 1}
    run.simulation.network_changed()
    run.simulation.run(until_s=3.2)
    assert run.commands(1) == ["a"]
    assert not any(run.commands(place) for place in (0, 2, 3))
    run.simulation.crash(run.nodes[0])
    run.simulation.network.heal()
    run.simulation.network_changed()
    run.propose("b", at=run.nodes[3])
    assert run.until_all_have(2, 600.0, among=run.nodes[1:])
    assert [one.commands for one in run.decided[3] if one.commands] == [("a",), ("b",)]


def test_a_primary_that_passes_a_request_over_is_left() -> None:
    class Censor(Pbft):
        """Takes no request of replica 4."""

        def handle(self, event: Any) -> Effects:
            forwarded = isinstance(event, Receive) and any(
                request.origin == 4 for request in getattr(event.message, "requests", ())
            )
            return super().handle(Tick(event.now) if forwarded else event)

    def make(setting: Setting) -> Pbft:
        return Censor(setting) if setting.id == 1 else Pbft(setting)

    world = unit(PBFT, 4, delay_s=2.0, options={"checkpoint": 2})
    run = Run(World(**{**vars(world), "kind": type(PBFT)(**{**vars(PBFT), "make": make})}))
    run.propose("censored", at=run.nodes[3])
    for count in range(40):
        run.propose(count, at=run.nodes[1])
        run.simulation.run(until_s=run.simulation.now + 6.0)
    assert "censored" in run.commands(1)
    assert all(node.protocol is not None and node.protocol.leader != 1 for node in run.nodes[1:])


def test_a_request_that_is_proposed_twice_is_executed_once() -> None:
    backup = replica(2)
    request = (Request(1, 1, 0, ("a",)),)
    decided: list[Any] = []
    for slot in (1, 2):
        word = TokenScheme().sign(1, prepare_statement(0, slot, digest(request)))
        proposal = PrePrepare(0, slot, request, word)
        token = backup.handle(Receive(1.0, 1, proposal)).token
        backup.handle(Persisted(1.0, token))
        token = backup.handle(Receive(1.0, 3, prepare(3, proposal))).token
        backup.handle(Receive(1.0, 3, commit(3, proposal)))
        backup.handle(Persisted(1.0, token))
        decided += backup.handle(Receive(1.0, 1, commit(1, proposal))).decided
    assert [one.commands for one in decided] == [("a",), ()]


def test_the_primary_puts_what_waits_into_larger_batches_when_the_pipeline_is_full() -> None:
    primary = replica(1, pipeline=1)
    first = messages(primary.handle(Propose(0.0, ("a",))), PrePrepare)
    assert [len(first), first[0].slot] == [3, 1]
    assert not messages(primary.handle(Propose(0.0, ("b",))), PrePrepare)
    assert not messages(primary.handle(Propose(0.0, ("c",))), PrePrepare)
    primary.handle(Persisted(0.0, 2))
    effects = Effects()
    for signer in (2, 3):
        effects = primary.handle(Receive(1.0, signer, prepare(signer, first[0])))
    primary.handle(Persisted(1.0, effects.token))
    for signer in (2, 3):
        effects = primary.handle(Receive(2.0, signer, commit(signer, first[0])))
    (second, *_) = messages(effects, PrePrepare)
    assert [request.commands for request in second.batch] == [("b",), ("c",)]


def test_checkpoint_words_that_all_got_lost_are_said_again_to_who_asks() -> None:
    """Without that, the window would stay full for ever."""
    lost: set[int] = set()

    class Mumbling(Pbft):
        """Its words for checkpoints are lost on the way until 100 delays have passed."""

        def handle(self, event: Any) -> Effects:
            effects = super().handle(event)
            if event.now < 100.0:
                words = [send for send in effects.sends if type(send[1]) is Checkpoint]
                lost.update(message.slot for _, message, _ in words)
                effects.sends = [send for send in effects.sends if send not in words]
            return effects

    kind = ProtocolKind(**{**vars(PBFT), "make": Mumbling})
    world = World(kind, 4, NetworkSettings(Constant(1.0)), delay_s=1.0, options={"checkpoint": 2})
    simulation = Simulation(world, 1)
    for number in range(12):
        simulation.propose(simulation.nodes[0], (f"command {number}",), at=5.0 * number)
    simulation.run(until_s=100.0, events=20_000)
    assert lost == {2, 4}
    assert simulation.slots == 4, "the window is full"
    simulation.run(until_s=400.0, events=40_000)
    assert simulation.commands == 12
