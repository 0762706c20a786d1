"""One step of a replica: a message, a tick of the clock, or a client's wish, given to the part that it concerns.

Rules:
* A message of a later term makes a follower of whoever hears it, except a pre-vote, which starts no term.
* A message of an earlier term is answered only where its sender would else never learn of the present one.
* What does not fit the role is dropped: a protocol never raises for what came over the network.

Source: Ongaro 2014, figure 3.1 ("rules for servers"); etcd-io/raft, `Step`.
"""

from collections.abc import Callable
from typing import Any

from coordination.protocol import Command
from coordination.raft import election, reading, replication, snapshot
from coordination.raft.membership import InvalidChange, MembershipChange
from coordination.raft.messages import (
    Append,
    AppendReply,
    Entry,
    Forward,
    Heartbeat,
    HeartbeatReply,
    InstallSnapshot,
    ReadReply,
    ReadRequest,
    TimeoutNow,
    TransferRequest,
    VoteReply,
    VoteRequest,
)
from coordination.raft.node import DEBUG, INFO, Node, Role

NAMES: dict[type[Any], str] = {
    Append: "MsgApp",
    AppendReply: "MsgAppResp",
    Heartbeat: "MsgHeartbeat",
    HeartbeatReply: "MsgHeartbeatResp",
    InstallSnapshot: "MsgSnap",
    TimeoutNow: "MsgTimeoutNow",
    Forward: "MsgProp",
    ReadRequest: "MsgReadIndex",
    ReadReply: "MsgReadIndexResp",
    TransferRequest: "MsgTransferLeader",
}
"""etcd's names of the messages; those of votes depend on `pre`."""


def name_of(message: Any) -> str:
    """etcd's name of a message."""
    if isinstance(message, VoteRequest):
        return "MsgPreVote" if message.pre else "MsgVote"
    if isinstance(message, VoteReply):
        return "MsgPreVoteResp" if message.pre else "MsgVoteResp"
    return NAMES[type(message)]


# --- Messages ---------------------------------------------------------------------------------------------------


def step(node: Node, source: int, message: Any) -> None:
    """Hears a message."""
    kind = type(message)
    # The two that carry the load first, without detours; all else through the table.
    if kind is AppendReply and message.term == node.term:
        if node.role is Role.LEADER:
            replication.on_append_reply(node, source, message)
            if node.early_reads and node.committed_in_term():
                reading.release_early_reads(node)
        return
    if kind is Append and message.term == node.term and node.role is Role.FOLLOWER:
        node.election_start = node.now
        node.leader = source
        replication.on_append(node, source, message)
        return
    handler = _HANDLERS.get(kind)
    if handler is None:
        return
    if kind is not Forward and kind is not ReadRequest:
        term = message.term
        if term != node.term and not (
            _later(node, source, message) if term > node.term else _earlier(node, source, message)
        ):
            return
    handler(node, source, message)


def _later(node: Node, source: int, message: Any) -> bool:
    kind = type(message)
    if kind is VoteRequest and election.lease_holds(node, source, message):
        return False
    if (kind is VoteRequest and message.pre) or (kind is VoteReply and message.pre and not message.rejected):
        return True
    if node.say:
        node.say(
            INFO,
            f"{node.id:x} [term: {node.term}] received a {name_of(message)} message with higher term from "
            f"{source:x} [term: {message.term}]",
        )
    leads = kind is Append or kind is Heartbeat or kind is InstallSnapshot
    node.become_follower(message.term, source if leads else 0)
    return True


def _earlier(node: Node, source: int, message: Any) -> bool:
    kind = type(message)
    options = node.options
    if (options.check_quorum or options.pre_vote) and (kind is Heartbeat or kind is Append):
        election.answer_old_leader(node, source)
    elif kind is VoteRequest and message.pre:
        election.reject_old_pre_vote(node, source, message)
    elif node.say:
        node.say(
            INFO,
            f"{node.id:x} [term: {node.term}] ignored a {name_of(message)} message with lower term from "
            f"{source:x} [term: {message.term}]",
        )
    return False


