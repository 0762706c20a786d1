"""Raft on the contract: what it writes and sends, and when."""

import math
from itertools import count
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.errors import ConfigurationError
from coordination.protocol import (
    ChangeMembers,
    Codec,
    Compact,
    Decided,
    Effects,
    Event,
    Instruct,
    Persisted,
    Propose,
    Read,
    ReadAt,
    Receive,
    Rejected,
    Restore,
    Setting,
    Tick,
)
from coordination.quorum import majority
from coordination.raft.log import Log
from coordination.raft.membership import Members, MembershipChange, change_from
from coordination.raft.messages import (
    Append,
    Appended,
    AppendReply,
    Campaign,
    Entry,
    Forward,
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
from coordination.raft.node import Role
from coordination.raft.progress import Progress
from coordination.raft.raft import RAFT, Raft
from coordination.raft.replication import _reached
from coordination.simulation.simulation import Simulation, World


def replica(id: int = 3, members: tuple[int, ...] = (1, 2, 3), **options: Any) -> Raft:
    raft = Raft(Setting(id, members, Random(id), options=options))
    raft.handle(Restore(0.0))
    return raft


def sent(effects: Effects) -> list[Any]:
    return [message for _, message, _ in effects.sends]


def stored(raft: Raft, *events: Event) -> list[Effects]:
    """What events cause, with records durable at once."""
    seen = []
    for event in events:
        seen.append(raft.handle(event))
        if seen[-1].token:
            seen += stored(raft, Persisted(event.now, seen[-1].token))
    return seen


def leader(**options: Any) -> Raft:
    """Replica 1 of three, elected for term 1; its first entry is stored and committed."""
    raft = replica(1, pre_vote=False, **options)
    stored(raft, Instruct(1.0, Campaign()), Receive(1.0, 2, VoteReply(1)))
    stored(raft, Receive(1.0, 2, AppendReply(1, 1)))
    assert raft.node.role is Role.LEADER
    assert raft.node.log.committed == 1
    return raft


def entries(term: int, first: int, last: int) -> tuple[Entry, ...]:
    return tuple(Entry(term, index, (f"{term}.{index}",)) for index in range(first, last + 1))


# --- A follower's log -------------------------------------------------------------------------------------------


def test_a_repeated_append_cuts_nothing_that_was_acknowledged() -> None:
    raft = replica()
    ten = entries(5, 1, 10)
    stored(raft, Receive(1.0, 1, Append(5, 0, 0, 0, ten)))
    for late in (ten[:3], (), ten[3:6]):
        index = late[0].index - 1 if late else 4
        effects = raft.handle(Receive(2.0, 1, Append(5, index, 5 if index else 0, 0, late)))
        assert raft.node.log.entries == list(ten)
        assert sent(effects) == [AppendReply(5, index + len(late))]
        assert effects.records == []


def test_a_true_conflict_cuts_from_where_it_is() -> None:
    raft = replica()
    stored(raft, Receive(1.0, 1, Append(5, 0, 0, 0, entries(5, 1, 10))))
    new = entries(6, 7, 8)
    effects = raft.handle(Receive(2.0, 2, Append(6, 6, 5, 0, new)))
    assert raft.node.log.entries == [*entries(5, 1, 6), *new]
    assert effects.records == [Voted(6, 0), Appended(new, 0)]


def test_nothing_is_cut_at_or_below_the_commit_index_whoever_asks() -> None:
    raft = replica()
    stored(raft, Receive(1.0, 1, Append(5, 0, 0, 8, entries(5, 1, 10))))
    raft.handle(Receive(2.0, 2, Append(6, 5, 5, 0, entries(6, 6, 7))))
    assert raft.node.log.entries == list(entries(5, 1, 10))


def test_a_follower_commits_no_further_than_the_message_reaches() -> None:
    raft = replica()
    stored(raft, Receive(1.0, 1, Append(5, 0, 0, 0, entries(5, 1, 7))))
    effects = raft.handle(Receive(2.0, 2, Append(6, 3, 5, 7)))
    assert [one.slot for one in effects.decided] == [1, 2, 3]


def test_votes_and_acknowledgements_wait_for_the_disk() -> None:
    raft = replica()
    vote = raft.handle(Receive(1.0, 1, VoteRequest(5, 0, 0)))
    assert vote.sends == [(1, VoteReply(5), vote.token)]
    assert vote.records == [Voted(5, 1)]
    append = raft.handle(Receive(1.0, 1, Append(5, 0, 0, 0, entries(5, 1, 2))))
    assert append.sends == [(1, AppendReply(5, 2), append.token)]
    again = raft.handle(Receive(1.0, 1, Append(5, 0, 0, 0, entries(5, 1, 2))))
    assert again.sends == [(1, AppendReply(5, 2), append.token)], "it says what is not stored yet"
    raft.handle(Persisted(2.0, append.token))
    last = raft.handle(Receive(2.0, 1, Append(5, 0, 0, 0, entries(5, 1, 2))))
    assert last.sends == [(1, AppendReply(5, 2), 0)]


@given(st.data())
def test_a_log_takes_what_a_plain_list_would(data: st.DataObject) -> None:
    """Against the rule as the paper states it, on lists of terms."""
    log, plain, committed = Log(), [], 0
    for _ in range(data.draw(st.integers(1, 8))):
        index = data.draw(st.integers(committed, len(plain) + 1))
        known = ([0, *plain])[index] if index <= len(plain) else None
        log_term = data.draw(st.sampled_from([known or 0, 1, 2]))
        terms = sorted(data.draw(st.lists(st.integers(max(log_term, 1), 4), max_size=4)))
        new = tuple(Entry(term, index + 1 + place) for place, term in enumerate(terms))
        fits = known == log_term
        if fits:
            for place, term in enumerate(terms):
                at = index + place
                if at < len(plain) and plain[at] != term:
                    if at < committed:
                        fits = False
                        break
                    del plain[at:]
                if at >= len(plain):
                    plain.append(term)
        assert log.try_append(index, log_term, new) == fits
        assert [entry.term for entry in log.entries] == plain
        assert (log.last, log.last_term) == (len(plain), plain[-1] if plain else 0)
        committed = log.committed = data.draw(st.integers(committed, len(plain)))


# --- A leader ---------------------------------------------------------------------------------------------------


def test_a_leader_counts_itself_only_when_its_entry_is_stored() -> None:
    raft = leader()
    proposed = raft.handle(Propose(2.0, ("a",)))
    assert all(token == 0 for _, _, token in proposed.sends), "appends do not wait"
    assert raft.handle(Receive(2.0, 2, AppendReply(1, 2))).decided == []
    committed = raft.handle(Persisted(2.0, proposed.token))
    assert committed.decided == [Decided(2, ("a",), 1)]


def test_a_commit_index_is_told_at_once_or_rides_on_the_next_entry() -> None:
    for eager in (True, False):
        raft = leader(eager_commit=eager)
        stored(raft, Receive(1.0, 3, AppendReply(1, 1)))
        stored(raft, Propose(2.0, ("a",)))
        effects = raft.handle(Receive(2.0, 2, AppendReply(1, 2)))
        assert effects.decided == [Decided(2, ("a",), 1)]
        assert sent(effects) == ([Append(1, 2, 1, 2)] * 2 if eager else [])
        following = raft.handle(Propose(2.0, ("b",)))
        assert sent(following) == [Append(1, 2, 1, 2, (Entry(1, 3, ("b",)),))] * 2


def test_commands_proposed_together_are_one_slot_up_to_the_batch() -> None:
    raft = Raft(Setting(1, (1,), Random(1), batch=4))
    raft.handle(Restore(0.0))
    stored(raft, Instruct(1.0, Campaign()))
    seen = stored(raft, Propose(2.0, tuple(range(10))))
    decided = [one.commands for effects in seen for one in effects.decided]
    assert decided == [(0, 1, 2, 3), (4, 5, 6, 7), (8, 9)]


def test_a_proposal_goes_to_the_leader_or_is_refused() -> None:
    raft = replica()
    nobody = raft.handle(Propose(1.0, ("a",)))
    assert nobody.rejected == [Rejected(("a",), None)]
    raft.handle(Receive(1.0, 1, Heartbeat(4, 0)))
    assert raft.handle(Propose(1.0, ("a",))).sends == [(1, Forward(("a",)), 0)]
    proud = replica(forward=False)
    proud.handle(Receive(1.0, 1, Heartbeat(4, 0)))
    assert proud.handle(Propose(1.0, ("a",))).rejected == [Rejected(("a",), 1)]


def test_what_is_not_committed_is_bounded() -> None:
    raft = leader(most_uncommitted=3)
    refused = [bool(raft.handle(Propose(2.0, (number,))).rejected) for number in range(5)]
    assert refused == [False] * 3 + [True] * 2


def test_a_slow_follower_gets_no_more_than_may_be_under_way_and_recovers() -> None:
    raft = leader(most_inflight=2)
    stored(raft, Receive(1.0, 3, AppendReply(1, 1)))
    for number in range(5):
        stored(raft, Propose(2.0, (number,)))
    progress = raft.node.progress[2]
    assert (progress.next, progress.full) == (4, True)
    effects = raft.handle(Receive(3.0, 2, AppendReply(1, 3)))
    again = [message for to, message, _ in effects.sends if to == 2 and message.entries]
    assert [one.index for message in again for one in message.entries] == [4, 5, 6]


def test_no_commit_waits_for_a_tick() -> None:
    world = World(RAFT, 3, delay_s=1.0, options={"heartbeat_s": 1e6, "election_s": 1e7})
    simulation = Simulation(world, 1)
    simulation.tell(simulation.nodes[0], lambda now: Instruct(now, Campaign()))
    simulation.run(until_s=10.0)
    simulation.propose(simulation.nodes[0], (("a", 1),))
    simulation.run(until_s=20.0)
    assert simulation.commands == 1


@pytest.mark.parametrize("n", [4, 5, 7, 16, 31])
@pytest.mark.parametrize(("eager", "rounds"), [(True, 4), (False, 2)])
def test_messages_and_delays_of_a_decision_are_as_stated(n: int, eager: bool, rounds: int) -> None:
    options = {"heartbeat_s": 1e6, "election_s": 1e7, "eager_commit": eager}
    simulation = Simulation(World(RAFT, n, delay_s=1.0, options=options), 1)
    first = simulation.nodes[0]
    simulation.tell(first, lambda now: Instruct(now, Campaign()))
    simulation.run(until_s=10.0)
    simulation.propose(first, (("warm", 1),))
    simulation.run(until_s=20.0)
    before, began, at = simulation.messages, simulation.now, math.inf
    times: list[float] = []
    simulation.watchers.append(
        lambda node, event, effects: (
            times.append(simulation.now) if effects.decided and (eager or node is first) else None
        )
    )
    simulation.propose(first, (("a", 1),))
    simulation.run(until_s=30.0)
    delay = simulation.world.network.latency.typical_s
    at = (times[0] - began) / delay
    assert simulation.messages - before == rounds * (n - 1)
    assert round(at, 6) == 2
    if eager:
        assert RAFT.costs is not None
        assert RAFT.costs.messages(n) == rounds * (n - 1)
        assert len(times) == n
        assert round((times[-1] - began) / delay, 6) == RAFT.costs.delays + RAFT.costs.told


@given(st.lists(st.integers(0, 20), min_size=1, max_size=9))
def test_the_fast_count_is_the_quorum_system_s(matches: list[int]) -> None:
    voters = [Progress(100, 1, match=match) for match in matches]
    ids = range(1, len(matches) + 1)
    assert _reached(voters) == majority(ids).committed(dict(zip(ids, matches, strict=True)))


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


# --- Settings and messages --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "mend"),
    [
        ({"heartbeat_s": 9.0, "election_s": 3.0}, "0 < heartbeat_s < election_s"),
        ({"lease_reads": True, "check_quorum": False}, "Set both, or neither"),
        ({"most_inflight": 0}, "Give 1 or more"),
        ({"colour": "red"}, "has no 'colour'"),
    ],
)
def test_settings_that_do_not_fit_are_refused(options: dict[str, Any], mend: str) -> None:
    with pytest.raises(ConfigurationError, match=mend):
        replica(**options)


