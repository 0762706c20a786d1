"""Streamlet: the teaching baseline. Time makes the views, everybody votes to everybody, and one rule decides.

Rules:
* Time is cut into epochs of 2 delays by the replica's clock. The leader of an epoch, drawn by a hash, proposes a block
  that extends one of the longest notarised chains it knows.
* Vote, to all, for the first proposal of the epoch's leader, in its epoch, if it extends one of the longest notarised
  chains that this replica has seen. A block with the votes of n - f is notarised.
* Three blocks of consecutive epochs in a row, all notarised, finalise the middle one and all before it.
* A leader proposes only while commands wait, or stand in blocks that are not final. Else the chain is quiet.

Beside the paper: (1) a proposal carries its parent's certificate, so that who missed votes sees the parent notarised,
and a replica that refuses a proposal for a shorter chain shows its longest; with that the form without `echo` lives.
With `echo` every replica passes each proposal and vote on to all once, as the paper has it. (2) Its clocks agree by
assumption. Here, when nothing is decided for `heartbeat` delays, replicas tell all what their clocks show, and each
goes by the median of all: with at most f that lie, it is between the clocks of honest ones. A replica votes in rising
epochs only, whatever its clock does.

Not responsive: an epoch takes 2 delays however fast the network is, and the delay must cover the disk too. When clocks
agree and the network is well, a block is final after 3 epochs in a row with honest leaders if no liar interferes, else
after 5 (theorem 3 of the paper), which a hash with f < n/3 brings within 38 epochs on average at the worst.

Costs for each block, n replicas:

    messages         (n-1)(n+1)     the block to all, every vote to all; with echo (n-1)^2 (n+1)
    delays           6              of the bound: three epochs; a block in a running chain needs 4
    authenticators   (n-1)(n+2)     a signature and the parent's combined certificate in a proposal, one in each vote
    view change      none

Source: Chan, Shi, "Streamlet: textbook streamlined blockchains", AFT 2020 (ePrint 2020/088).
"""

from dataclasses import dataclass
from math import isfinite
from statistics import median
from typing import TYPE_CHECKING, Any

from coordination.chain.block import (
    GENESIS,
    GENESIS_QC,
    MESSAGES,
    QC,
    RECORDS,
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
    Vote,
    vote_statement,
)
from coordination.chain.checkpoint import Checkpointer
from coordination.chain.reader import ChainReader, Locking
from coordination.chain.store import Store
from coordination.chain.tally import Tally
from coordination.protocol import (
    NEVER,
    Compact,
    Costs,
    Effects,
    Event,
    Persisted,
    Propose,
    Protocol,
    ProtocolKind,
    Receive,
    Restore,
    Setting,
    Tick,
    Wire,
    options_from,
)
from coordination.quorum import byzantine
from coordination.signature import certificate, digest

if TYPE_CHECKING:
    from collections.abc import Callable

FIRST = 2
"""The epoch at time 0. That of genesis, 0, is not next to it, so all blocks have the same way to finality."""
_MARGIN = 1e-6
"""An epoch is longer than 2 delays by this share, so that votes which take exactly the bound come before its end."""
WINDOW = 8
"""Of so many epochs in a row each replica's vote is kept."""


@dataclass(frozen=True)
class Options:
    """Settings of Streamlet. Times are multiples of `Setting.delay_s`."""

    echo: bool = False
    """Whether every replica passes on what it hears for the first time."""
    heartbeat: float = 20.0
    """After how long without a decision, or without work, to ask others for news; 0: never."""
    capacity: int = 100_000
    """Most commands that wait here: own ones, and others'."""


