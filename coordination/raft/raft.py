"""Raft on the contract of `coordination.protocol`: events in, effects out.

Rules:
* All that an event changes on disk is written under one token: the vote, then a snapshot, then entries. Requests for
  votes, votes and acknowledgements wait for it; a leader's appends do not, but it counts itself only when its own
  entries are durable.
* A batch is one entry: the commands of a `Propose` are decided together, in one slot. Empty entries and changes of
  members are slots without commands.
* An entry is handed to the application as soon as it is known to be committed, on whatever event that is. No tick gates
  it.
* After a restart the application begins again from `Effects.installed`, or from nothing, and is told every slot again.

Costs (n replicas, all correct, one entry at a time). From the leader to its knowing the decision: 2 delays; to all: 1
more. Messages: 2(n-1) for the entry and its acknowledgements, and with `eager_commit` (as etcd does) 2(n-1) more, which
tell the commit index and are answered: 4(n-1). Without it the commit index rides on the next entry or heartbeat:
2(n-1), and followers learn of a decision when the next one is proposed, or a heartbeat later.

Sources: Ongaro and Ousterhout 2014, "In Search of an Understandable Consensus Algorithm"; Ongaro 2014, "Consensus:
Bridging Theory and Practice" (thesis); etcd-io/raft.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from actors.errors import ConfigurationError
from coordination.protocol import (
    ChangeMembers,
    Compact,
    Costs,
    Decided,
    Effects,
    Event,
    Installed,
    Persisted,
    Propose,
    Protocol,
    ProtocolKind,
    Read,
    ReadAt,
    Receive,
    Rejected,
    Restore,
    Setting,
    Tick,
    Trace,
    options_from,
)
from coordination.raft import election, reading, replication, snapshot
from coordination.raft.log import Log
from coordination.raft.membership import Members, MembershipChange
from coordination.raft.messages import (
    MESSAGES,
    Appended,
    Campaign,
    Entry,
    ForgetLeader,
    ReportSnapshot,
    ReportUnreachable,
    Saved,
    Snapshot,
    TransferLeadership,
    Voted,
    VoteRequest,
)
from coordination.raft.node import Node, NodeOptions, Role
from coordination.raft.step import applied_to, propose, step, tick, transfer
from coordination.raft.upkeep import UPKEEP

_LEVELS = ("DEBUG", "INFO", "WARN", "ERROR")


@dataclass(frozen=True)
class RaftOptions:
    """Raft's own settings (`Setting.options`). Times of 0 follow from `Setting.delay_s`."""

    election_s: float = 0.0
    """Without a leader for this long, up to twice this long, a replica campaigns. 0: ten delays."""
    heartbeat_s: float = 0.0
    """0: two delays."""
    pre_vote: bool = True
    check_quorum: bool = True
    lease_reads: bool = False
    forward: bool = True
    """Send proposals on to the leader; else they are rejected with its name."""
    eager_commit: bool = True
    """Tell followers a new commit index at once: 4(n-1) messages a decision; else 2(n-1)."""
    most_inflight: int = 256
    most_uncommitted: int = 100_000
    most_reads: int = 10_000
    trailing: int = 1000
    """Entries kept below a snapshot for followers that lag."""
    learners: tuple[int, ...] = ()
    """Members that begin as learners."""

    def node_options(self, setting: Setting) -> NodeOptions:
        """The options of one replica. Raises `ConfigurationError`."""
        election_s = self.election_s or 10 * setting.delay_s
        heartbeat_s = self.heartbeat_s or 2 * setting.delay_s
        if not 0 < heartbeat_s < election_s:
            raise ConfigurationError(
                f"raft: heartbeat_s {heartbeat_s:g} and election_s {election_s:g} do not fit. "
                "Give 0 < heartbeat_s < election_s."
            )
        if self.lease_reads and not self.check_quorum:
            raise ConfigurationError("raft: lease_reads needs check_quorum. Set both, or neither.")
        for name in ("most_inflight", "most_uncommitted", "most_reads"):
            if getattr(self, name) < 1:
                raise ConfigurationError(f"raft: {name} is {getattr(self, name)}. Give 1 or more.")
        return NodeOptions(
            election_s,
            heartbeat_s,
            pre_vote=self.pre_vote,
            check_quorum=self.check_quorum,
            lease_reads=self.lease_reads,
            forward=self.forward,
            eager_commit=self.eager_commit,
            snapshot_retry_s=2 * election_s,
            most_inflight=self.most_inflight,
            most_commands=setting.batch,
            most_uncommitted=self.most_uncommitted,
            most_reads=self.most_reads,
        )


