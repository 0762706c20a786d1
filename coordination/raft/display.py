"""Raft's state as text, in the words and the form of etcd-io/raft (util.go), so that transcripts can be compared.

Rules: every function is pure; entries show the commands joined, quoted as Go's %q does; ids are hexadecimal.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from coordination.raft.membership import Members
from coordination.raft.messages import (
    Append,
    AppendReply,
    Entry,
    Forward,
    Heartbeat,
    InstallSnapshot,
    ReadReply,
    ReadRequest,
    Snapshot,
    TransferRequest,
    VoteReply,
    VoteRequest,
)
from coordination.raft.step import name_of

APPEND_THREAD, APPLY_THREAD = -1, -2
"""Where a replica's own disk and state machine are addressed, if they work beside it."""

_ESCAPES = {
    "\a": "\\a",
    "\b": "\\b",
    "\f": "\\f",
    "\n": "\\n",
    "\r": "\\r",
    "\t": "\\t",
    "\v": "\\v",
    "\\": "\\\\",
    '"': '\\"',
}


@dataclass(frozen=True)
class StorageAppend:
    """What a replica asks of its disk. "MsgStorageAppend"."""

    term: int
    vote: int
    commit: int
    entries: tuple[Entry, ...]
    snapshot: Snapshot | None
    responses: "tuple[Envelope, ...]" = ()


@dataclass(frozen=True)
class StorageApply:
    """What a replica asks of its state machine. "MsgStorageApply"."""

    entries: tuple[Entry, ...]
    responses: "tuple[Envelope, ...]" = ()


@dataclass(frozen=True)
class StorageAppendDone:
    """The disk's answer: stored up to (index, log_term), if no term began since. "MsgStorageAppendResp"."""

    term: int
    index: int
    log_term: int
    snapshot: Snapshot | None


@dataclass(frozen=True)
class StorageApplyDone:
    """The state machine's answer. "MsgStorageApplyResp"."""

    entries: tuple[Entry, ...]


@dataclass(frozen=True)
class Envelope:
    """A message on its way."""

    source: int
    to: int
    message: Any

    @property
    def local(self) -> bool:
        """Whether it never leaves its machine, and so is never lost."""
        return self.source == self.to or self.source < 0 or self.to < 0


_LOCAL = {
    StorageAppend: "MsgStorageAppend",
    StorageApply: "MsgStorageApply",
    StorageAppendDone: "MsgStorageAppendResp",
    StorageApplyDone: "MsgStorageApplyResp",
}


def message_name(message: Any) -> str:
    """etcd's name of a message, those to disk and state machine among them."""
    return _LOCAL.get(type(message)) or name_of(message)


def quoted(text: str) -> str:
    """Text as Go's %q writes it."""
    return '"' + "".join(_escaped(letter) for letter in text) + '"'


def _escaped(letter: str) -> str:
    if letter in _ESCAPES:
        return _ESCAPES[letter]
    if letter.isprintable():
        return letter
    code = ord(letter)
    return f"\\x{code:02x}" if code < 128 else f"\\u{code:04x}" if code < 65536 else f"\\U{code:08x}"


def entry_text(entry: Entry) -> str:
    """`term/index type data`."""
    place = f"{entry.term}/{entry.index}"
    change = entry.change
    if change is None:
        return f"{place} EntryNormal {quoted(''.join(map(str, entry.commands)))}"
    name = "EntryConfChange" if change.single else "EntryConfChangeV2"
    words = str(change)
    return f"{place} {name} {words}" if words else f"{place} {name}"


def entries_text(entries: Iterable[Entry]) -> str:
    """A line an entry."""
    return "".join(entry_text(entry) + "\n" for entry in entries)


def members_text(members: Members) -> str:
    """A configuration, as snapshots show it."""

    def listed(ids: tuple[int, ...]) -> str:
        return "[" + " ".join(map(str, ids)) + "]"

    return (
        f"Voters:{listed(members.voters)} VotersOutgoing:{listed(members.outgoing)} "
        f"Learners:{listed(members.learners)} LearnersNext:{listed(members.learners_next)} "
        f"AutoLeave:{'true' if members.autoleave else 'false'}"
    )


def snapshot_text(snapshot: Snapshot) -> str:
    """Where a snapshot ends, and who the members are there."""
    return f"Index:{snapshot.index} Term:{snapshot.term} ConfState:{members_text(snapshot.members)}"


def hard_state_text(term: int, vote: int, commit: int) -> str:
    """What must be stored of a replica beside its log."""
    return f"Term:{term}{f' Vote:{vote}' if vote else ''} Commit:{commit}"


