"""A replica driven by hand: steps go in, and one `Ready` at a time comes out, to be stored, applied and sent.

Rules:
* Nothing happens by itself: entries wait to be stored, commits to be applied, messages to be sent, until the `Ready`
  that holds them is processed. So a transcript can stop between any two of these.
* Storage at once: what a replica says to itself, and that its entries are stored and applied, is heard as soon as its
  `Ready` is processed. Storage beside it: disk and state machine get messages of their own and answer by messages.
* The state machine appends each command to a string; each state is kept, the last one is the snapshot to send.

Source: etcd-io/raft, `RawNode`, `MemoryStorage` and rafttest's `Node`; time goes in ticks of 1.
"""

from dataclasses import dataclass
from random import Random
from typing import Any

from coordination.raft.display import (
    APPEND_THREAD,
    APPLY_THREAD,
    Envelope,
    Ready,
    StorageAppend,
    StorageAppendDone,
    StorageApply,
    StorageApplyDone,
)
from coordination.raft.messages import (
    AppendReply,
    Entry,
    Forward,
    HeartbeatReply,
    ReadReply,
    Snapshot,
    VoteReply,
)
from coordination.raft.node import DEBUG, INFO, Node, NodeOptions
from coordination.raft.replication import apply_change, switch_members
from coordination.raft.step import applied_to, propose, step

DROPPED = "raft proposal dropped"
NOT_FOUND = "raft: cannot step as peer not found"
_REPLIES = (AppendReply, HeartbeatReply, VoteReply, ReadReply)


class ScriptError(Exception):
    """What a replica, or its storage, answers to a command that it does not carry out: it is output, no failure."""


@dataclass(frozen=True)
class HandOptions:
    """How a replica of a script behaves, beside its `NodeOptions`."""

    node: NodeOptions
    beside: bool = False
    """Whether disk and state machine work beside it."""
    applying_bytes: float = float("inf")
    """Of entries in one `Ready` to apply, or under way to the state machine, at most; one always fits."""


class Storage:
    """What is on a replica's disk."""

    def __init__(self, snapshot: Snapshot) -> None:
        self.base = snapshot.index
        self.entries: list[Entry] = []

    @property
    def last(self) -> int:
        """The last index stored."""
        return self.base + len(self.entries)

    def append(self, entries: tuple[Entry, ...]) -> None:
        """Stores entries in place of those at and after the first one."""
        entries = tuple(entry for entry in entries if entry.index > self.base)
        if entries:
            del self.entries[entries[0].index - self.base - 1 :]
            self.entries.extend(entries)

    def restore(self, snapshot: Snapshot) -> None:
        """Stores a snapshot in place of everything. Raises `ScriptError` if it is old."""
        if snapshot.index <= self.base:
            raise ScriptError("requested index is older than the existing snapshot")
        self.base, self.entries = snapshot.index, []

    def compact(self, index: int) -> None:
        """Forgets entries up to index. Raises `ScriptError`."""
        if index <= self.base:
            raise ScriptError("requested index is unavailable due to compaction")
        if index > self.last:
            raise ScriptError(f"compact {index} is out of bound lastindex({self.last})")
        del self.entries[: index - self.base]
        self.base = index


