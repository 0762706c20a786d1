"""Replication: a leader feeds its followers and commits what enough of them have; a follower takes what fits its log.

Rules:
* A leader only appends to its log. An entry commits when a majority (while joint, one in each half) has stored it and
  it is of the leader's own term; entries of earlier terms commit with it, never by counting (figure 8 of Ongaro 2014).
* A follower commits up to min(the leader's commit index, the last entry *of this message*): what it holds beyond that
  is not yet known to agree.
* A new commit index is told at once (`eager_commit`), or rides on the next entry or heartbeat.
* A rejection carries the last place that may agree, so that a leader probes at most once for each term.

Source: Ongaro 2014, section 3.5, figure 3.1, and chapter 4; flow control of etcd-io/raft.
"""

from coordination.raft.membership import InvalidChange, Members, MembershipChange
from coordination.raft.messages import Append, AppendReply, Entry, InstallSnapshot, TimeoutNow
from coordination.raft.node import DEBUG, INFO, WARN, Node, Role
from coordination.raft.progress import PROBE, REPLICATE, SNAPSHOT, Progress

# --- The leader speaks ------------------------------------------------------------------------------------------


def send_append(node: Node, to: int, progress: Progress, if_empty: bool) -> bool:
    """Sends a follower what it lacks, as far as flow control lets; with nothing to send only `if_empty`.

    Returns whether a message was sent.
    """
    if progress.paused or progress.state is SNAPSHOT:
        return False
    log = node.log
    previous = progress.next - 1
    last = log.last
    term = log.term_at(previous)
    if term is None:
        return send_snapshot(node, to, progress)
    entries: tuple[Entry, ...] = ()
    if previous < last and (
        progress.state is not REPLICATE or len(progress.inflight) < progress.most_inflight
    ):
        entries = _batch(node, previous + 1, last)
    if not entries and not if_empty:
        return False
    commit = log.committed
    node.messages.append((to, Append(node.term, previous, term, commit, entries), 0))
    progress.sent(len(entries), commit)
    return True


def _batch(node: Node, low: int, high: int) -> tuple[Entry, ...]:
    most = node.options.most_commands
    entries = node.log.slice(low, min(high, low + most - 1))
    if len(entries) == 1:
        return entries
    room = most
    for position, entry in enumerate(entries):
        room -= len(entry.commands) or 1
        if room < 0 and position:
            return entries[:position]
    return entries


def broadcast_append(node: Node) -> None:
    """Sends every follower what it lacks; at least the commit index."""
    for to, progress in node.peers:
        send_append(node, to, progress, True)


def send_snapshot(node: Node, to: int, progress: Progress) -> bool:
    """Sends the latest snapshot to a follower whose next entries are gone. False if it seems dead."""
    if not progress.active:
        if node.say:
            node.say(DEBUG, f"ignore sending snapshot to {to:x} since it is not recently active")
        return False
    log = node.log
    snapshot = log.incoming or log.snapshot
    if snapshot is None:
        return False
    if node.say:
        node.say(
            DEBUG,
            f"{node.id:x} [firstindex: {log.base + 1}, commit: {log.committed}] sent "
            f"snapshot[index: {snapshot.index}, term: {snapshot.term}] to {to:x} [{progress}]",
        )
    progress.become_snapshot(snapshot.index, node.now)
    if node.say:
        node.say(DEBUG, f"{node.id:x} paused sending replication messages to {to:x} [{progress}]")
    node.send(to, InstallSnapshot(node.term, snapshot))
    return True


# --- The leader hears -------------------------------------------------------------------------------------------


def on_append_reply(node: Node, source: int, message: AppendReply) -> None:
    """A leader hears how far a follower's log agrees, or its own is stored."""
    progress = node.progress.get(source)
    if progress is None:
        if node.say:
            node.say(DEBUG, f"{node.id:x} no progress available for {source:x}")
        return
    progress.active = True
    if message.rejected:
        _rejected(node, source, progress, message)
        return
    index = message.index
    if index > node.log.last:
        return  # no correct follower agrees with what does not exist
    state = progress.state
    if not progress.acknowledge(index) and not (progress.match == index and state is PROBE):
        return
    if state is REPLICATE:
        inflight = progress.inflight
        while inflight and inflight[0] <= index:
            inflight.popleft()
    elif state is PROBE:
        progress.become_replicate()
    elif progress.match >= node.log.base:
        if node.say:
            node.say(
                DEBUG,
                f"{node.id:x} recovered from needing snapshot, resumed sending replication messages to "
                f"{source:x} [{progress}]",
            )
        progress.become_probe()
        progress.become_replicate()
    committed = index > node.log.committed and advance_commit(node)
    if committed and node.options.eager_commit:
        broadcast_append(node)
    if source == node.id:
        return
    if not committed and node.options.eager_commit and progress.can_bump_commit(node.log.committed):
        send_append(node, source, progress, True)
    while progress.next <= node.log.last and send_append(node, source, progress, False):
        pass
    if source == node.transferee and progress.match == node.log.last:
        if node.say:
            node.say(INFO, f"{node.id:x} sent MsgTimeoutNow to {source:x} after received MsgAppResp")
        node.send(source, TimeoutNow(node.term))


