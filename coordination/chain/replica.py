"""A replica of a chained protocol: proposals, votes, views and commits, with the protocol's own rules plugged in.

Rules:
* A leader proposes one block a view, on the highest certificate it knows, if there is work: commands wait, or known
  blocks with commands are not committed yet (empty blocks push them through). Once that is done the chain is quiet:
  the leader tells the last certificate, and no view changes and no timer runs until new commands come. Only a `Ping`
  is sent to one other replica after each `heartbeat` delays of silence, so that who missed the end learns of it.
* After a timeout certificate the next leader proposes in any case, as that is how the others learn that its view began.
* What a vote or a timeout promises is a record that comes before it, and so is the block: after a restart the replica
  votes for nothing else in that view, and knows what it locked. It counts its own vote only when it could be sent.
* A certificate is taken from whatever message brings it. Blocks below it that are missing are fetched.
* Commands go to the leader, and to each next leader until they stand in a block; when the wait for a decision ends in
  vain they go to all, so that all wait for them (as PBFT's clients do).

What the rules of a protocol say (`Rules`): for which block a replica may vote, what it locks by that, how many
certified blocks in consecutive views commit the first, and whether timeouts go to the next leader or to all.
"""

from typing import TYPE_CHECKING, Any

from coordination.chain.block import (
    GENESIS_QC,
    MESSAGES,
    QC,
    RECORDS,
    TC,
    Block,
    Blocks,
    Fetch,
    Forward,
    Life,
    Notice,
    Ping,
    Proposal,
    Snapshot,
    Standing,
    Timeout,
    Vote,
    timeout_statement,
    vote_statement,
)
from coordination.chain.checkpoint import Checkpointer
from coordination.chain.pacemaker import Pacemaker, is_signed
from coordination.chain.rules import Options, Rules
from coordination.chain.store import Store
from coordination.chain.tally import Tally
from coordination.protocol import (
    Compact,
    Effects,
    Event,
    Persisted,
    Propose,
    Protocol,
    Receive,
    Restore,
    Setting,
    Tick,
    Wire,
    options_from,
)
from coordination.signature import certificate

if TYPE_CHECKING:
    from collections.abc import Callable


