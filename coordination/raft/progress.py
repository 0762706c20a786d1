"""Progress: what a leader knows of one follower's log, and how it paces what it sends.

Rules:
* Probe: the end of the follower's log is not known; one message at a time, the next after an answer or a heartbeat's.
* Replicate: entries are sent as they come, without waiting, up to `most_inflight` messages that are not answered.
* Snapshot: a snapshot is on its way; nothing else is sent.
* match < next always; match never falls in a term. The commit index sent is remembered, so that none is sent twice.

Source: etcd-io/raft, package tracker; Ongaro 2014, section 10.2.1 (pipelining).
"""

from collections import deque
from enum import Enum


class ReplicationState(Enum):
    """How a leader feeds a follower."""

    PROBE = "StateProbe"
    REPLICATE = "StateReplicate"
    SNAPSHOT = "StateSnapshot"


PROBE, REPLICATE, SNAPSHOT = (
    ReplicationState.PROBE,
    ReplicationState.REPLICATE,
    ReplicationState.SNAPSHOT,
)


class Progress:
    """One follower, as its leader sees it; the leader has one of itself."""

    __slots__ = (
        "acked_round",
        "active",
        "inflight",
        "learner",
        "match",
        "most_inflight",
        "next",
        "paused",
        "pending_snapshot",
        "sent_commit",
        "snapshot_at",
        "state",
    )

    def __init__(self, next_index: int, most_inflight: int, *, match: int = 0, learner: bool = False) -> None:
        self.match = match
        """The follower's log is known to agree up to here."""
        self.next = next_index
        """The index to send next."""
        self.state = PROBE
        self.paused = False
        self.pending_snapshot = 0
        self.snapshot_at = 0.0
        """When that snapshot was sent."""
        self.active = False
        """Whether it was heard of since the leader last asked itself whether a quorum is."""
        self.learner = learner
        self.inflight: deque[int] = deque()
        """The last index of each message that is not answered."""
        self.most_inflight = most_inflight
        self.sent_commit = 0
        self.acked_round = 0
        """The greatest numbered heartbeat that it answered."""

    def _reset(self, state: ReplicationState) -> None:
        self.paused = False
        self.pending_snapshot = 0
        self.state = state
        self.inflight.clear()

    def become_probe(self) -> None:
        """Look for the end of its log again: after the snapshot, if one was on its way and is not known to be lost."""
        pending = self.pending_snapshot if self.state is SNAPSHOT else 0
        self._reset(PROBE)
        self.next = max(self.match, pending) + 1
        self.sent_commit = min(self.sent_commit, self.next - 1)

    def become_replicate(self) -> None:
        """Its log is known to agree up to `match`: send all that follows."""
        self._reset(REPLICATE)
        self.next = self.match + 1

    def become_snapshot(self, index: int, now: float) -> None:
        """A snapshot that ends at index is on its way."""
        self._reset(SNAPSHOT)
        self.pending_snapshot = index
        self.snapshot_at = now
        self.next = index + 1
        self.sent_commit = index

    def sent(self, entries: int, commit: int) -> None:
        """Notes that a message with so many entries and this commit index was sent."""
        if self.state is REPLICATE:
            inflight = self.inflight
            if entries:
                self.next += entries
                inflight.append(self.next - 1)
            self.paused = len(inflight) >= self.most_inflight
        elif entries:
            self.paused = True
        self.sent_commit = commit

    @property
    def full(self) -> bool:
        """Whether as many messages are under way as may be."""
        return len(self.inflight) >= self.most_inflight

    @property
    def stopped(self) -> bool:
        """Whether nothing may be sent now."""
        return self.paused or self.state is SNAPSHOT

    def can_bump_commit(self, commit: int) -> bool:
        """Whether telling this commit index would tell the follower anything new."""
        return commit > self.sent_commit and self.sent_commit < self.next - 1

    def acknowledge(self, index: int) -> bool:
        """The follower agrees up to index. False if that was known."""
        if index <= self.match:
            return False
        self.match = index
        if self.next <= index:
            self.next = index + 1
        self.paused = False
        return True

    def back_off(self, rejected: int, hint: int) -> bool:
        """The follower rejected what follows index `rejected`, and may agree at `hint`. False if that is old news."""
        if self.state is REPLICATE:
            if rejected <= self.match:
                return False
            self.next = self.match + 1
        else:
            if self.next - 1 != rejected:
                return False
            self.next = max(min(rejected, hint + 1), self.match + 1)
            self.paused = False
        self.sent_commit = min(self.sent_commit, self.next - 1)
        return True

    def __str__(self) -> str:
        text = f"{self.state.value} match={self.match} next={self.next}"
        if self.learner:
            text += " learner"
        if self.stopped:
            text += " paused"
        if self.pending_snapshot:
            text += f" pendingSnap={self.pending_snapshot}"
        if not self.active:
            text += " inactive"
        if self.inflight:
            text += f" inflight={len(self.inflight)}" + ("[full]" if self.full else "")
        return text
