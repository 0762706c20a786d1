"""Raft beyond its log: elections, reads, snapshots and restarts, members."""

from random import Random

import pytest

from actors.errors import ConfigurationError
from coordination.protocol import (
    ChangeMembers,
    Compact,
    Decided,
    Instruct,
    Propose,
    Read,
    ReadAt,
    Receive,
    Rejected,
    Restore,
    Setting,
    Tick,
)
from coordination.raft.membership import Members, MembershipChange, change_from
from coordination.raft.messages import (
    Append,
    Appended,
    AppendReply,
    Campaign,
    Entry,
    Heartbeat,
    HeartbeatReply,
    InstallSnapshot,
    Saved,
    Snapshot,
    TimeoutNow,
    TransferLeadership,
    Voted,
    VoteReply,
    VoteRequest,
)
from coordination.raft.raft import RAFT, Raft
from coordination.simulation.simulation import Simulation, World
from tests.coordination.raft.one import entries, leader, replica, sent, stored

# --- Elections --------------------------------------------------------------------------------------------------


def test_a_candidate_asks_for_votes_only_when_its_own_is_stored() -> None:
    raft = replica(pre_vote=False)
    effects = raft.handle(Instruct(1.0, Campaign()))
    assert effects.records == [Voted(1, 3)]
    assert effects.sends == [(to, VoteRequest(1, 0, 0), effects.token) for to in (1, 2)]


def test_a_vote_outlives_a_crash() -> None:
    first = replica()
    seen = stored(first, Receive(1.0, 1, VoteRequest(5, 0, 0)))
    second = Raft(Setting(3, (1, 2, 3), Random(3)))
    second.handle(Restore(2.0, [record for effects in seen for record in effects.records]))
    other = second.handle(Receive(3.0, 2, VoteRequest(5, 9, 4)))
    assert sent(other) == [VoteReply(5, False, True)]
    assert sent(second.handle(Receive(3.0, 1, VoteRequest(5, 0, 0)))) == [VoteReply(5)]


def test_who_hears_from_a_leader_votes_for_nobody_unless_the_leader_wants_it() -> None:
    raft = replica(election_s=10.0, heartbeat_s=1.0)
    raft.handle(Receive(1.0, 1, Heartbeat(5, 0)))
    assert raft.handle(Receive(2.0, 2, VoteRequest(6, 0, 0))).sends == []
    assert raft.node.term == 5
    effects = raft.handle(Receive(2.0, 2, VoteRequest(6, 0, 0, transfer=True)))
    assert sent(effects) == [VoteReply(6)]


def test_a_leader_that_hears_from_nobody_steps_down() -> None:
    raft = leader(election_s=10.0, heartbeat_s=1.0)
    raft.handle(Receive(5.0, 2, HeartbeatReply(1)))
    raft.handle(Tick(11.0))
    assert raft.leader == 1
    raft.handle(Tick(21.0))
    assert raft.leader is None
    assert raft.handle(Propose(22.0, ("a",))).rejected == [Rejected(("a",), None)]


def test_leadership_goes_to_who_has_all_entries() -> None:
    raft = leader()
    assert sent(raft.handle(Instruct(2.0, TransferLeadership(2)))) == [TimeoutNow(1)]
    assert raft.handle(Propose(2.0, ("a",))).rejected != []
    behind = raft.handle(Instruct(2.0, TransferLeadership(3)))
    assert TimeoutNow(1) not in sent(behind)
    caught_up = raft.handle(Receive(3.0, 3, AppendReply(1, 1)))
    assert TimeoutNow(1) in sent(caught_up)


def test_ticks_that_come_a_rounding_error_early_count() -> None:
    raft = replica(election_s=10.0, heartbeat_s=1.0)
    due = raft.handle(Tick(1.0)).wake_at
    effects = raft.handle(Tick(due * (1 - 1e-13)))
    assert effects.wake_at > due


# --- Reads ------------------------------------------------------------------------------------------------------