def _from_leader(hear: Callable[[Node, int, Any], None]) -> Callable[[Node, int, Any], None]:
    """For what only a leader of the present term says: a candidate gives way to it."""

    def handler(node: Node, source: int, message: Any) -> None:
        if node.role is Role.FOLLOWER:
            node.election_start = node.now
            node.leader = source
        elif node.role is Role.LEADER:
            return
        else:
            node.become_follower(message.term, source)
        hear(node, source, message)

    return handler


def _append(node: Node, source: int, message: Append) -> None:
    replication.on_append(node, source, message)


def _old_append_reply(node: Node, source: int, message: AppendReply) -> None:
    """Of a term that has just begun here: its sender is no follower of this replica."""


def _heartbeat_reply(node: Node, source: int, message: HeartbeatReply) -> None:
    if node.role is Role.LEADER:
        reading.on_heartbeat_reply(node, source, message)


def _vote_reply(node: Node, source: int, message: VoteReply) -> None:
    if node.role is Role.CANDIDATE or node.role is Role.PRE_CANDIDATE:
        election.on_vote_reply(node, source, message)


def _timeout_now(node: Node, source: int, message: TimeoutNow) -> None:
    if node.role is Role.FOLLOWER:
        if node.say:
            node.say(
                INFO,
                f"{node.id:x} [term {node.term}] received MsgTimeoutNow from {source:x} and starts an "
                "election to get leadership.",
            )
        election.hup(node, transfer=True)
    elif node.role is not Role.LEADER and node.say:
        node.say(
            DEBUG,
            f"{node.id:x} [term {node.term} state {node.role.value}] ignored MsgTimeoutNow from {source:x}",
        )


def _forward(node: Node, source: int, message: Forward) -> None:
    propose(node, message.commands, message.change)


def _read_request(node: Node, source: int, message: ReadRequest) -> None:
    reading.read(node, source, message.context)


def _read_reply(node: Node, source: int, message: ReadReply) -> None:
    if node.role is Role.FOLLOWER:
        node.read_states.append((message.index, message.context))


def _transfer_request(node: Node, source: int, message: TransferRequest) -> None:
    transfer(node, message.to)


_HANDLERS: dict[type[Any], Callable[[Node, int, Any], None]] = {
    Append: _from_leader(_append),
    AppendReply: _old_append_reply,
    Heartbeat: _from_leader(reading.on_heartbeat),
    HeartbeatReply: _heartbeat_reply,
    VoteRequest: election.on_vote_request,
    VoteReply: _vote_reply,
    InstallSnapshot: _from_leader(snapshot.on_snapshot),
    TimeoutNow: _timeout_now,
    Forward: _forward,
    ReadRequest: _read_request,
    ReadReply: _read_reply,
    TransferRequest: _transfer_request,
}

# --- Clients ----------------------------------------------------------------------------------------------------


def propose(node: Node, commands: tuple[Command, ...], change: MembershipChange | None = None) -> bool:
    """A client's commands, or a change of members. False if they were dropped: they will not be decided.

    A follower sends them on to its leader: whether they are decided is then not known.
    """
    if node.role is not Role.LEADER:
        return _propose_elsewhere(node, commands, change)
    log = node.log
    if node.id not in node.progress or log.last - log.committed >= node.options.most_uncommitted:
        return False
    if node.transferee:
        if node.say:
            node.say(
                DEBUG,
                f"{node.id:x} [term {node.term}] transfer leadership to {node.transferee:x} is in progress; "
                "dropping proposal",
            )
        return False
    if change is not None:
        change = _admitted(node, change)
    node.append_own((Entry(node.term, log.last + 1, commands, change),))
    replication.broadcast_append(node)
    return True


