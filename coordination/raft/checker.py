"""A checker of Raft's properties, over history, at every step.

Rules (the properties of Ongaro 2014, figure 3.2, and what the protocol promises beside):
* One leader a term; one vote a term, across restarts; a request for votes, a vote and an acknowledgement leave only
  when what they say is stored.
* A leader only appends. Logs that agree at (index, term) agree below. No log is cut without a conflict, nor at or below
  the commit index. Later leaders hold every committed entry. No two replicas apply different entries at an index.
* A leader commits by counting only entries of its own term, and only what a quorum has *stored* (while joint, one in
  each half): the disks are followed, not the leader's belief.
* Term, commit and applied index never fall in a life; snapshot <= applied <= commit <= last.
* One unapplied change of members; every replica has the same configuration at the same index.
* A pre-vote raises no term; with check-quorum no leader goes on for an election timeout without hearing a quorum.
* A read is answered from a slot at or beyond all that were decided when it was asked. An installed state is the one
  that was compacted at that slot.

Costs: a step without entries is a few comparisons; an entry is looked at once for each replica that stores it and once
for each that applies it. History is kept for the whole run.
"""

from collections import deque
from typing import Any

from coordination.checker import violated
from coordination.protocol import (
    Compact,
    Decided,
    Effects,
    Event,
    Persisted,
    Protocol,
    Read,
    Receive,
    Restore,
    Tick,
)
from coordination.raft.membership import Members
from coordination.raft.messages import (
    Appended,
    AppendReply,
    Entry,
    HeartbeatReply,
    Saved,
    Voted,
    VoteReply,
    VoteRequest,
)
from coordination.raft.node import Node, Role
from coordination.raft.raft import Raft


class _Disk:
    """What one replica has handed to its disk, as terms by index, and how much of it is durable."""

    __slots__ = ("base", "base_term", "changes", "durable", "terms", "writing")

    def __init__(self) -> None:
        self.base = 0
        self.base_term = 0
        self.terms: list[int] = []
        self.durable = 0
        """The last index that is durable."""
        self.writing: deque[tuple[int, int]] = deque()
        """(token, first index) of entries under way."""
        self.changes: deque[int] = deque()
        """Where changes of members stand that may not be applied."""

    @property
    def last(self) -> int:
        return self.base + len(self.terms)

    def term_at(self, index: int) -> int | None:
        offset = index - self.base
        if 0 < offset <= len(self.terms):
            return self.terms[offset - 1]
        return self.base_term if offset == 0 else None

    def holds(self, index: int, term: int) -> bool:
        """Whether (index, term) is durable here, or stood for by a snapshot."""
        return index < self.base or (index <= self.durable and self.term_at(index) == term)

    def append(self, entries: tuple[Entry, ...]) -> None:
        first = entries[0].index
        if first <= self.last:
            del self.terms[first - self.base - 1 :]
            self.durable = min(self.durable, first - 1)
            self.writing = deque((token, min(begin, first)) for token, begin in self.writing)
            while self.changes and self.changes[-1] >= first:
                self.changes.pop()
        self.terms.extend([entry.term for entry in entries])
        self.changes.extend([entry.index for entry in entries if entry.change is not None])

    def save(self, record: Saved) -> None:
        index = record.snapshot.index
        kept = self.term_at(index) == record.snapshot.term
        self.base, self.base_term = index, record.snapshot.term
        self.terms = []
        self.changes.clear()
        durable = self.durable
        if record.entries:
            self.append(record.entries)
        # What a log already held is as durable as it was; another's state is not durable yet.
        self.durable = min(durable, self.last) if kept else 0

    def settle(self, token: int) -> None:
        writing = self.writing
        settled = False
        while writing and writing[0][0] <= token:
            writing.popleft()
            settled = True
        if settled:
            self.durable = writing[0][1] - 1 if writing else self.last


class _View:
    """One replica, as it was after the last step."""

    __slots__ = (
        "applied",
        "clock",
        "commit",
        "disk",
        "heard",
        "leads",
        "members",
        "term",
        "votes_under_way",
    )

    def __init__(self) -> None:
        self.disk = _Disk()
        self.term = 0
        self.commit = 0
        self.applied = 0
        self.clock = 0.0
        """When a leader last asked itself whether it hears from a quorum, by its own clock."""
        self.leads = False
        self.members = Members()
        self.votes_under_way: list[tuple[int, int, int]] = []
        """(token, term, for whom)."""
        self.heard: set[int] = set()
        """From whom a leader heard since it last asked itself."""