class Raft(Protocol):
    """A replica of Raft. Takes `Instruct` with the orders of `coordination.raft.messages`."""

    wire = MESSAGES
    records = (Voted, Appended, Saved)

    def __init__(self, setting: Setting) -> None:
        self.id = setting.id
        self._batch = setting.batch
        options: RaftOptions = options_from(RaftOptions, setting)
        self._trailing = options.trailing
        self._lines: list[Trace] | None = [] if setting.trace else None
        self.node = Node(
            setting.id,
            options.node_options(setting),
            setting.rng,
            self._say if setting.trace else None,
        )
        learners = {*options.learners}
        self._first_members = Members(
            tuple(one for one in sorted(setting.members) if one not in learners),
            learners=tuple(one for one in sorted(setting.members) if one in learners),
        )
        self._history: list[tuple[int, Members]] = []
        """From which applied index on which configuration holds: a snapshot needs the one of its index."""
        self._token = 0
        self._durable = 0
        self._stored_term = 0
        self._stored_vote = 0
        self._own: deque[tuple[int, Any]] = deque()
        """Messages to itself, and the tokens that they wait for."""

    @property
    def leader(self) -> int | None:
        """Who leads as far as this replica knows."""
        return self.node.leader or None

    @property
    def configuration(self) -> tuple[int, Members]:
        """The present members, and the index of the change that made them so, or of the snapshot that told of them."""
        return self._history[-1]

    def handle(self, event: Event) -> Effects:
        """See `Protocol`."""
        node = self.node
        node.now = event.now
        effects = Effects()
        if isinstance(event, Receive):
            step(node, event.source, event.message)
        elif isinstance(event, Persisted):
            if not self._persisted(event.token):
                effects.wake_at = node.wake_at
                return effects
        elif isinstance(event, Propose):
            self._propose(event.commands, effects)
        elif isinstance(event, Tick):
            tick(node)
        elif isinstance(event, Read):
            reading.read(node, self.id, event.context)
        elif isinstance(event, ChangeMembers):
            self._change(event.change)
        elif isinstance(event, Compact):
            self._compact(event.slot, event.state, effects)
        elif isinstance(event, Restore):
            self._restore(event.records, effects)
        else:
            self._order(event.order)
        return self._effects(effects)

    # --- Events -------------------------------------------------------------------------------------------------

    def _propose(self, commands: tuple[Any, ...], effects: Effects) -> None:
        size = self._batch
        if len(commands) <= size:
            if commands and not propose(self.node, commands):
                effects.rejected.append(Rejected(commands, self.leader))
            return
        for begin in range(0, len(commands), size):
            part = commands[begin : begin + size]
            if not propose(self.node, part):
                effects.rejected.append(Rejected(part, self.leader))

    def _change(self, change: Any) -> None:
        if not isinstance(change, MembershipChange):
            raise ConfigurationError(
                f"raft: {change!r} is no change of members. Give a MembershipChange, as `change_from` makes them."
            )
        propose(self.node, (), change)

    def _persisted(self, token: int) -> bool:
        """Returns whether that changed anything."""
        self._durable = max(self._durable, token)
        own = self._own
        heard = False
        while own and own[0][0] <= token:
            step(self.node, self.id, own.popleft()[1])
            heard = True
        return heard

    def _order(self, order: Any) -> None:
        node = self.node
        match order:
            case Campaign():
                election.hup(node)
            case TransferLeadership():
                transfer(node, order.to)
            case ForgetLeader():
                election.forget_leader(node)
            case ReportUnreachable():
                replication.report_unreachable(node, order.peer)
            case ReportSnapshot():
                snapshot.snapshot_reported(node, order.peer, order.outcome == "finished")
            case _:
                raise ConfigurationError(
                    f"raft: {order!r} is no order. Give one of coordination.raft.messages: Campaign, "
                    "TransferLeadership, ForgetLeader, ReportUnreachable, ReportSnapshot."
                )

    def _compact(self, slot: int, state: Any, effects: Effects) -> None:
        node = self.node
        log = node.log
        behind = log.snapshot is not None and slot <= log.snapshot.index
        term = log.term_at(slot)
        if behind or slot > log.applied or term is None or log.incoming is not None:
            return
        since, members = next(one for one in reversed(self._history) if one[0] <= slot)
        log.snapshot = Snapshot(slot, term, members, state)
        rest = log.slice(slot + 1, log.last)
        log.drop_to(max(log.base, slot - self._trailing))
        self._history = [(since, members), *(one for one in self._history if one[0] > slot)]
        self._stored_term, self._stored_vote = node.term, node.vote
        effects.records = [Saved(log.snapshot, node.term, node.vote, rest, log.committed)]
        effects.checkpoint = True
        log.handed = log.last + 1

    def _restore(self, records: Sequence[Any], effects: Effects) -> None:
        node = self.node
        log = node.log
        committed = 0
        members = self._first_members
        for record in records:
            match record:
                case Voted():
                    node.term, node.vote = record.term, record.vote
                case Saved():
                    log.reset_to(record.snapshot)
                    members = record.snapshot.members
                    node.term, node.vote = record.term, record.vote
                    committed = record.commit
                    _replay(log, record.entries)
                case Appended():
                    _replay(log, record.entries)
                    committed = max(committed, record.commit)
                case _:
                    raise ConfigurationError(f"raft: {record!r} is no record of Raft. Give its own journal.")
        self._stored_term, self._stored_vote = node.term, node.vote
        log.committed = max(log.base, min(committed, log.last))
        log.applied = log.applying = log.base
        log.handed = log.stable = log.last + 1
        self._history = [(log.base, members)]
        replication.switch_members(node, members)
        node.become_follower(node.term, 0)
        if node.options.lease_reads:
            node.no_vote_until = node.now + node.options.election_s
        if log.snapshot is not None:
            effects.installed = Installed(log.snapshot.index, log.snapshot.state)

    # --- Effects ------------------------------------------------------------------------------------------------

    def _effects(self, effects: Effects) -> Effects:
        node = self.node
        log = node.log
        while True:
            if log.incoming is not None:
                self._take_snapshot(effects)
            while log.committed > log.applied:
                self._apply(effects)  # a change of members may commit more
            if log.handed <= log.last or node.vote != self._stored_vote or node.term != self._stored_term:
                self._record(effects)
            if not node.after or not self._release(effects):
                break
        if node.role is Role.CANDIDATE and node.messages:
            self._hold_requests(effects)
        if node.messages:
            # What need not wait leaves first; both lists were made for this event alone.
            effects.sends = node.messages + effects.sends if effects.sends else node.messages
            node.messages = []
        if effects.records and not effects.token:
            self._token += 1
            effects.token = self._token
        if node.read_states:
            effects.reads = [ReadAt(context, index) for index, context in node.read_states]
            node.read_states = []
        if self._lines:
            effects.trace = self._lines
            self._lines = []
        effects.wake_at = node.wake_at
        return effects

    def _hold_requests(self, effects: Effects) -> None:
        """A candidate asks for votes only when its term and its own vote are stored.

        Else it could win by the others' votes, send entries, crash, forget the term, and win the same term again with
        another log.
        """
        token = effects.token or self._token
        if token <= self._durable:
            return
        node = self.node
        node.messages = [
            (to, message, token if isinstance(message, VoteRequest) and not message.pre else 0)
            for to, message, _ in node.messages
        ]

    def _record(self, effects: Effects) -> None:
        node = self.node
        if node.vote != self._stored_vote or node.term != self._stored_term:
            self._stored_term, self._stored_vote = node.term, node.vote
            effects.records.append(Voted(node.term, node.vote))
        entries = node.log.take_unhanded()
        if entries:
            effects.records.append(Appended(entries, node.log.committed))

    def _release(self, effects: Effects) -> bool:
        """Marks what waits for the disk. Returns whether a message to itself was heard, which may change all again."""
        node = self.node
        if effects.records and not effects.token:
            self._token += 1
            effects.token = self._token
        token = self._token if self._token > self._durable else 0
        waiting, node.after = node.after, []
        if len(waiting) == 1 and waiting[0][0] != self.id:
            to, message = waiting[0]
            effects.sends.append((to, message, token))
            return False
        heard = False
        for to, message in waiting:
            if to != self.id:
                effects.sends.append((to, message, token))
            elif token:
                self._own.append((token, message))
            else:
                step(node, self.id, message)
                heard = True
        return heard

    def _take_snapshot(self, effects: Effects) -> None:
        node = self.node
        log = node.log
        taken = log.incoming
        assert taken is not None
        log.incoming = None
        log.applied = log.applying = taken.index
        self._history = [(taken.index, taken.members)]
        self._stored_term, self._stored_vote = node.term, node.vote
        effects.records = [Saved(taken, node.term, node.vote, (), taken.index)]
        effects.checkpoint = True
        effects.installed = Installed(taken.index, taken.state)

    def _apply(self, effects: Effects) -> None:
        node = self.node
        log = node.log
        base = log.base
        entries = log.entries[log.applied - base : log.committed - base]
        if len(entries) == 1 and entries[0].change is None and not node.members.autoleave:
            (entry,) = entries
            effects.decided.append(Decided(entry.index, entry.commands, entry.term))
            log.applied = log.applying = log.committed
            return
        for entry in entries:
            if entry.change is not None or node.members.autoleave:
                break
        else:
            decided = [Decided(entry.index, entry.commands, entry.term) for entry in entries]
            effects.decided = effects.decided + decided if effects.decided else decided
            log.applied = log.applying = log.committed
            return
        self._apply_one_by_one(entries, effects)

    def _apply_one_by_one(self, entries: list[Entry], effects: Effects) -> None:
        node = self.node
        for entry in entries:
            if entry.change is not None:
                before = node.members
                replication.apply_change(node, entry.change)
                if node.members is not before:
                    self._history.append((entry.index, node.members))
            effects.decided.append(Decided(entry.index, entry.commands, entry.term))
            applied_to(node, entry.index)

    def _say(self, level: int, text: str) -> None:
        assert self._lines is not None
        self._lines.append(Trace("log", {"level": _LEVELS[level], "text": text}))


def _replay(log: Log, entries: tuple[Entry, ...]) -> None:
    if not entries:
        return
    first = entries[0].index
    if not log.base < first <= log.last + 1:
        raise ConfigurationError(
            f"raft: the journal goes on at index {first} after {log.last}. It was cut or mixed up: "
            "start this replica anew, without a journal, as a new member."
        )
    del log.entries[first - log.base - 1 :]
    log.append(entries)


COSTS = Costs(
    messages=lambda n: 4 * (n - 1),
    delays=2,
    told=1,
    text="4(n-1) messages: entry, ack, commit index, ack; 2(n-1) with eager_commit off",
)

RAFT = ProtocolKind(
    name="raft",
    title="Raft",
    make=Raft,
    faults="crash",
    replicas=lambda f: 2 * f + 1,
    source="Ongaro, Ousterhout 2014",
    costs=COSTS,
    upkeep=UPKEEP,
)

__all__ = ["COSTS", "RAFT", "Raft", "RaftOptions", "Role"]
