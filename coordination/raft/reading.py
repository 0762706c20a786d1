"""Reads that are linearizable without an entry in the log.

Rules:
* A read at a leader waits for the commit index as it was when the read came, and that index is known only once an entry
  of the leader's own term is committed (Ongaro 2014, section 6.4).
* Safe: the leader proves that it still leads by a numbered round of heartbeats that a quorum answers. One round serves
  all reads before it; one that is lost is repeated by the next heartbeat.
* By lease (option): no round while the leader's lease lasts. The lease begins when the heartbeat *left* that a quorum
  answered, and ends before any of them may vote (section 6.4.1). It needs clocks whose rates differ by less than the
  share left over, ends with a transfer of leadership, and a replica that restarts votes for nobody for as long.
"""

from typing import Any

from coordination.quorum import VoteResult
from coordination.raft.messages import Heartbeat, HeartbeatReply, ReadReply, ReadRequest
from coordination.raft.node import INFO, Node, Role
from coordination.raft.progress import PROBE, SNAPSHOT, Progress
from coordination.raft.replication import send_append

MOST_ROUNDS = 100
"""Heartbeat rounds whose time of sending a leader remembers for its lease."""


def broadcast_heartbeat(node: Node) -> None:
    """Tells every follower that the leader lives, and the commit index as far as its log is known to agree."""
    if node.options.lease_reads:
        node.round += 1
        node.round_times.append((node.round, node.now))
        if len(node.round_times) > MOST_ROUNDS:
            node.round_times.popleft()
        number = node.round
    else:
        number = node.waiting_reads[-1][0] if node.waiting_reads else 0
    for to, progress in node.peers:
        commit = min(progress.match, node.log.committed)
        node.send(to, Heartbeat(node.term, commit, number))
        progress.sent_commit = commit


def on_heartbeat(node: Node, source: int, message: Heartbeat) -> None:
    """A follower hears its leader."""
    log = node.log
    if message.commit > log.committed:
        log.committed = min(message.commit, log.last)
    node.send(source, HeartbeatReply(node.term, message.round))


def on_heartbeat_reply(node: Node, source: int, message: HeartbeatReply) -> None:
    """A leader hears that a follower lives: time to try again what may have been lost."""
    progress = node.progress.get(source)
    if progress is None:
        return
    progress.active = True
    progress.paused = False
    _retry_snapshot(node, progress)
    if progress.match < node.log.last or progress.state is PROBE:
        send_append(node, source, progress, True)
    if message.round > progress.acked_round:
        progress.acked_round = min(message.round, node.round)
        _count_round(node)


def _retry_snapshot(node: Node, progress: Progress) -> None:
    if progress.state is SNAPSHOT and node.now >= progress.snapshot_at + node.options.snapshot_retry_s:
        progress.pending_snapshot = 0
        progress.become_probe()


def read(node: Node, source: int, context: Any) -> None:
    """Somebody wants to read: a client here (`source` is this replica's id), or a follower."""
    if node.role is Role.FOLLOWER:
        if not node.leader:
            if node.say:
                node.say(INFO, f"{node.id:x} no leader at term {node.term}; dropping index reading msg")
        elif source == node.id:
            node.send(node.leader, ReadRequest(context))
        return
    if node.role is not Role.LEADER:
        return
    if not node.committed_in_term():
        if len(node.early_reads) < node.options.most_reads:
            node.early_reads.append((source, context))
        return
    _read_committed(node, source, context)


def release_early_reads(node: Node) -> None:
    """The leader has committed an entry of its own term: the reads that waited for that go on."""
    reads, node.early_reads = node.early_reads, []
    for source, context in reads:
        _read_committed(node, source, context)


def _read_committed(node: Node, source: int, context: Any) -> None:
    commit = node.log.committed
    alone = node.members.quorum.vote_result({node.id: True}) is VoteResult.WON
    if alone or (node.options.lease_reads and node.now < node.lease_until):
        _answer(node, source, commit, context)
        return
    if len(node.waiting_reads) >= node.options.most_reads:
        return
    node.round += 1
    node.waiting_reads.append((node.round, commit, source, context))
    number = node.round
    if node.options.lease_reads:
        node.round_times.append((number, node.now))
        if len(node.round_times) > MOST_ROUNDS:
            node.round_times.popleft()
    for to, progress in node.peers:
        index = min(progress.match, commit)
        node.send(to, Heartbeat(node.term, index, number))
        progress.sent_commit = index


def _count_round(node: Node) -> None:
    acked = {member: progress.acked_round for member, progress in node.peers}
    acked[node.id] = node.round
    reached = node.members.quorum.committed(acked)
    waiting = node.waiting_reads
    while waiting and waiting[0][0] <= reached:
        _, index, source, context = waiting.popleft()
        _answer(node, source, index, context)
    times = node.round_times
    while times and times[0][0] <= reached:
        _, sent = times.popleft()
        if node.lease_allowed:
            node.lease_until = sent + node.options.lease_share * node.options.election_s


def _answer(node: Node, source: int, index: int, context: Any) -> None:
    if source == node.id:
        node.read_states.append((index, context))
    else:
        node.send(source, ReadReply(node.term, index, context))
