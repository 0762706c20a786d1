"""What Raft's replicas say to one another, and what they write down.

Rules:
* Indexes of the log start at 1, terms at 1, ids of replicas at 1; 0 stands for none.
* A message says neither whom it comes from nor whom it goes to: the channel does. Each carries its sender's term,
  but for what is forwarded to the leader, which belongs to no term.
* An entry is made once, by the leader, and shared by all that hold or send it: no copies.
* A record stands on its own in the journal: an `Appended` that begins at an index cuts what was at and after it.

Sources: Ongaro 2014 (figure 3.1 and chapters 3, 4, 6, 9); the names in quotes are those of etcd-io/raft's messages.
"""

from typing import Any, Literal

import msgspec

from coordination.protocol import Command, Wire
from coordination.raft.membership import Members, MembershipChange


class Entry(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """A place in the log: commands to apply in order, a change of members, or, with neither, nothing."""

    term: int
    index: int
    commands: tuple[Command, ...] = ()
    change: MembershipChange | None = None


class Snapshot(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """The state of the application with all entries up to `index` applied, in place of those entries."""

    index: int
    term: int
    members: Members
    state: Any = None


# --- Messages ---------------------------------------------------------------------------------------------------


class Append(Wire, frozen=True, gc=False):
    """Entries that follow (`index`, `term` there); none to tell a new commit index. "MsgApp"."""

    term: int
    index: int
    log_term: int
    commit: int
    entries: tuple[Entry, ...] = ()


class AppendReply(Wire, frozen=True, gc=False):
    """The follower's log agrees up to `index`; or it was rejected, and may agree at `hint`. "MsgAppResp"."""

    term: int
    index: int
    rejected: bool = False
    hint: int = 0
    log_term: int = 0


class Heartbeat(Wire, frozen=True, gc=False):
    """The leader lives. `round` numbers the heartbeats that reads wait for, 0 for the others. "MsgHeartbeat"."""

    term: int
    commit: int
    round: int = 0


class HeartbeatReply(Wire, frozen=True, gc=False):
    """The follower lives, and knows of no later term. "MsgHeartbeatResp"."""

    term: int
    round: int = 0


class VoteRequest(Wire, frozen=True, gc=False):
    """A candidate for `term`, whose log ends at (`index`, `log_term`). "MsgVote", or with `pre` "MsgPreVote"."""

    term: int
    index: int
    log_term: int
    pre: bool = False
    transfer: bool = False
    """The leader itself wants to be followed: do not wait for its lease to end."""


class VoteReply(Wire, frozen=True, gc=False):
    """A vote, or a refusal. "MsgVoteResp" or "MsgPreVoteResp"."""

    term: int
    pre: bool = False
    rejected: bool = False


class InstallSnapshot(Wire, frozen=True, gc=False):
    """The leader no longer has the entries that the follower lacks. "MsgSnap"."""

    term: int
    snapshot: Snapshot


class TimeoutNow(Wire, frozen=True, gc=False):
    """Campaign at once: the leader hands over. "MsgTimeoutNow"."""

    term: int


class Forward(Wire, frozen=True, gc=False):
    """Proposals for the leader, from a follower's clients: commands, or a change of members. "MsgProp"."""

    commands: tuple[Command, ...] = ()
    change: MembershipChange | None = None


class ReadRequest(Wire, frozen=True, gc=False):
    """A follower's client wants to read. "MsgReadIndex"."""

    context: Any


class ReadReply(Wire, frozen=True, gc=False):
    """That read is linearizable once all entries up to `index` are applied. "MsgReadIndexResp"."""

    term: int
    index: int
    context: Any


class TransferRequest(Wire, frozen=True, gc=False):
    """A follower was told to have leadership handed to `to`. "MsgTransferLeader"."""

    term: int
    to: int


MESSAGES: tuple[type[Wire], ...] = (
    Append,
    AppendReply,
    Heartbeat,
    HeartbeatReply,
    VoteRequest,
    VoteReply,
    InstallSnapshot,
    TimeoutNow,
    Forward,
    ReadRequest,
    ReadReply,
    TransferRequest,
)

# --- Records ----------------------------------------------------------------------------------------------------


class Voted(Wire, frozen=True, gc=False):
    """The term, and whom this replica voted for in it (0: nobody)."""

    term: int
    vote: int


class Appended(Wire, frozen=True, gc=False):
    """Entries in place of all from the first one's index on, and the commit index as known then.

    The commit index makes sure that a replica which holds a change of members has applied the one before it, also
    after a restart: the rule of one unapplied change at a time depends on it.
    """

    entries: tuple[Entry, ...]
    commit: int


class Saved(Wire, frozen=True, gc=False):
    """All that a replica must keep, in one record, so that whatever came before may be deleted."""

    snapshot: Snapshot
    term: int
    vote: int
    entries: tuple[Entry, ...]
    """What follows the snapshot."""
    commit: int


Record = Voted | Appended | Saved

# --- Orders by hand ---------------------------------------------------------------------------------------------


class Campaign(msgspec.Struct, frozen=True, gc=False):
    """Try to become the leader now."""


class TransferLeadership(msgspec.Struct, frozen=True, gc=False):
    """Hand leadership to a voter."""

    to: int


class ForgetLeader(msgspec.Struct, frozen=True, gc=False):
    """Let this follower vote at once, though it heard from a leader not long ago."""


class ReportUnreachable(msgspec.Struct, frozen=True, gc=False):
    """Messages to this replica are being lost."""

    peer: int


class ReportSnapshot(msgspec.Struct, frozen=True, gc=False):
    """A snapshot that was sent to this replica has arrived, or has not."""

    peer: int
    outcome: Literal["finished", "failed"]