def _rejected(node: Node, source: int, progress: Progress, message: AppendReply) -> None:
    if node.say:
        node.say(
            DEBUG,
            f"{node.id:x} received MsgAppResp(rejected, hint: (index {message.hint}, term {message.log_term})) "
            f"from {source:x} for index {message.index}",
        )
    hint = message.hint
    if message.log_term > 0:
        # Entries of later terms than the follower has at the hint cannot agree: skip them in one step.
        hint, _ = node.log.conflict_by_term(hint, message.log_term)
    if progress.back_off(message.index, hint):
        if node.say:
            node.say(DEBUG, f"{node.id:x} decreased progress of {source:x} to [{progress}]")
        if progress.state is REPLICATE:
            progress.become_probe()
        send_append(node, source, progress, True)


def advance_commit(node: Node) -> bool:
    """Commits what a majority, or two while joint, has stored, if it is of this leader's term (section 3.6.2)."""
    index = _reached(node.voters)
    if node.outgoing:
        index = min(index, _reached(node.outgoing))
    log = node.log
    if index > log.committed and log.term_at(index) == node.term:
        log.committed = index
        return True
    return False


def _reached(voters: list[Progress]) -> int:
    # As `coordination.quorum.majority`, without building a mapping: this is the hottest path there is.
    matches = sorted([one.match for one in voters])
    return matches[(len(matches) - 1) // 2]


def report_unreachable(node: Node, peer: int) -> None:
    """A leader is told that messages to a follower are being lost: those under way may be, too."""
    progress = node.progress.get(peer)
    if node.role is not Role.LEADER or progress is None:
        return
    if progress.state is REPLICATE:
        progress.become_probe()
    if node.say:
        node.say(
            DEBUG,
            f"{node.id:x} failed to send message to {peer:x} because it is unreachable [{progress}]",
        )


# --- The follower hears -----------------------------------------------------------------------------------------


def on_append(node: Node, source: int, message: Append) -> None:
    """A follower hears its leader's entries."""
    log = node.log
    if message.index < log.committed:
        node.after.append((source, AppendReply(node.term, log.committed)))
        return
    entries = message.entries
    if log.try_append(message.index, message.log_term, entries):
        if log.cut_at and node.say:
            _tell_cut(node, entries)
        last = message.index + len(entries)
        commit = message.commit
        if commit > log.committed:
            log.committed = max(log.committed, min(commit, last))
        node.after.append((source, AppendReply(node.term, last)))
        return
    if node.say:
        here = log.term_at(message.index) or 0
        node.say(
            DEBUG,
            f"{node.id:x} [logterm: {here}, index: {message.index}] rejected MsgApp "
            f"[logterm: {message.log_term}, index: {message.index}] from {source:x}",
        )
    hint, term = log.conflict_by_term(min(message.index, log.last), message.log_term)
    node.after.append((source, AppendReply(node.term, message.index, True, hint, term)))


def _tell_cut(node: Node, entries: tuple[Entry, ...]) -> None:
    assert node.say is not None
    cut = node.log.cut_at
    new = entries[cut - entries[0].index].term
    node.say(
        INFO,
        f"found conflict at index {cut} [existing term: {node.log.cut_term}, conflicting term: {new}]",
    )
    replaced = cut <= node.log.cut_stable
    node.say(
        INFO,
        f"replace the unstable entries from index {cut}"
        if replaced
        else f"truncate the unstable entries before index {cut}",
    )


# --- Members ----------------------------------------------------------------------------------------------------


def apply_change(node: Node, change: MembershipChange) -> None:
    """Applies a change of members that is committed. One that does not fit changes nothing."""
    try:
        members = node.members.changed(change)
    except InvalidChange as error:
        if node.say:
            node.say(WARN, f"{node.id:x} cannot apply conf change {change}: {error}")
        return
    switch_members(node, members)


def switch_members(node: Node, members: Members) -> None:
    """Takes on a configuration; a leader feeds those who join, and commits what now can be."""
    node.members = members
    learners = {*members.learners}
    progress = {}
    for member in members.everybody:
        found = node.progress.get(member)
        if found is None:
            found = Progress(max(node.log.last, 1), node.options.most_inflight)
            # Who was just added is not yet silent: else a leader might step down before it can speak.
            found.active = True
        found.learner = member in learners
        progress[member] = found
    node.progress = progress
    node.index_progress()
    if node.say:
        node.say(INFO, f"{node.id:x} switched to configuration {members}")
    if node.role is not Role.LEADER:
        return
    if not node.promotable:
        if node.options.step_down_on_removal:
            node.become_follower(node.term, 0)
        return
    if advance_commit(node):
        broadcast_append(node)
    else:
        for to, peer in node.peers:
            send_append(node, to, peer, False)
    if node.transferee and node.transferee not in members.all_voters:
        node.transferee = 0