@dataclass(frozen=True)
class _Shown:
    """The parts of a message that are shown."""

    term: int = 0
    log_term: int = 0
    index: int = 0
    rejected: bool = False
    hint: int = 0
    commit: int = 0
    vote: int = 0
    entries: tuple[Entry, ...] = ()
    snapshot: Snapshot | None = None
    responses: tuple[Envelope, ...] = ()


def _shown(message: Any) -> _Shown:
    match message:
        case Append():
            return _Shown(
                message.term,
                message.log_term,
                message.index,
                commit=message.commit,
                entries=message.entries,
            )
        case AppendReply():
            return _Shown(message.term, message.log_term, message.index, message.rejected, message.hint)
        case Heartbeat():
            return _Shown(message.term, commit=message.commit)
        case VoteRequest():
            return _Shown(message.term, message.log_term, message.index)
        case VoteReply():
            return _Shown(message.term, rejected=message.rejected)
        case InstallSnapshot():
            return _Shown(message.term, snapshot=message.snapshot)
        case Forward():
            return _Shown(entries=(Entry(0, 0, message.commands, message.change),))
        case ReadRequest():
            return _Shown(entries=(Entry(0, 0, (message.context,)),))
        case ReadReply():
            return _Shown(message.term, index=message.index, entries=(Entry(0, 0, (message.context,)),))
        case StorageAppend():
            return _Shown(
                message.term,
                commit=message.commit,
                vote=message.vote,
                entries=message.entries,
                snapshot=message.snapshot,
                responses=message.responses,
            )
        case StorageApply():
            return _Shown(entries=message.entries, responses=message.responses)
        case StorageAppendDone():
            return _Shown(message.term, message.log_term, message.index, snapshot=message.snapshot)
        case StorageApplyDone():
            return _Shown(entries=message.entries)
        case _:
            return _Shown(message.term)


def _target(replica: int) -> str:
    names = {0: "None", APPEND_THREAD: "AppendThread", APPLY_THREAD: "ApplyThread"}
    return names.get(replica) or f"{replica:x}"


def envelope_text(envelope: Envelope, indent: str = "") -> str:
    """A message, in one line unless it carries many entries, a snapshot or responses."""
    message = envelope.message
    # A wish to hand over leadership goes to the leader in the name of who shall lead.
    source = message.to if isinstance(message, TransferRequest) else envelope.source
    shown = _shown(message)
    text = (
        f"{indent}{_target(source)}->{_target(envelope.to)} {message_name(message)} "
        f"Term:{shown.term} Log:{shown.log_term}/{shown.index}"
    )
    if shown.rejected:
        text += f" Rejected (Hint: {shown.hint})"
    if shown.commit:
        text += f" Commit:{shown.commit}"
    if shown.vote:
        text += f" Vote:{shown.vote}"
    if len(shown.entries) == 1:
        text += f" Entries:[{entry_text(shown.entries[0])}]"
    elif shown.entries:
        text += " Entries:[" + "".join(f"\n{indent}  {entry_text(entry)}" for entry in shown.entries)
        text += f"\n{indent}]"
    if shown.snapshot is not None:
        text += f"\n{indent}  Snapshot: {snapshot_text(shown.snapshot)}"
    if shown.responses:
        lines = "".join("\n" + envelope_text(response, indent + "  ") for response in shown.responses)
        text += f" Responses:[{lines}\n{indent}]"
    return text


@dataclass(frozen=True)
class Ready:
    """What a replica wants done: stored, applied and sent."""

    soft: tuple[int, str] | None
    """The leader and the replica's role, if they changed."""
    hard: tuple[int, int, int] | None
    """Term, vote and commit index, if they changed."""
    must_sync: bool
    reads: Sequence[tuple[int, Any]]
    entries: tuple[Entry, ...]
    snapshot: Snapshot | None
    committed: tuple[Entry, ...]
    messages: tuple[Envelope, ...]


def ready_text(ready: Ready) -> str:
    """A Ready as etcd shows it."""
    text = ""
    if ready.soft is not None:
        text += f"Lead:{ready.soft[0]} State:{ready.soft[1]}\n"
    if ready.hard is not None:
        text += f"HardState {hard_state_text(*ready.hard)}\n"
    if ready.reads:
        reads = " ".join(f"{{{index} {context}}}" for index, context in ready.reads)
        text += f"ReadStates [{reads}]\n"
    if ready.entries:
        text += "Entries:\n" + entries_text(ready.entries)
    if ready.snapshot is not None:
        text += f"Snapshot {snapshot_text(ready.snapshot)}\n"
    if ready.committed:
        text += "CommittedEntries:\n" + entries_text(ready.committed)
    if ready.messages:
        text += "Messages:\n" + "".join(envelope_text(one) + "\n" for one in ready.messages)
    if not text:
        return "<empty Ready>"
    return f"Ready MustSync={'true' if ready.must_sync else 'false'}:\n{text}"