class Hand:
    """One replica, its storage and its state machine."""

    def __init__(self, id: int, options: HandOptions, first: Snapshot, say: Any) -> None:
        self.id = id
        self.options = options
        self.say = say
        self.history = [first]
        """The state machine's states, with where each stands."""
        self.storage = Storage(first)
        self.append_work: list[StorageAppend] = []
        self.apply_work: list[StorageApply] = []
        self._own: list[Any] = []
        self._applying_bytes = 0.0
        self._applying_paused = False
        self.node = node = Node(id, options.node, Random(id), say)
        if first.index:
            node.log.reset_to(first)
            node.log.applied = node.log.applying = first.index
        switch_members(node, first.members)
        node.become_follower(0, 0)
        peers = ",".join(f"{voter:x}" for voter in first.members.all_voters)
        say(
            INFO,
            f"newRaft {id:x} [peers: [{peers}], term: 0, commit: {first.index}, applied: {first.index}, "
            f"lastindex: {first.index}, lastterm: {first.term}]",
        )
        self._soft = self._soft_state()
        self._hard = self._hard_state()

    # --- Steps --------------------------------------------------------------------------------------------------

    def receive(self, envelope: Envelope) -> None:
        """Hears a message. Raises `ScriptError`."""
        node = self.node
        message = envelope.message
        self._show_snapshot()
        if isinstance(message, StorageAppendDone):
            self._append_done(message)
        elif isinstance(message, StorageApplyDone):
            self._apply_done(message)
        elif isinstance(message, _REPLIES) and envelope.source not in node.progress:
            raise ScriptError(NOT_FOUND)
        elif isinstance(message, Forward):
            self.propose(message)
        else:
            step(node, envelope.source, message)

    def propose(self, proposal: Forward) -> None:
        """A proposal of its own client, or one that was forwarded. Raises `ScriptError`."""
        self._show_snapshot()
        if not propose(self.node, proposal.commands, proposal.change):
            raise ScriptError(DROPPED)

    def _show_snapshot(self) -> None:
        latest = self.history[-1]
        self.node.log.snapshot = latest if latest.index else None

    # --- Ready --------------------------------------------------------------------------------------------------

    def _soft_state(self) -> tuple[int, str]:
        return (self.node.leader, self.node.role.value)

    def _hard_state(self) -> tuple[int, int, int]:
        return (self.node.term, self.node.vote, self.node.log.committed)

    @property
    def has_ready(self) -> bool:
        """Whether anything waits to be stored, applied or sent."""
        node = self.node
        log = node.log
        return bool(
            self._soft_state() != self._soft
            or (self._hard_state() != self._hard and any(self._hard_state()))
            or (log.incoming is not None and not log.incoming_handed)
            or node.messages
            or node.after
            or log.handed <= log.last
            or self._committed()
            or node.read_states
        )

    def _committed(self) -> tuple[Entry, ...]:
        log = self.node.log
        high = self._appliable
        if self._applying_paused or log.incoming is not None or log.applying >= high:
            return ()
        room = self.options.applying_bytes - self._applying_bytes
        entries = log.slice(log.applying + 1, high)
        for position, entry in enumerate(entries):
            room -= encoded_bytes(entry)
            if room < 0 and position:
                return entries[:position]
        return entries

    @property
    def _appliable(self) -> int:
        log = self.node.log
        return min(log.committed, log.stable - 1) if self.options.beside else log.committed

    def take_ready(self) -> Ready:
        """What is to be stored, applied and sent; it counts as taken."""
        node = self.node
        log = node.log
        self._show_snapshot()
        soft, hard = self._soft_state(), self._hard_state()
        entries = log.slice(log.handed, log.last) if log.handed <= log.last else ()
        committed = self._committed()
        snapshot = log.incoming if not log.incoming_handed else None
        changed = hard if hard != self._hard and any(hard) else None
        must_sync = bool(entries) or hard[:2] != self._hard[:2]
        messages = [Envelope(self.id, to, message) for to, message, _ in node.messages]
        after = [Envelope(self.id, to, message) for to, message in node.after]
        if self.options.beside:
            messages += self._work(entries, committed, snapshot, changed, after)
        else:
            messages += [one for one in after if one.to != self.id]
            self._own = [one.message for one in after if one.to == self.id]
            done = self._stored_when(snapshot)
            if done is not None:
                self._own.append(done)
            if committed:
                self._own.append(StorageApplyDone(committed))
        ready = Ready(
            soft if soft != self._soft else None,
            changed,
            must_sync,
            node.read_states,
            entries,
            snapshot,
            committed,
            tuple(messages),
        )
        self._taken(soft, changed, committed)
        return ready

    def _taken(
        self, soft: tuple[int, str], hard: tuple[int, int, int] | None, committed: tuple[Entry, ...]
    ) -> None:
        node = self.node
        log = node.log
        self._soft = soft
        self._hard = hard or self._hard
        node.read_states, node.messages, node.after = [], [], []
        log.handed = max(log.handed, log.last + 1)
        log.incoming_handed = log.incoming is not None
        if committed:
            log.applying = committed[-1].index
            self._applying_bytes += sum(map(encoded_bytes, committed))
            self._applying_paused = (
                self._applying_bytes >= self.options.applying_bytes or log.applying < self._appliable
            )

    def _stored_when(self, snapshot: Snapshot | None) -> StorageAppendDone | None:
        log = self.node.log
        if log.stable > log.last:
            return StorageAppendDone(self.node.term, 0, 0, snapshot) if snapshot is not None else None
        return StorageAppendDone(self.node.term, log.last, log.last_term, snapshot)

    def _work(
        self,
        entries: tuple[Entry, ...],
        committed: tuple[Entry, ...],
        snapshot: Snapshot | None,
        hard: tuple[int, int, int] | None,
        after: list[Envelope],
    ) -> list[Envelope]:
        work = []
        if entries or hard is not None or snapshot is not None or after:
            done = self._stored_when(snapshot)
            if done is not None:
                after = [*after, Envelope(APPEND_THREAD, self.id, done)]
            term, vote, commit = hard or (0, 0, 0)
            append = StorageAppend(term, vote, commit, entries, snapshot, tuple(after))
            work.append(Envelope(self.id, APPEND_THREAD, append))
        if committed:
            applied = Envelope(APPLY_THREAD, self.id, StorageApplyDone(committed))
            work.append(Envelope(self.id, APPLY_THREAD, StorageApply(committed, (applied,))))
        return work

    def advance(self) -> None:
        """What the `Ready` asked for is done: the replica hears of it."""
        own, self._own = self._own, []
        self._show_snapshot()
        for message in own:
            if isinstance(message, StorageAppendDone):
                self._append_done(message)
            elif isinstance(message, StorageApplyDone):
                self._apply_done(message)
            else:
                step(self.node, self.id, message)

    # --- Storage and state machine ------------------------------------------------------------------------------

    def store(self, entries: tuple[Entry, ...], snapshot: Snapshot | None) -> None:
        """Writes to disk. Raises `ScriptError`."""
        if snapshot is not None:
            self.storage.restore(snapshot)
        else:
            self.storage.append(entries)

    def apply(self, entries: tuple[Entry, ...]) -> None:
        """Applies entries, changes of members among them."""
        for entry in entries:
            last = self.history[-1]
            members = last.members
            text = last.state
            if entry.change is not None:
                apply_change(self.node, entry.change)
                members = self.node.members
            else:
                text += "".join(map(str, entry.commands))
            self.history.append(Snapshot(entry.index, entry.term, members, text))

    def compact(self, index: int) -> None:
        """Forgets entries up to index. Raises `ScriptError`."""
        self.storage.compact(index)
        self.node.log.drop_to(min(index, self.node.log.last))

    def _append_done(self, done: StorageAppendDone) -> None:
        node = self.node
        if done.term < node.term:
            if done.index:
                self.say(
                    INFO,
                    f"{node.id:x} [term: {node.term}] ignored entry appends from a MsgStorageAppendResp "
                    f"message with lower term [term: {done.term}]",
                )
        elif done.index:
            self._stable_to(done.index, done.log_term)
        if done.snapshot is not None:
            node.log.snapshot_stored(done.snapshot.index)
            self._applied(done.snapshot.index, 0.0)

    def _stable_to(self, index: int, term: int) -> None:
        log = self.node.log
        if log.incoming is not None and log.incoming.index == index:
            self.say(INFO, f"entry at index {index} matched unstable snapshot; ignoring")
        elif not log.stable <= index <= log.last:
            self.say(DEBUG, f"entry at index {index} missing from unstable log; ignoring")
        elif log.term_at(index) != term:
            self.say(
                INFO,
                f"entry at (index,term)=({index},{term}) mismatched with entry at "
                f"({index},{log.term_at(index)}) in unstable log; ignoring",
            )
        log.stable_to(index, term)

    def _apply_done(self, done: StorageApplyDone) -> None:
        if done.entries:
            self._applied(done.entries[-1].index, float(sum(map(encoded_bytes, done.entries))))

    def _applied(self, index: int, size: float) -> None:
        self._applying_bytes = max(0.0, self._applying_bytes - size)
        self._applying_paused = self._applying_bytes >= self.options.applying_bytes
        applied_to(self.node, max(index, self.node.log.applied))


def encoded_bytes(entry: Entry) -> int:
    """The size of an entry in etcd's encoding (Protocol Buffers), by which a script may limit what is applied."""
    size = 2 + 1 + _varint(entry.term) + 1 + _varint(entry.index)
    change = entry.change
    if change is None:
        data = sum(len(str(command).encode()) for command in entry.commands)
        return size + (1 + _varint(data) + data if entry.commands else 0)
    if change.single:
        data = 2 + 2 + 1 + _varint(change.changes[0][1])
    else:
        data = 2 + sum(2 + 2 + 1 + _varint(member) for _, member in change.changes)
    return size + 1 + _varint(data) + data


def _varint(value: int) -> int:
    return max(1, (value.bit_length() + 6) // 7)