class ChainReplica(Protocol):
    """A replica of a chained protocol with these rules."""

    wire = MESSAGES
    records = RECORDS

    def __init__(self, setting: Setting, rules: Rules) -> None:
        options: Options = options_from(Options, setting)
        self.id = setting.id
        self.setting = setting
        self.rules = rules
        self.store = Store(setting, options.capacity)
        self.tree = self.store.tree
        self.high = GENESIS_QC
        """The highest certificate known."""
        self.lock = GENESIS_QC
        self.voted = 0
        """The last view in which it voted or gave up."""
        self.pace = Pacemaker(
            self.store.quorum,
            span=options.span or rules.chain + 1,
            wait_s=options.patience * setting.delay_s,
            doublings=options.doublings,
        )
        self._checkpoints = Checkpointer(self.store)
        self._out = self.store.out
        self._options = options
        self._votes: Tally[tuple[int, bytes], Vote] = Tally()
        self._waiting: Proposal | None = None
        self._timeout: Timeout | None = None
        self._timeout_token = 0
        self._proposed = 0
        self._told = 0
        self._quiet_until = 0.0
        self._asked = 0
        self._now = 0.0
        self._events: dict[type[Any], Callable[[Any], None]] = {
            Receive: self._receive,
            Tick: self._tick,
            Propose: self._take_commands,
            Persisted: self._persisted,
            Restore: self._restore,
            Compact: self._compact,
        }
        self._messages: dict[type[Any], Callable[[int, Any], None]] = {
            Proposal: self._on_proposal,
            Vote: self._on_vote,
            Timeout: self._on_timeout,
            Notice: self._on_notice,
            Ping: self._on_ping,
            Forward: self._on_forward,
            Fetch: self._on_fetch,
            Blocks: self._on_blocks,
            Snapshot: self._on_snapshot,
        }

    @property
    def leader(self) -> int | None:
        """Of the present view."""
        return self.pace.leader(self.pace.view)

    def handle(self, event: Event) -> Effects:
        """See `Protocol`."""
        out = self._out.begin()
        self._now = event.now
        take = self._events.get(type(event))
        if take is not None:
            take(event)
        while (own := self._out.next_own()) is not None:
            self._messages[type(own)](self.id, own)
        busy = self.store.busy
        wake = min(self.pace.attend(event.now, busy), self.store.fetcher.deadline)
        if not busy and self._options.heartbeat:
            wake = min(wake, self._quiet_until)
        out.wake_at = wake
        return out

    # --- Events ---------------------------------------------------------------------------------------------------

    def _receive(self, event: Receive) -> None:
        take = self._messages.get(type(event.message))
        if take is not None:
            take(event.source, event.message)

    def _persisted(self, event: Persisted) -> None:
        self._out.durable(event.token)

    def _take_commands(self, event: Propose) -> None:
        if self.store.offer(event):
            self._hand_over()

    def _tick(self, event: Tick) -> None:
        now = event.now
        # A clock that was reckoned from another may be a rounding error short of the deadline that it was set for.
        now += 1e-9 * max(abs(now), self.setting.delay_s)
        self.store.retry(now)
        if self.pace.deadline <= now:
            self._give_up()
        if not self.store.busy and self._options.heartbeat and self._quiet_until <= now:
            self._heard()
            self._asked += 1
            members = self.setting.members
            peer = members[(members.index(self.id) + self._asked) % len(members)]
            self._out.send(peer, Ping(self.pace.view, self.high.view))

    def _heard(self) -> None:
        self._quiet_until = self._now + self._options.heartbeat * self.setting.delay_s

    def _restore(self, event: Restore) -> None:
        """Goes through what is durable again; every effect of it but the decisions was had in an earlier life."""
        lives = 0
        view = 1
        for record in event.records:
            kind = type(record)
            if kind is Block:
                self._learn(record)
                if record.proposer == self.id:
                    self._proposed = max(self._proposed, record.view)
            elif kind is Vote:
                self.voted = max(self.voted, record.view)
                block = self.tree.get(record.digest)
                if block is not None:
                    self._lock_by(block)
            elif kind is Timeout:
                self.voted = max(self.voted, record.view)
                self._timeout = record
                self._note_high(record.high)
            elif kind is TC and (self.pace.tc is None or record.view > self.pace.tc.view):
                self.pace.tc = record
                view = max(view, record.view + 1)
            elif kind is Life:
                lives = max(lives, record.number)
            elif kind is Snapshot:
                self._checkpoints.restore(record)
                self._note_high(record.certificate)
            elif kind is Standing:
                self.voted = max(self.voted, record.voted)
                self._proposed = max(self._proposed, record.proposed)
                self.lock = record.lock
                self._note_high(record.high)
        self.pace.enter(max(view, self.voted, self.high.view + 1))
        self.store.born(lives)
        self._quiet_until = self._now
        if not lives:
            self._heard()

    # --- Commands -------------------------------------------------------------------------------------------------

    def _hand_over(self) -> None:
        """Lets the leader know of own commands."""
        leader = self.pace.leader(self.pace.view)
        if leader == self.id:
            self._propose()
        else:
            self.store.tell(leader, self.high.digest)

    def _on_forward(self, source: int, message: Forward) -> None:
        if self.store.hear(source, message):
            self._propose()

    # --- Proposals and votes --------------------------------------------------------------------------------------

    def _propose(self) -> None:
        """Proposes, if this replica leads, has not yet, may, and there is work."""
        view = self.pace.view
        if self._proposed >= view or self.pace.leader(view) != self.id or self.voted >= view:
            return
        entry = None if self.high.view == view - 1 else self.pace.entry
        parent = self.tree.get(self.high.digest)
        if parent is None or (entry is None and self.high.view != view - 1):
            return
        if entry is None and not self.store.busy:
            self._tell()
            return
        self._proposed = view
        block = self.store.make(view, parent, self.high)
        if block is None:
            return
        proposal = self.store.sign(block)
        if entry is not None:
            proposal = Proposal(block, proposal.signature, entry)
        self._out.broadcast(proposal, self._out.token)
        self._out.trace("propose", view=view, height=block.height, commands=len(block.commands))
        self._vote(proposal)

    def _tell(self) -> None:
        """The chain goes quiet: the others must learn of the last certificate, which no proposal will bring."""
        if self.high.view > self._told:
            self._told = self.high.view
            self._out.broadcast(Notice(self.high, self.pace.entry))

    def _on_proposal(self, source: int, proposal: Proposal) -> None:
        block, tc = proposal.block, proposal.tc
        view, justify = block.view, block.justify
        if view <= self.tree.committed.view or (view < self.pace.view and block.digest in self.tree):
            return
        if justify.view != view - 1 and (tc is None or tc.view != view - 1):
            return
        if block.proposer != self.pace.leader(view) or not self.store.is_signed(proposal):
            return
        scheme, quorum = self.setting.scheme, self.store.quorum
        if not justify.holds(scheme, quorum) or not (tc is None or tc.holds(scheme, quorum)):
            return
        self._heard()
        first = self.store.is_first(proposal)
        if tc is not None:
            self._enter_by(tc)
        self._see(justify, source)
        if not first:
            return
        if block.parent not in self.tree:
            self.store.want(justify, source, self._now)
            if self._waiting is None or view > self._waiting.block.view:
                self._waiting = proposal
            return
        if self._learn(block):
            self._vote(proposal)

    def _vote(self, proposal: Proposal) -> None:
        """Votes for a known block, if the rules allow it."""
        block, tc = proposal.block, proposal.tc
        view = block.view
        if view != self.pace.view or view <= self.voted:
            return
        if not self.rules.may_vote(self.tree, self.lock, block, tc) or not self.store.acceptable(block):
            return
        vote = Vote(view, block.digest, self.setting.scheme.sign(self.id, vote_statement(view, block.digest)))
        self.voted = view
        self._lock_by(block)
        self._out.send(self.pace.leader(view + 1), vote, self._out.persist(vote))

    def _lock_by(self, block: Block) -> None:
        lock = self.rules.locks(self.tree, block)
        if lock.view > self.lock.view:
            self.lock = lock

    def _on_vote(self, source: int, vote: Vote) -> None:
        view, signer = vote.view, vote.signature.signer
        if (
            view <= self.high.view
            or self.pace.leader(view + 1) != self.id
            or signer not in self.store.members
        ):
            return
        if not self.setting.scheme.verify(vote_statement(view, vote.digest), vote.signature):
            return
        before = self._votes.at(signer, view)
        if before is not None and before.digest != vote.digest:
            self._out.accuse(signer, before, vote)
            return
        votes = self._votes.add(signer, view, (view, vote.digest), vote)
        if len(votes) >= self.store.quorum.needed:
            signed = certificate(self.setting.scheme, [one.signature for one in votes.values()])
            self._see(QC(view, vote.digest, signed), signer)

    # --- Certificates and commits ---------------------------------------------------------------------------------

    def _see(self, qc: QC, source: int) -> None:
        """Takes a checked certificate: higher, maybe; committing, maybe; ending the view, maybe."""
        if qc.view <= self.high.view:
            return
        self._note_high(qc)
        if qc.digest in self.tree:
            self._commit_by(qc)
        else:
            self.store.want(qc, source, self._now)
        self._enter(qc.view + 1)

    def _note_high(self, qc: QC) -> None:
        if qc.view > self.high.view:
            self.high = qc
            self.store.tip = qc.digest

    def _learn(self, block: Block) -> bool:
        """Adds a block whose parent is known and certified by its `justify`. Whether it is in the tree now."""
        if not self.store.learn(block):
            return False
        self._note_high(block.justify)
        self._commit_by(block.justify)
        return block.digest in self.tree

    def _commit_by(self, qc: QC) -> None:
        """Commits what this certificate of a known block completes."""
        head = self.rules.committed(self.tree, qc)
        if head is not None and self.store.commit(head, qc):
            self.pace.progress()

    # --- Views ----------------------------------------------------------------------------------------------------

    def _enter(self, view: int) -> None:
        if view <= self.pace.view:
            return
        before = self.pace.leader(self.pace.view)
        self.pace.enter(view)
        leader = self.pace.leader(view)
        if leader == self.id:
            self._propose()
        elif leader != before and self.store.pool:
            self._hand_over()

    def _enter_by(self, tc: TC) -> None:
        """Takes a checked timeout certificate."""
        if tc.view < self.pace.view:
            return
        if self.pace.tc is None or tc.view > self.pace.tc.view:
            self.pace.tc = tc
            self._out.persist(tc)
            self._enter(tc.view + 1)

    def _give_up(self) -> None:
        """The wait has ended: no vote in this span any more, and a timeout to the next leader, later to all."""
        view = self.pace.last(self.pace.view)
        self.pace.strike(self._now)
        timeout = self._timeout
        if timeout is None or timeout.view != view:
            signature = self.setting.scheme.sign(self.id, timeout_statement(view, self.high.view))
            timeout = self._timeout = Timeout(view, self.high, signature, self.pace.entry)
            self.voted = max(self.voted, view)
            self._timeout_token = self._out.persist(timeout)
        self._out.trace("timeout", view=view, attempts=self.pace.attempts)
        token = self._timeout_token
        first = self.pace.attempts == 1
        if first and not self.rules.all_to_all:
            self._out.send(self.pace.leader(view + 1), timeout, token)
        else:
            self._out.broadcast(timeout, token)
            self._out.send(self.id, timeout, token)
        if first:
            for other in self.setting.members:
                self.store.tell(other, self.high.digest)
        else:
            self.store.tell_all()

    def _on_timeout(self, source: int, timeout: Timeout) -> None:
        view, signer = timeout.view, timeout.signature.signer
        if view < self.pace.view:
            self._inform(source)
            return
        if signer not in self.store.members:
            return
        if self.pace.knows(signer, view):
            if timeout.high.view < self.high.view:
                self._inform(source)
            return
        if not is_signed(timeout, self.setting.scheme) or not self._take(timeout.high, timeout.tc, source):
            return
        if view != self.pace.last(self.pace.view):
            return
        if not self.store.busy and timeout.high.view < self.high.view:
            self._inform(source)
        count = self.pace.count(timeout)
        if count > self.store.f and (self._timeout is None or self._timeout.view < view):
            self._give_up()
        if count >= self.store.quorum.needed:
            tc = self.pace.certify(view, self.setting.scheme)
            if tc is not None:
                self._enter_by(tc)

    def _take(self, high: QC, tc: TC | None, source: int) -> bool:
        """Takes certificates that came with a message, if they hold."""
        scheme = self.setting.scheme
        if not high.holds(scheme, self.store.quorum) or not (
            tc is None or tc.holds(scheme, self.store.quorum)
        ):
            return False
        self._see(high, source)
        if tc is not None:
            self._enter_by(tc)
        return True

    def _inform(self, replica: int) -> None:
        if replica != self.id:
            self._out.send(replica, Notice(self.high, self.pace.entry))

    def _on_notice(self, source: int, notice: Notice) -> None:
        if self._take(notice.high, notice.tc, source):
            self._told = max(self._told, notice.high.view)
            self._heard()

    def _on_ping(self, source: int, ping: Ping) -> None:
        if ping.view < self.pace.view or ping.high < self.high.view:
            self._inform(source)

    # --- Catching up ----------------------------------------------------------------------------------------------

    def _on_fetch(self, source: int, request: Fetch) -> None:
        snapshot = self._checkpoints.snapshot
        if snapshot is not None and request.height < self.tree.floor:
            self._out.send(source, snapshot)
        else:
            self.store.serve(source, request)

    def _on_snapshot(self, source: int, snapshot: Snapshot) -> None:
        if self._checkpoints.offer(source, snapshot, self._standing()):
            self._note_high(snapshot.certificate)
            self._enter(snapshot.certificate.view + 1)
            self.store.fetcher.stop()
            self.store.want(self.high, source, self._now)
        else:
            self.store.ask_another(self._now)

    def _compact(self, event: Compact) -> None:
        self._checkpoints.compact(event.slot, event.state, self._standing())

    def _standing(self) -> list[Wire]:
        """What binds this replica, as records."""
        records: list[Wire] = [Standing(self.voted, self._proposed, self.lock, self.high)]
        if self.pace.tc is not None:
            records.append(self.pace.tc)
        if self._timeout is not None:
            records.append(self._timeout)
        return records

    def _on_blocks(self, source: int, answer: Blocks) -> None:
        blocks = self.store.checked(answer)
        for block in blocks:
            self._learn(block)
        if blocks and self.store.go_on(source, blocks[-1], self._now):
            self._caught_up()

    def _caught_up(self) -> None:
        if self.high.digest in self.tree:
            self._commit_by(self.high)
        waiting, self._waiting = self._waiting, None
        if waiting is not None and waiting.block.parent in self.tree and self._learn(waiting.block):
            self._vote(waiting)
        self._propose()