class RaftChecker:
    """Watches one run of Raft. A `Checker`."""

    def __init__(self) -> None:
        self._views: dict[int, _View] = {}
        self._leaders: dict[int, int] = {}
        self._votes: dict[tuple[int, int], int] = {}
        self._entries: dict[tuple[int, int], tuple[int, Entry]] = {}
        """Every entry ever stored, by (index, term), and the term before it."""
        self._chosen: list[tuple[int, int, tuple[Any, ...]]] = []
        """What was decided, by slot from 1: the entry's term, the term in which it was decided first, the commands."""
        self._unseen = 0
        """Slots at the beginning that nobody decided in sight: a first snapshot stands for them."""
        self._configurations: dict[int, Members] = {}
        self._states: dict[int, Any] = {}
        self._reads: dict[tuple[int, str], int] = {}

    def observe(self, now: float, replica: int, protocol: Protocol, event: Event, effects: Effects) -> None:
        """See `Checker`."""
        assert isinstance(protocol, Raft), "this checker knows Raft alone"
        node = protocol.node
        view = self._views.get(replica)
        if view is None:
            view = self._views[replica] = _View()
        if isinstance(event, Receive):
            self._received(now, replica, view, node, event)
        elif isinstance(event, Persisted):
            self._persisted(now, replica, view, event.token)
        elif isinstance(event, Tick):
            self._ticked(now, replica, view, node, event.now)
        elif isinstance(event, Restore):
            self._restored(view, event.records)
        elif isinstance(event, Read):
            self._reads[replica, repr(event.context)] = self._decided_to
        elif isinstance(event, Compact) and effects.records:
            self._states[event.slot] = event.state
        if effects.records:
            self._stored(now, replica, view, node, effects)
        if effects.sends:
            self._sent(now, replica, view, effects)
        if effects.installed is not None:
            self._installed(now, replica, view, effects)
        if effects.decided:
            leads = view.leads or node.role is Role.LEADER
            self._decided(now, replica, node, leads, effects.decided)
        if effects.reads:
            self._read(now, replica, effects)
        told = effects.installed is not None or isinstance(event, Restore)
        self._compare(now, replica, view, protocol, told)

    def finish(self) -> None:
        """See `Checker`: all is judged as it happens."""

    @property
    def _decided_to(self) -> int:
        return self._unseen + len(self._chosen)

    # --- Events -------------------------------------------------------------------------------------------------

    def _restored(self, view: _View, records: Any) -> None:
        disk = view.disk = _Disk()
        commit = 0
        for record in records:
            if isinstance(record, Saved):
                disk.save(record)
                commit = record.commit
            elif isinstance(record, Appended):
                disk.append(record.entries)
                commit = max(commit, record.commit)
        disk.durable = disk.last
        view.commit = view.applied = disk.base
        view.leads = False
        view.votes_under_way = []
        view.term = max([record.term for record in records if isinstance(record, Voted | Saved)], default=0)

    def _persisted(self, now: float, replica: int, view: _View, token: int) -> None:
        if view.disk.writing:
            view.disk.settle(token)
        votes = view.votes_under_way
        while votes and votes[0][0] <= token:
            _, term, to = votes.pop(0)
            self._cast(now, replica, term, to)

    def _received(self, now: float, replica: int, view: _View, node: Node, event: Receive) -> None:
        message = event.message
        if isinstance(message, AppendReply | HeartbeatReply):
            if view.leads and message.term == view.term:
                view.heard.add(event.source)
        elif isinstance(message, VoteRequest) and message.pre and node.term != view.term:
            raise violated("a pre-vote raises no term", now, replica, before=view.term, after=node.term)

    def _ticked(self, now: float, replica: int, view: _View, node: Node, local: float) -> None:
        if node.role is not Role.LEADER or not view.leads or not node.options.check_quorum:
            return
        overdue = node.election_start + 2 * node.options.election_s
        asked = node.election_start != view.clock
        silent = asked and not node.members.quorum.is_quorum({*view.heard, replica})
        if silent or local > overdue:
            raise violated(
                "a leader that hears from no quorum steps down", now, replica, heard=sorted(view.heard)
            )
        if asked:
            view.heard.clear()

    # --- Effects ------------------------------------------------------------------------------------------------

    def _stored(self, now: float, replica: int, view: _View, node: Node, effects: Effects) -> None:
        disk = view.disk
        for record in effects.records:
            if isinstance(record, Appended):
                self._appended(now, replica, view, node, record.entries)
                disk.append(record.entries)
                disk.writing.append((effects.token, record.entries[0].index))
            elif isinstance(record, Saved):
                if record.snapshot.index > view.commit and record.snapshot.index > node.log.committed:
                    raise violated(
                        "a snapshot is of committed entries", now, replica, snapshot=record.snapshot.index
                    )
                stored = disk.last
                disk.save(record)
                if record.entries and record.entries[-1].index > stored:
                    self._appended(now, replica, view, node, record.entries)
                if effects.installed is not None:
                    disk.writing = deque([(effects.token, record.snapshot.index)])
        if len(disk.changes) > 1:
            while disk.changes and disk.changes[0] <= node.log.applied:
                disk.changes.popleft()
            if len(disk.changes) > 1:
                raise violated("one unapplied change of members", now, replica, at=list(disk.changes))

    def _appended(
        self, now: float, replica: int, view: _View, node: Node, entries: tuple[Entry, ...]
    ) -> None:
        disk = view.disk
        first = entries[0].index
        if first <= disk.last:
            if first <= view.commit:
                raise violated("nothing is cut at or below the commit index", now, replica, at=first)
            if disk.term_at(first) == entries[0].term:
                raise violated("no entry is cut without a conflict", now, replica, at=first, last=disk.last)
            if view.leads and node.role is Role.LEADER and view.term == node.term:
                raise violated("a leader only appends", now, replica, at=first, last=disk.last)
        elif first > disk.last + 1:
            raise violated("a log has no gaps", now, replica, at=first, last=disk.last)
        before = disk.term_at(first - 1)
        known = self._entries
        for entry in entries:
            assert before is not None
            found = known.get((entry.index, entry.term))
            if found is None:
                known[entry.index, entry.term] = (before, entry)
            elif found[0] != before or (
                found[1] is not entry
                and (found[1].commands != entry.commands or found[1].change != entry.change)
            ):
                raise violated(
                    "logs that agree at an index and term agree below",
                    now,
                    replica,
                    here=entry,
                    elsewhere=found[1],
                    terms_before=(before, found[0]),
                )
            before = entry.term

    def _sent(self, now: float, replica: int, view: _View, effects: Effects) -> None:
        for to, message, token in effects.sends:
            kind = type(message)
            if kind is AppendReply:
                if not message.rejected:
                    self._acknowledged(now, replica, view, message.index, token)
            elif kind is VoteRequest and not message.pre and token < effects.token:
                raise violated("a candidate asks when its vote is stored", now, replica, term=message.term)
            elif kind is VoteReply and not message.pre and not message.rejected:
                if token and token >= effects.token:
                    view.votes_under_way.append((token, message.term, to))
                elif any(isinstance(record, Voted) for record in effects.records):
                    raise violated("a vote leaves only when it is stored", now, replica, term=message.term)
                else:
                    self._cast(now, replica, message.term, to)

    def _acknowledged(self, now: float, replica: int, view: _View, index: int, token: int) -> None:
        for writing, first in reversed(view.disk.writing):
            if writing <= token:
                return
            if first <= index:
                raise violated(
                    "an acknowledgement leaves only when it is stored",
                    now,
                    replica,
                    index=index,
                    waits_for=token,
                    stored_with=writing,
                )

    def _cast(self, now: float, replica: int, term: int, to: int) -> None:
        if self._votes.setdefault((replica, term), to) != to:
            raise violated("one vote a term", now, replica, term=term, votes=(self._votes[replica, term], to))

    def _installed(self, now: float, replica: int, view: _View, effects: Effects) -> None:
        assert effects.installed is not None
        slot, state = effects.installed.slot, effects.installed.state
        view.applied = max(view.applied, slot)
        if not self._chosen:
            self._unseen = max(self._unseen, slot)
        if slot > self._decided_to:
            raise violated("a snapshot is of decided slots", now, replica, slot=slot)
        if slot in self._states and self._states[slot] != state:
            raise violated("an installed state is the one compacted", now, replica, slot=slot)

    def _decided(self, now: float, replica: int, node: Node, leads: bool, decided: list[Decided]) -> None:
        chosen = self._chosen
        for one in decided:
            place = one.slot - self._unseen - 1
            if place >= len(chosen):
                if not leads:
                    raise violated("nothing is committed before a leader knows", now, replica, slot=one.slot)
                chosen.append((one.proof, node.term, one.commands))
                continue
            if place < 0:
                continue
            entry_term, _, commands = chosen[place]
            if entry_term != one.proof or (commands is not one.commands and commands != one.commands):
                raise violated(
                    "no two replicas apply different entries at an index",
                    now,
                    replica,
                    slot=one.slot,
                    here=(one.proof, one.commands),
                    elsewhere=(entry_term, commands),
                )

    def _read(self, now: float, replica: int, effects: Effects) -> None:
        for answer in effects.reads:
            asked = self._reads.pop((replica, repr(answer.context)), 0)
            if answer.slot < asked:
                rule = "a read sees all that was decided before it was asked"
                raise violated(rule, now, replica, answered=answer.slot, decided=asked)

    # --- The state after the step -------------------------------------------------------------------------------

    def _compare(self, now: float, replica: int, view: _View, protocol: Raft, told: bool) -> None:
        node = protocol.node
        log = node.log
        if node.term < view.term or log.committed < view.commit or log.applied < view.applied:
            raise violated(
                "term, commit and applied index never fall",
                now,
                replica,
                before=(view.term, view.commit, view.applied),
                after=(node.term, log.committed, log.applied),
            )
        if not log.base <= log.applied <= log.committed <= log.last:
            raise violated(
                "snapshot <= applied <= commit <= last",
                now,
                replica,
                indexes=(log.base, log.applied, log.committed, log.last),
            )
        if log.last != view.disk.last:
            raise violated(
                "no entry is cut without a conflict", now, replica, last=log.last, stored=view.disk.last
            )
        leads = node.role is Role.LEADER
        if leads:
            self._leads(now, replica, view, node)
        elif node.role is Role.CANDIDATE and node.votes.get(replica):
            self._cast(now, replica, node.term, replica)
        if log.committed > view.commit and (leads or (view.leads and node.term == view.term)):
            self._committed(now, replica, view, node)
        if node.members is not view.members:
            self._configured(now, replica, protocol, told)
            view.heard.update(set(node.members.everybody) - set(view.members.everybody))
            view.members = node.members
        view.term, view.commit, view.applied, view.leads = node.term, log.committed, log.applied, leads
        view.clock = node.election_start

    def _leads(self, now: float, replica: int, view: _View, node: Node) -> None:
        if not view.leads or view.term != node.term:
            view.heard = set()
            if self._leaders.setdefault(node.term, replica) != replica:
                raise violated(
                    "one leader a term",
                    now,
                    replica,
                    term=node.term,
                    leaders=(self._leaders[node.term], replica),
                )
            self._complete(now, replica, node)
        own = node.progress.get(replica)
        if (
            own is not None
            and own.match > view.disk.durable
            and node.log.term_at(own.match)
            == node.term  # older entries commit by those of its term, or not at all
        ):
            raise violated(
                "a leader counts itself only when it has stored",
                now,
                replica,
                counts=own.match,
                stored=view.disk.durable,
            )

    def _complete(self, now: float, replica: int, node: Node) -> None:
        """Later leaders hold every committed entry; by log matching it is enough to look at the last of them."""
        place = len(self._chosen) - 1
        while place >= 0 and self._chosen[place][1] >= node.term:
            place -= 1
        if place < 0:
            return
        slot = place + self._unseen + 1
        if slot >= node.log.base and node.log.term_at(slot) != self._chosen[place][0]:
            facts = {"slot": slot, "here": node.log.term_at(slot), "committed": self._chosen[place][0]}
            raise violated("later leaders hold every committed entry", now, replica, **facts)

    def _committed(self, now: float, replica: int, view: _View, node: Node) -> None:
        index = node.log.committed
        term = node.log.term_at(index)
        if term != node.term:
            raise violated(
                "only entries of the present term commit by counting", now, replica, index=index, term=term
            )
        disks = self._views
        for members in (node.members, view.members):
            holders = [
                member
                for member in members.all_voters
                if member in disks and disks[member].disk.holds(index, term)
            ]
            if members.voters and members.quorum.is_quorum(holders):
                return
        raise violated(
            "what commits is stored by a quorum",
            now,
            replica,
            index=index,
            term=term,
            stored_by=holders,
            members=str(node.members),
        )

    def _configured(self, now: float, replica: int, protocol: Raft, told: bool) -> None:
        index, members = protocol.configuration
        changes = self._configurations
        known = changes.get(index)
        if known is None and told:
            # A snapshot tells the members at its index: those of the last change before it.
            known = changes.get(max((one for one in changes if one <= index), default=index))
        if known is None:
            changes[index] = members
        elif known != members:
            facts = {"index": index, "here": str(members), "elsewhere": str(known)}
            raise violated(
                "every replica has the same configuration at the same index", now, replica, **facts
            )