def test_a_read_waits_for_a_quorum_to_answer() -> None:
    raft = leader()
    asked = raft.handle(Read(2.0, "r"))
    assert asked.reads == []
    rounds = {message.round for message in sent(asked)}
    assert rounds == {1}
    assert raft.handle(Receive(3.0, 2, HeartbeatReply(1))).reads == [], "an older round's answer"
    assert raft.handle(Receive(3.0, 2, HeartbeatReply(1, 1))).reads == [ReadAt("r", 1)]


def test_a_read_waits_for_the_leader_s_own_first_commit() -> None:
    raft = replica(1, pre_vote=False)
    stored(raft, Instruct(1.0, Campaign()), Receive(1.0, 2, VoteReply(1)))
    assert raft.handle(Read(2.0, "early")).sends == []
    committed = raft.handle(Receive(2.0, 2, AppendReply(1, 1)))
    assert {message.round for message in sent(committed) if isinstance(message, Heartbeat)} == {1}
    assert raft.handle(Receive(3.0, 3, HeartbeatReply(1, 1))).reads == [ReadAt("early", 1)]


def test_a_lease_answers_at_once_while_it_lasts_and_not_after_a_transfer() -> None:
    raft = leader(lease_reads=True, election_s=10.0, heartbeat_s=1.0)
    raft.handle(Tick(2.0))
    raft.handle(Receive(2.5, 2, HeartbeatReply(1, raft.node.round)))
    assert raft.handle(Read(10.0, "in time")).reads == [ReadAt("in time", 1)]
    assert raft.handle(Read(11.1, "too late")).reads == []
    raft.handle(Tick(12.0))
    raft.handle(Instruct(12.0, TransferLeadership(2)))
    raft.handle(Receive(12.5, 2, HeartbeatReply(1, raft.node.round)))
    assert [read.context for read in raft.handle(Read(13.0, "no more")).reads] == []


def test_who_restarts_under_leases_votes_for_nobody_for_a_while() -> None:
    raft = Raft(Setting(3, (1, 2, 3), Random(3), options={"lease_reads": True, "election_s": 10.0}))
    raft.handle(Restore(100.0, [Voted(4, 1)]))
    assert raft.handle(Receive(105.0, 2, VoteRequest(6, 0, 0))).sends == []
    assert sent(raft.handle(Receive(110.0, 2, VoteRequest(6, 0, 0)))) == [VoteReply(6)]


# --- Snapshots and restarts -------------------------------------------------------------------------------------


def test_a_snapshot_and_the_log_behind_it_are_the_whole_journal() -> None:
    first = replica(trailing=0)
    stored(first, Receive(1.0, 1, Append(5, 0, 0, 6, entries(5, 1, 9))))
    effects = first.handle(Compact(2.0, 4, {"up to": 4}))
    assert effects.checkpoint
    (record,) = effects.records
    assert isinstance(record, Saved)
    assert (record.snapshot.index, record.term, len(record.entries), record.commit) == (4, 5, 5, 6)
    second = Raft(Setting(3, (1, 2, 3), Random(3)))
    restored = second.handle(Restore(3.0, effects.records))
    assert restored.installed is not None
    assert (restored.installed.slot, restored.installed.state) == (4, {"up to": 4})
    assert [one.slot for one in restored.decided] == [5, 6]
    assert second.node.log.entries == first.node.log.entries


def test_a_replica_that_lags_gets_a_snapshot_and_says_so_when_it_is_stored() -> None:
    raft = leader(trailing=0)
    stored(raft, Propose(2.0, ("a",)), Receive(2.0, 2, AppendReply(1, 2)))
    stored(raft, Compact(2.0, 2, "two"))
    effects = raft.handle(Receive(3.0, 3, HeartbeatReply(1)))
    (message,) = [one for one in sent(effects) if isinstance(one, InstallSnapshot)]
    late = replica()
    taken = late.handle(Receive(4.0, 1, message))
    assert taken.installed is not None
    assert (taken.installed.slot, taken.installed.state) == (2, "two")
    assert taken.checkpoint
    assert taken.sends == [(1, AppendReply(1, 2), taken.token)]
    assert late.handle(Receive(5.0, 1, message)).installed is None, "it is taken once"