def _propose_elsewhere(node: Node, commands: tuple[Command, ...], change: MembershipChange | None) -> bool:
    if node.role is not Role.FOLLOWER or not node.leader:
        if node.say:
            node.say(INFO, f"{node.id:x} no leader at term {node.term}; dropping proposal")
        return False
    if not node.options.forward:
        if node.say:
            node.say(
                INFO,
                f"{node.id:x} not forwarding to leader {node.leader:x} at term {node.term}; dropping proposal",
            )
        return False
    node.send(node.leader, Forward(commands, change))
    return True


def _admitted(node: Node, change: MembershipChange) -> MembershipChange | None:
    """The change, if it may be made now; else nothing: an empty entry stands in its place."""
    applied = node.log.applied
    if node.pending_change > applied:
        why = f"possible unapplied conf change at index {node.pending_change} (applied to {applied})"
    elif node.members.joint and change.changes:
        why = "must transition out of joint config first"
    elif not node.members.joint and not change.changes:
        why = "not in joint state; refusing empty conf change"
    else:
        why = _misfit(node, change)
    if why and node.options.check_changes:
        if node.say:
            node.say(
                INFO, f"{node.id:x} ignoring conf change {described(change)} at config {node.members}: {why}"
            )
        return None
    node.pending_change = node.log.last + 1
    return change


def _misfit(node: Node, change: MembershipChange) -> str:
    try:
        node.members.changed(change)
    except InvalidChange as error:
        return str(error)
    return ""


_KINDS = {
    "v": "ConfChangeAddNode",
    "l": "ConfChangeAddLearnerNode",
    "r": "ConfChangeRemoveNode",
    "u": "ConfChangeUpdateNode",
}
_TRANSITIONS = {
    "auto": "ConfChangeTransitionAuto",
    "implicit": "ConfChangeTransitionJointImplicit",
    "explicit": "ConfChangeTransitionJointExplicit",
}


def described(change: MembershipChange) -> str:
    """A change in the words of etcd's log lines."""
    if change.single:
        (letter, member) = change.changes[0]
        return f"{{{_KINDS[letter]} {member} [] 0}}"
    changes = " ".join(f"{{{_KINDS[letter]} {member}}}" for letter, member in change.changes)
    return f"{{{_TRANSITIONS[change.transition]} [{changes}] []}}"


def transfer(node: Node, to: int) -> None:
    """Somebody wants leadership handed to a voter."""
    if node.role is Role.LEADER:
        election.transfer_leadership(node, to)
    elif node.role is Role.FOLLOWER:
        if node.leader:
            node.send(node.leader, TransferRequest(node.term, to))
        elif node.say:
            node.say(INFO, f"{node.id:x} no leader at term {node.term}; dropping leader transfer msg")


# --- Time and the state machine ---------------------------------------------------------------------------------


def tick(node: Node) -> None:
    """Time has passed."""
    # A driver that turns deadlines into true time and back may be late by a rounding error, and so early.
    now = node.now + 1e-12 * abs(node.now)
    options = node.options
    if node.role is not Role.LEADER:
        if node.promotable and now >= node.election_start + node.election_timeout:
            node.election_start = node.now
            election.hup(node)
        return
    if now >= node.election_start + options.election_s:
        node.election_start = node.now
        if options.check_quorum:
            election.check_quorum(node)
        # Who could not take over within an election timeout is not waited for.
        node.transferee = 0
    if node.role is Role.LEADER and now >= node.heartbeat_start + options.heartbeat_s:
        node.heartbeat_start = node.now
        reading.broadcast_heartbeat(node)


def applied_to(node: Node, index: int) -> None:
    """All entries up to index are applied: a leader may leave a joint configuration that is to be left by itself."""
    log = node.log
    log.applied = max(log.applied, index)
    log.applying = max(log.applying, index)
    if node.members.autoleave and log.applied >= node.pending_change and node.role is Role.LEADER:
        members = node.members
        if propose(node, (), MembershipChange()):
            if node.say:
                node.say(INFO, f"initiating automatic transition out of joint configuration {members}")
        elif node.say:
            node.say(
                DEBUG,
                f"not initiating automatic transition out of joint configuration {members}: "
                "raft proposal dropped",
            )
