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
    Decided,
    Instruct,
    Persisted,
    Propose,
    Receive,
    Rejected,
    Restore,
    Setting,
)
from coordination.quorum import majority
from coordination.raft.log import Log
from coordination.raft.membership import Members, change_from
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
    Voted,
    VoteReply,
    VoteRequest,
)
from coordination.raft.progress import Progress
from coordination.raft.raft import RAFT, Raft
from coordination.raft.replication import _reached
from coordination.simulation.simulation import Simulation, World
from tests.coordination.raft.one import entries, leader, replica, sent, stored

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