def test_a_snapshot_from_before_a_follower_was_added_is_taken_over_and_what_adds_it_comes_next() -> None:
    late = replica(3)
    older = InstallSnapshot(2, Snapshot(4, 1, Members((1, 2)), "four"))
    effects = stored(late, Receive(1.0, 1, older))[0]
    assert effects.installed is not None
    assert sent(effects) == [AppendReply(2, 4)]
    added = Append(2, 4, 1, 5, (Entry(2, 5, (), change_from("v3")),))
    stored(late, Receive(2.0, 1, added))
    assert late.configuration == (5, Members((1, 2, 3)))


def test_a_snapshot_that_was_lost_is_sent_again() -> None:
    raft = leader(trailing=0, election_s=10.0, heartbeat_s=1.0)
    stored(raft, Propose(2.0, ("a",)), Receive(2.0, 2, AppendReply(1, 2)), Compact(2.0, 2, "two"))
    assert len(sent(raft.handle(Receive(3.0, 3, HeartbeatReply(1))))) == 1
    assert raft.handle(Receive(4.0, 3, HeartbeatReply(1))).sends == []
    later = raft.handle(Receive(23.0, 3, HeartbeatReply(1)))
    assert [type(message) for message in sent(later)] == [InstallSnapshot]


def test_a_journal_with_a_gap_is_refused_with_the_mend() -> None:
    raft = Raft(Setting(3, (1, 2, 3), Random(3)))
    with pytest.raises(ConfigurationError, match="start this replica anew"):
        raft.handle(Restore(0.0, [Appended(entries(1, 5, 6), 0)]))


# --- Members ----------------------------------------------------------------------------------------------------


def test_members_change_by_the_log_on_every_replica() -> None:
    world = World(RAFT, 5, delay_s=0.01)
    simulation = Simulation(world, 3)
    simulation.run(until_s=1.0)
    leads = simulation.leader()
    assert leads is not None
    gone = [node.id for node in simulation.nodes if node is not leads][:2]
    change = change_from(f"l{gone[0]} r{gone[1]}")
    simulation.tell(leads, lambda now: ChangeMembers(now, change))
    simulation.run(until_s=2.0)
    stay = tuple(node.id for node in simulation.nodes if node.id not in gone)
    for node in simulation.nodes:
        if node.id != gone[1]:
            assert isinstance(node.protocol, Raft)
            assert node.protocol.node.members == Members(stay, (), (gone[0],))


def test_a_leader_that_is_removed_steps_down_and_the_others_elect_another() -> None:
    simulation = Simulation(World(RAFT, 4, delay_s=0.01), 3)
    simulation.run(until_s=1.0)
    first = simulation.leader()
    assert first is not None
    simulation.tell(first, lambda now: ChangeMembers(now, change_from(f"r{first.id}")))
    simulation.run(until_s=3.0)
    second = simulation.leader()
    assert second is not None
    assert second is not first
    simulation.propose(second, (("a", 1),))
    before = simulation.commands
    simulation.run(until_s=4.0)
    assert simulation.commands == before + 1


def test_members_may_begin_as_learners() -> None:
    simulation = Simulation(World(RAFT, 3, delay_s=0.01, options={"learners": (3,)}), 1)
    simulation.run(until_s=1.0)
    assert all(
        node.protocol.node.members == Members((1, 2), (), (3,))  # type: ignore[union-attr]  # all live
        for node in simulation.nodes
    )


def test_what_a_change_of_members_lets_commit_is_decided_at_once() -> None:
    raft = replica(1, (1, 2), pre_vote=False)
    stored(raft, Instruct(1.0, Campaign()), Receive(1.0, 2, VoteReply(1)), Receive(1.0, 2, AppendReply(1, 1)))
    stored(raft, ChangeMembers(2.0, change_from("r2")), Propose(2.0, ("alone",)))
    effects = raft.handle(Receive(3.0, 2, AppendReply(1, 2)))
    assert effects.decided == [Decided(2, (), 1), Decided(3, ("alone",), 1)]


def test_a_change_may_not_be_made_while_another_is_not_applied() -> None:
    raft = leader()
    stored(raft, ChangeMembers(2.0, MembershipChange((("v", 4),))))
    refused = raft.handle(ChangeMembers(2.0, MembershipChange((("v", 5),))))
    assert [record.entries[0].change for record in refused.records] == [None]