class Streamlet(Protocol):
    """A replica of Streamlet."""

    wire = MESSAGES
    records = RECORDS

    def __init__(self, setting: Setting) -> None:
        options: Options = options_from(Options, setting)
        self.id = setting.id
        self.setting = setting
        self.store = Store(setting, options.capacity)
        self.tree = self.store.tree
        self.epoch = FIRST
        self.voted = 0
        """The last epoch in which it voted."""
        self.longest: tuple[Block, QC] = (GENESIS, GENESIS_QC)
        """The end of the longest notarised chain, the latest of several, and its certificate."""
        self._checkpoints = Checkpointer(self.store)
        self._out = self.store.out
        self._options = options
        self._epoch_s = 2 * setting.delay_s * (1 + _MARGIN)
        self._shift_s = 0.0
        """What is added to the clock."""
        self._votes: list[Tally[tuple[int, bytes], Vote]] = [Tally() for _ in range(WINDOW)]
        self._early: Proposal | None = None
        self._shown = 0
        self._proposed = 0
        self._quiet_until = 0.0
        self._asked = 0
        self._clocks: dict[int, float] = {}
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
            Notice: self._on_notice,
            Ping: self._on_ping,
            Forward: self._on_forward,
            Fetch: self._on_fetch,
            Blocks: self._on_blocks,
            Snapshot: self._on_snapshot,
        }

    @property
    def leader(self) -> int | None:
        """Of the present epoch."""
        return leader_of(self.epoch, self.setting.members)

    def handle(self, event: Event) -> Effects:
        """See `Protocol`."""
        out = self._out.begin()
        self._now = event.now
        take = self._events.get(type(event))
        if take is not None:
            take(event)
        while (own := self._out.next_own()) is not None:
            self._messages[type(own)](self.id, own)
        out.wake_at = min(
            self._starts(self.epoch + 1) if self.store.busy else NEVER,
            self.store.fetcher.deadline,
            self._quiet_until if self._options.heartbeat else NEVER,
        )
        return out

    # --- Time -------------------------------------------------------------------------------------------------

    def _starts(self, epoch: int) -> float:
        """When an epoch starts, by the clock that events show."""
        return (epoch - FIRST) * self._epoch_s - self._shift_s

    def _look(self) -> None:
        """Takes note of the time: a new epoch may have begun."""
        elapsed = self._now + self._shift_s
        self.epoch = max(1, int((elapsed + 1e-9 * max(abs(elapsed), self._epoch_s)) // self._epoch_s) + FIRST)

    def _tick(self, event: Tick) -> None:
        before = self.epoch
        self._look()
        now = event.now + 1e-9 * max(abs(event.now), self._epoch_s)
        self.store.retry(now)
        if self._options.heartbeat and self._quiet_until <= now:
            self._ask_for_news()
        if self.epoch != before:
            self._begin_epoch()

    def _begin_epoch(self) -> None:
        early, self._early = self._early, None
        self._propose()
        if early is not None and early.block.view >= self.epoch:
            self._on_proposal(early.block.proposer, early)

    def _ask_for_news(self) -> None:
        """Nothing was decided for long: tells all what the clock shows, if there is work; else asks one other."""
        self._heard()
        ping = Ping(self.epoch, self.longest[1].view, self._now + self._shift_s)
        if self.store.busy:
            self._adjust()
            self._out.broadcast(ping)
            self.store.tell_all()
            return
        self._asked += 1
        members = self.setting.members
        self._out.send(members[(members.index(self.id) + self._asked) % len(members)], ping)

    def _adjust(self) -> None:
        """Goes by the median of all clocks that were told since the last time, its own among them."""
        if len(self._clocks) + 1 >= self.store.quorum.needed:
            shift = median([0.0, *self._clocks.values()])
            if abs(shift) > self.setting.delay_s / 2:
                self._shift_s += shift
                self._look()
        self._clocks.clear()

    def _heard(self) -> None:
        self._quiet_until = self._now + self._options.heartbeat * self.setting.delay_s

    # --- Events -----------------------------------------------------------------------------------------------

    def _receive(self, event: Receive) -> None:
        take = self._messages.get(type(event.message))
        if take is not None:
            take(event.source, event.message)

    def _persisted(self, event: Persisted) -> None:
        self._out.durable(event.token)

    def _take_commands(self, event: Propose) -> None:
        if self.store.offer(event):
            for other in self.setting.members:
                self.store.tell(other, self.longest[0].digest)
            self._look()
            self._propose()

    def _restore(self, event: Restore) -> None:
        """Goes through what is durable again."""
        lives = 0
        for record in event.records:
            kind = type(record)
            if kind is Block:
                self._learn(record)
                if record.proposer == self.id:
                    self._proposed = max(self._proposed, record.view)
            elif kind is Vote:
                self.voted = max(self.voted, record.view)
            elif kind is Snapshot:
                self._checkpoints.restore(record)
                self._rebase(record)
            elif kind is Standing:
                self.voted = max(self.voted, record.voted)
                self._proposed = max(self._proposed, record.proposed)
            elif kind is Life:
                lives = max(lives, record.number)
        self.store.born(lives)
        self._look()
        self._heard()
        if lives:
            self._quiet_until = self._now

    def _compact(self, event: Compact) -> None:
        self._checkpoints.compact(event.slot, event.state, self._standing())

    def _standing(self) -> list[Wire]:
        return [Standing(self.voted, self._proposed, GENESIS_QC, self.longest[1])]

    def _on_forward(self, source: int, message: Forward) -> None:
        self.store.hear(source, message)

    # --- Proposals and votes ----------------------------------------------------------------------------------

    def _propose(self) -> None:
        """Proposes, if this replica leads the epoch, has not yet, and there is work."""
        epoch = self.epoch
        if self._proposed >= epoch or self.leader != self.id or self.voted >= epoch or not self.store.busy:
            return
        # In the midst of an epoch its votes would come too late for the next leader to build on it.
        if self._now - self._starts(epoch) > _MARGIN * self._epoch_s:
            return
        parent, justify = self.longest
        if parent.view >= epoch:
            return
        self._proposed = epoch
        block = self.store.make(epoch, parent, justify)
        if block is not None:
            proposal = self.store.sign(block)
            self._out.broadcast(proposal, self._out.token)
            self._out.trace("propose", epoch=epoch, height=block.height, commands=len(block.commands))
            self._vote(block)

    def _on_proposal(self, source: int, proposal: Proposal) -> None:
        self._look()
        block, epoch = proposal.block, proposal.block.view
        if epoch <= self.tree.committed.view or block.digest in self.tree:
            return
        if block.proposer != leader_of(epoch, self.setting.members) or not self.store.is_signed(proposal):
            return
        if not block.justify.holds(self.setting.scheme, self.store.quorum):
            return
        if epoch > self.epoch:
            if epoch == self.epoch + 1:
                self._early = proposal
            return
        first = self.store.is_first(proposal)
        self._echo(source, proposal)
        self._notarise(block.justify, source)
        if first and block.parent in self.tree and self._learn(block):
            self._vote(block)

    def _vote(self, block: Block) -> None:
        """Votes for a known block, if the rules allow it."""
        epoch = block.view
        if epoch != self.epoch or epoch <= self.voted:
            return
        longest, certified = self.longest
        if block.height <= longest.height:
            if certified.view > self._shown:
                self._shown = certified.view
                self._out.broadcast(Notice(certified))
            return
        if not self.store.acceptable(block):
            return
        signature = self.setting.scheme.sign(self.id, vote_statement(epoch, block.digest))
        vote = Vote(epoch, block.digest, signature)
        self.voted = epoch
        token = self._out.persist(vote)
        self._out.broadcast(vote, token)
        self._out.send(self.id, vote, token)

    def _on_vote(self, source: int, vote: Vote) -> None:
        view, signer = vote.view, vote.signature.signer
        tally = self._votes[view % WINDOW]
        if view <= self.tree.committed.view or signer not in self.store.members:
            return
        before = tally.at(signer, view)
        if before is not None and before.digest == vote.digest:
            return
        if not self.setting.scheme.verify(vote_statement(view, vote.digest), vote.signature):
            return
        if before is not None:
            self._out.accuse(signer, before, vote)
            return
        votes = tally.add(signer, view, (view, vote.digest), vote)
        self._echo(source, vote)
        if len(votes) == self.store.quorum.needed:
            signed = certificate(self.setting.scheme, [one.signature for one in votes.values()])
            self._notarise(QC(view, vote.digest, signed), signer)

    def _echo(self, source: int, message: Proposal | Vote) -> None:
        """Passes on what was heard for the first time, to all who are not known to have it."""
        if self._options.echo and source != self.id:
            author = message.signature.signer
            for member in self.setting.members:
                if member not in (self.id, author):
                    self._out.send(member, message)

    # --- Notarised chains -------------------------------------------------------------------------------------

    def _notarise(self, qc: QC, source: int) -> None:
        """Takes a checked certificate: a chain may be longer now, and three blocks in a row may be complete."""
        block = self.tree.get(qc.digest)
        if block is None:
            if qc.view > self.tree.committed.view:
                self.store.want(qc, source, self._now)
            return
        longest = self.longest[0]
        if (block.height, block.view) > (longest.height, longest.view):
            self.longest = (block, qc)
            self.store.tip = qc.digest
        if self.tree.run(qc, 3) is not None:
            middle = self.tree.get(block.parent)
            if middle is not None and self.store.commit(middle, qc):
                self._heard()

    def _learn(self, block: Block) -> bool:
        """Adds a block whose parent is known; whether it is in the tree now. Votes for it may have come before it."""
        if not self.store.learn(block):
            return False
        self._notarise(block.justify, self.id)
        votes = self._votes[block.view % WINDOW].of((block.view, block.digest))
        if len(votes) >= self.store.quorum.needed:
            signed = certificate(self.setting.scheme, [one.signature for one in votes.values()])
            self._notarise(QC(block.view, block.digest, signed), self.id)
        return block.digest in self.tree

    def _on_notice(self, source: int, notice: Notice) -> None:
        if notice.high.holds(self.setting.scheme, self.store.quorum):
            self._shown = max(self._shown, notice.high.view)
            self._notarise(notice.high, source)

    def _on_ping(self, source: int, ping: Ping) -> None:
        if source in self.store.members and isfinite(ping.clock):
            self._clocks[source] = ping.clock - (self._now + self._shift_s) + self.setting.delay_s / 2
        if ping.high < self.longest[1].view:
            self._out.send(source, Notice(self.longest[1]))

    # --- Catching up ------------------------------------------------------------------------------------------

    def _on_fetch(self, source: int, request: Fetch) -> None:
        snapshot = self._checkpoints.snapshot
        if snapshot is not None and request.height < self.tree.floor:
            self._out.send(source, snapshot)
        else:
            self.store.serve(source, request)

    def _on_blocks(self, source: int, answer: Blocks) -> None:
        goal = self.store.fetcher.goal
        blocks = self.store.checked(answer)
        for block in blocks:
            self._learn(block)
        if blocks and goal is not None and self.store.go_on(source, blocks[-1], self._now):
            self._notarise(goal, source)

    def _on_snapshot(self, source: int, snapshot: Snapshot) -> None:
        goal = self.store.fetcher.goal
        if not self._checkpoints.offer(source, snapshot, self._standing()):
            self.store.ask_another(self._now)
            return
        self._rebase(snapshot)
        self.store.fetcher.stop()
        if goal is not None:
            self._notarise(goal, source)

    def _rebase(self, snapshot: Snapshot) -> None:
        if snapshot.block.height > self.longest[0].height or self.longest[0].digest not in self.tree:
            self.longest = (snapshot.block, snapshot.certificate)
            self.store.tip = snapshot.block.digest


def leader_of(epoch: int, members: tuple[int, ...]) -> int:
    """Who leads an epoch: drawn by a hash that everybody knows."""
    return members[int.from_bytes(digest(("streamlet", epoch))[:8], "big") % len(members)]


STREAMLET = ProtocolKind(
    name="streamlet",
    title="Streamlet",
    make=Streamlet,
    faults="byzantine",
    replicas=lambda f: 3 * f + 1,
    source="Chan, Shi 2020",
    costs=Costs(
        messages=lambda n: (n - 1) * (n + 1),
        delays=6,
        authenticators=lambda n: (n - 1) * (n + 2),
        text="(n-1)(n+1) messages, (n-1)(n+2) authenticators a block; echoed (n-1)^2 (n+1) messages",
    ),
    quorums=byzantine,
    reader=lambda: ChainReader(Locking.HEIGHT),
)
