"""Snapshots: a state in place of the entries that led to it, for a follower that lags too far behind.

Rules:
* A leader sends one when the entries that a follower needs are gone, and then nothing until it is answered.
* A follower takes it over only if it is ahead of its commit index, and its log does not hold the snapshot's last entry;
  else that entry is committed already, and its log may go on.
* It takes over also one whose members it is not yet among: the entry that adds it comes next. Were that refused, a
  leader that cannot commit without it could never make a later snapshot.
* It is acknowledged only when it is stored.

Source: Ongaro 2014, chapter 5 (figure 5.3); etcd-io/raft.
"""

from coordination.raft.membership import Members
from coordination.raft.messages import AppendReply, InstallSnapshot, Snapshot
from coordination.raft.node import DEBUG, INFO, WARN, Node, Role
from coordination.raft.progress import SNAPSHOT
from coordination.raft.replication import switch_members


def on_snapshot(node: Node, source: int, message: InstallSnapshot) -> None:
    """A follower hears its leader's snapshot."""
    snapshot = message.snapshot
    text = f"snapshot [index: {snapshot.index}, term: {snapshot.term}]"
    if _take_over(node, snapshot):
        if node.say:
            node.say(INFO, f"{node.id:x} [commit: {node.log.committed}] restored {text}")
        node.send_after(source, AppendReply(node.term, node.log.last))
    else:
        if node.say:
            node.say(INFO, f"{node.id:x} [commit: {node.log.committed}] ignored {text}")
        node.send_after(source, AppendReply(node.term, node.log.committed))


def _take_over(node: Node, snapshot: Snapshot) -> bool:
    log = node.log
    if snapshot.index <= log.committed or node.role is not Role.FOLLOWER:
        return False
    text = f"snapshot [index: {snapshot.index}, term: {snapshot.term}]"
    if node.options.snapshots_name_us and node.id not in snapshot.members.everybody:
        if node.say:
            node.say(
                WARN,
                f"{node.id:x} attempted to restore snapshot but it is not in the ConfState "
                f"{_listed(snapshot.members)}; should never happen",
            )
        return False
    if log.term_at(snapshot.index) == snapshot.term:
        if node.say:
            node.say(
                INFO,
                f"{node.id:x} [commit: {log.committed}, lastindex: {log.last}, lastterm: {log.last_term}] "
                f"fast-forwarded commit to {text}",
            )
        log.committed = snapshot.index
        return False
    if node.say:
        unstable = max(0, log.last + 1 - log.stable)
        node.say(
            INFO,
            f"log [committed={log.committed}, applied={log.applied}, applying={log.applying}, "
            f"unstable.offset={log.stable}, unstable.offsetInProgress={log.handed}, "
            f"len(unstable.Entries)={unstable}] starts to restore {text}",
        )
    log.receive(snapshot)
    node.progress = {}
    switch_members(node, snapshot.members)
    if node.say:
        node.say(
            INFO,
            f"{node.id:x} [commit: {log.committed}, lastindex: {log.last}, lastterm: {log.last_term}] "
            f"restored {text}",
        )
    return True


def _listed(members: Members) -> str:
    groups = (members.voters, members.learners, members.outgoing, members.learners_next)
    listed = " ".join("[" + " ".join(map(str, group)) + "]" for group in groups)
    return f"{{{listed} {'true' if members.autoleave else 'false'}}}"


def snapshot_reported(node: Node, peer: int, arrived: bool) -> None:
    """A leader is told what became of a snapshot that it sent."""
    progress = node.progress.get(peer)
    if node.role is not Role.LEADER or progress is None or progress.state is not SNAPSHOT:
        return
    if not arrived:
        progress.pending_snapshot = 0
    progress.become_probe()
    if node.say:
        outcome = "succeeded" if arrived else "failed"
        node.say(
            DEBUG,
            f"{node.id:x} snapshot {outcome}, resumed sending replication messages to {peer:x} [{progress}]",
        )
    # Wait for the follower's answer, or for a heartbeat's, before the next try.
    progress.paused = True
