"""The state of one replica of Raft, and what all its parts do with it: speak, and change role.

Rules:
* `messages` may leave at once. `after` may leave only when all that is not yet stored has been stored: votes and
  acknowledgements, those to oneself among them, so that a leader counts its own entry, and a candidate its own vote,
  only when they are durable.
* Roles change here and nowhere else; each change starts the clocks anew and draws a new election timeout.
* Times are read from `now`, which the driver sets before each step; deadlines are a start plus a length, compared the
  same way everywhere.

Source: Ongaro 2014, chapter 3; the form of etcd-io/raft.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from random import Random
from typing import Any

from coordination.protocol import NEVER
from coordination.raft.log import Log
from coordination.raft.membership import Members
from coordination.raft.messages import AppendReply, Entry
from coordination.raft.progress import Progress

DEBUG, INFO, WARN, ERROR = range(4)


class Role(Enum):
    """What a replica is in its term."""

    FOLLOWER = "StateFollower"
    CANDIDATE = "StateCandidate"
    LEADER = "StateLeader"
    PRE_CANDIDATE = "StatePreCandidate"


@dataclass(frozen=True)
class NodeOptions:
    """How a replica behaves."""

    election_s: float
    """Without a leader for this long, up to twice this long, a replica campaigns."""
    heartbeat_s: float
    pre_vote: bool = True
    """Ask whether an election could be won before starting a term (section 9.6)."""
    check_quorum: bool = True
    """A leader that hears from no quorum for an election timeout steps down; a follower with a leader does not vote."""
    lease_reads: bool = False
    """Answer reads without a round of heartbeats, from a lease that ends before anybody else can be elected."""
    lease_share: float = 0.9
    """The share of the election timeout that a lease lasts: what is left covers clocks that run at other rates."""
    forward: bool = True
    """Followers send proposals on to the leader."""
    eager_commit: bool = True
    """Tell followers a new commit index at once, or else with the next entry or heartbeat."""
    step_down_on_removal: bool = True
    """A leader that is removed, or made a learner, stops leading."""
    check_changes: bool = True
    """Refuse a change of members that does not fit the present ones."""
    snapshots_name_us: bool = False
    """Refuse a snapshot whose members this replica is not among, as etcd does, where each is made when it is sent."""
    snapshot_retry_s: float = NEVER
    """A snapshot that is not answered for so long counts as lost."""
    most_inflight: int = 256
    """Messages with entries under way to one follower, at most."""
    most_commands: int = 1000
    """Commands in one message, at most; one entry always fits."""
    most_uncommitted: int = 100_000
    """Entries of a leader that are not committed, at most: beyond, it rejects proposals."""
    most_reads: int = 10_000
    """Reads that wait, at most."""


class Node:
    """One replica. The functions of `election`, `replication`, `reading` and `step` work on it."""

    def __init__(
        self, id: int, options: NodeOptions, rng: Random, say: Callable[[int, str], None] | None = None
    ) -> None:
        self.id = id
        self.options = options
        self._election_s = options.election_s
        self._heartbeat_s = options.heartbeat_s
        self.rng = rng
        self.say = say
        """Where log lines go, in etcd's words; None for nowhere."""
        self.now = 0.0
        self.log = Log()
        self.term = 0
        self.vote = 0
        self.role = Role.FOLLOWER
        self.leader = 0
        self.members = Members()
        self.progress: dict[int, Progress] = {}
        """Of everybody in the configuration, in rising order of ids."""
        self.peers: list[tuple[int, Progress]] = []
        """The others' progress."""
        self.voters: list[Progress] = []
        self.outgoing: list[Progress] = []
        self.promotable = False
        """Whether it may become leader: a voter."""
        self.votes: dict[int, bool] = {}
        self.transferee = 0
        self.pending_change = 0
        """At or beyond the index of the last change of members that is not applied."""
        self.election_start = 0.0
        self.heartbeat_start = 0.0
        self.election_timeout = options.election_s
        self.messages: list[tuple[int, Any, int]] = []
        self.after: list[tuple[int, Any]] = []
        self.read_states: list[tuple[int, Any]] = []
        """(index, context) of reads that may go ahead."""
        self.waiting_reads: deque[tuple[int, int, int, Any]] = deque()
        """(round, index, who asks, context) of reads that wait for a quorum to answer a heartbeat."""
        self.early_reads: list[tuple[int, Any]] = []
        """(who asks, context) of reads that wait for the leader's first commit."""
        self.round = 0
        self.round_times: deque[tuple[int, float]] = deque()
        self.lease_until = -NEVER
        self.lease_allowed = False
        self.no_vote_until = -NEVER
        """A replica that forgot, in a crash, whom it followed must not vote while that leader's lease may last."""

    # --- Roles --------------------------------------------------------------------------------------------------

    def reset(self, term: int) -> None:
        """What every change of role begins with."""
        if self.term != term:
            self.term = term
            self.vote = 0
        self.leader = 0
        self.election_start = self.heartbeat_start = self.now
        base = self.options.election_s
        self.election_timeout = base + base * self.rng.random()
        self.transferee = 0
        self.votes = {}
        self.pending_change = 0
        self.waiting_reads.clear()
        self.early_reads.clear()
        self.round_times.clear()
        self.lease_until = -NEVER
        last = self.log.last
        self.progress = {
            member: Progress(
                last + 1,
                self.options.most_inflight,
                match=last if member == self.id else 0,
                learner=old.learner,
            )
            for member, old in self.progress.items()
        }
        self.index_progress()

    def become_follower(self, term: int, leader: int) -> None:
        """Follows a leader, or nobody yet."""
        self.reset(term)
        self.leader = leader
        self.role = Role.FOLLOWER
        if self.say:
            self.say(INFO, f"{self.id:x} became follower at term {self.term}")

    def become_pre_candidate(self) -> None:
        """Asks whether it could win; its term and vote stay."""
        self.votes = {}
        self.leader = 0
        self.role = Role.PRE_CANDIDATE
        if self.say:
            self.say(INFO, f"{self.id:x} became pre-candidate at term {self.term}")

    def become_candidate(self) -> None:
        """Starts a term and votes for itself."""
        self.reset(self.term + 1)
        self.vote = self.id
        self.role = Role.CANDIDATE
        if self.say:
            self.say(INFO, f"{self.id:x} became candidate at term {self.term}")

    def become_leader(self) -> None:
        """Leads its term, beginning with an empty entry: only entries of its own term commit by counting."""
        self.reset(self.term)
        self.leader = self.id
        self.role = Role.LEADER
        own = self.progress[self.id]
        own.become_replicate()
        own.active = True
        self.lease_allowed = True
        self.pending_change = self.log.last
        self.append_own((Entry(self.term, self.log.last + 1),))
        if self.say:
            self.say(INFO, f"{self.id:x} became leader at term {self.term}")

    def committed_in_term(self) -> bool:
        """Whether an entry of the present term is committed: only then does a leader know what is."""
        return self.log.term_at(self.log.committed) == self.term

    def append_own(self, entries: tuple[Entry, ...]) -> None:
        """A leader's entries, which it acknowledges to itself once they are stored."""
        self.log.append(entries)
        self.after.append((self.id, AppendReply(self.term, self.log.last)))

    # --- Speaking -----------------------------------------------------------------------------------------------

    def send(self, to: int, message: Any) -> None:
        """A message that may leave at once."""
        self.messages.append((to, message, 0))

    def send_after(self, to: int, message: Any) -> None:
        """A message that may leave when all so far is stored."""
        self.after.append((to, message))

    def index_progress(self) -> None:
        """Sorts the progress of all by what they are; to be called when it or the configuration was replaced."""
        progress = self.progress
        self.peers = [(member, one) for member, one in progress.items() if member != self.id]
        self.voters = [progress[member] for member in self.members.voters]
        self.outgoing = [progress[member] for member in self.members.outgoing]
        own = progress.get(self.id)
        self.promotable = own is not None and not own.learner

    # --- Time ---------------------------------------------------------------------------------------------------

    @property
    def wake_at(self) -> float:
        """When a tick is due."""
        if self.role is Role.LEADER:
            heartbeat_due = self.heartbeat_start + self._heartbeat_s
            election_due = self.election_start + self._election_s
            return heartbeat_due if heartbeat_due < election_due else election_due
        return self.election_start + self.election_timeout if self.promotable else NEVER