def test_orders_and_changes_of_other_types_are_refused() -> None:
    raft = replica()
    with pytest.raises(ConfigurationError, match="is no order"):
        raft.handle(Instruct(1.0, "campaign"))
    with pytest.raises(ConfigurationError, match="is no change of members"):
        raft.handle(ChangeMembers(1.0, "v4"))
    with pytest.raises(ConfigurationError, match="Write v3"):
        change_from("w3")
    with pytest.raises(ConfigurationError, match="'v0' is no change"):
        change_from("v0")


def test_messages_and_records_survive_the_wire() -> None:
    codec = Codec(Raft)
    change = change_from("v3 l4", "explicit")
    snapshot = Saved(InstallSnapshot(1, _snapshot()).snapshot, 2, 3, entries(1, 5, 6), 5)
    for message in (
        Append(3, 2, 1, 2, (*entries(3, 3, 4), Entry(3, 5, (), change))),
        VoteRequest(3, 2, 1, True, True),
        InstallSnapshot(4, _snapshot()),
        snapshot,
        Forward(("a", 1), change),
    ):
        assert codec.decode(codec.encode(message)) == message


def _snapshot() -> Any:
    return Snapshot(4, 1, Members((1, 2), (2, 3), (4,), (3,), True), {"k": "v"})


def test_nothing_that_comes_over_the_network_raises() -> None:
    """Well-formed messages with any numbers, to replicas in any role."""
    rng = Random(7)
    numbers = count()
    for raft in (replica(), leader()):
        for _ in range(3000):
            number = [rng.randint(0, 12) for _ in range(6)]
            term = raft.node.term + rng.randint(-1, 1) * rng.randint(0, 1)
            made = entries(max(1, number[0]), number[1] + 1, number[1] + rng.randint(0, 3))
            message = rng.choice(
                (
                    Append(term, number[1], number[2], number[3], made),
                    AppendReply(term, number[1], rng.random() < 0.5, number[2], number[3]),
                    Heartbeat(term, number[1], number[2]),
                    HeartbeatReply(term, number[1]),
                    VoteRequest(term, number[1], number[2], rng.random() < 0.5),
                    VoteReply(term, rng.random() < 0.5, rng.random() < 0.5),
                    TimeoutNow(term),
                    Forward((next(numbers),)),
                )
            )
            stored(raft, Receive(1.0, rng.randint(1, 4), message))
