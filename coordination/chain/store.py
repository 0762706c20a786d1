"""The blocks that a replica knows, the commands that wait, and how it gets what it lacks of either.

Rules:
* A block that is learnt is a record of the event in which it came, before the vote that may follow.
* Decisions come from the tree alone, in the order of heights: a block's height is its slot.
* What is proposed and voted for is a batch at most, of members' clients, new to the chain, and valid to the
  application.
* The chain is busy while commands wait, or stand in blocks that are not committed.
"""

from coordination.chain.block import (
    GENESIS,
    PROPOSE,
    QC,
    Block,
    Blocks,
    Bundle,
    Fetch,
    Forward,
    Life,
    Proposal,
    propose_statement,
)
from coordination.chain.catching_up import Fetcher, is_chain
from coordination.chain.mempool import Mempool
from coordination.chain.outbox import Outbox
from coordination.chain.tree import Tree
from coordination.protocol import Command, Propose, Rejected, Setting
from coordination.quorum import byzantine

BIRTH = 1
"""The token of a life's first record. Serials of a life must be its alone, so no bundle leaves before that."""


class Store:
    """One replica's part of the chain."""

    def __init__(self, setting: Setting, capacity: int) -> None:
        self.setting = setting
        self.id = setting.id
        self.members = frozenset(setting.members)
        self.quorum = byzantine(setting.members)
        self.f = len(setting.members) - self.quorum.needed
        self.out = Outbox(setting)
        self.tree = Tree()
        self.pool = Mempool(setting.id, len(setting.members), batch=setting.batch, capacity=capacity)
        self.fetcher = Fetcher(setting.id, self.tree, wait_s=3 * setting.delay_s, batch=setting.batch)
        self.life = Life(0)
        self.tip = GENESIS.digest
        """The block that this replica would build on."""
        self._seen: dict[int, Proposal] = {}

    @property
    def busy(self) -> bool:
        """Whether there is something to decide."""
        return bool(self.tree.unsettled or self.pool)

    def born(self, lives: int) -> None:
        """A life begins, after so many others. To be called at the end of a `Restore`."""
        self.life = Life(lives + 1)
        self.pool.begin_life(lives + 1)
        self.out.effects.records.clear()
        self.out.persist(self.life)

    # --- Blocks -----------------------------------------------------------------------------------------------

    def learn(self, block: Block) -> bool:
        """Adds a block whose certificate was checked. Whether it is in the tree now."""
        if block.digest in self.tree:
            return True
        if not self.tree.insert(block):
            return False
        self.out.persist(block)
        self.tree.thin_out(self.tip)
        return True

    def commit(self, block: Block, proof: QC) -> bool:
        """Decides a block and all before it. Whether there was anything to decide."""
        if block.height <= self.tree.committed.height:
            return False
        for one in self.tree.commit(block):
            self.pool.settle(one)
            self.out.decide(one.height, one.commands, proof)
        for view in [view for view in self._seen if view <= self.tree.committed.view]:
            del self._seen[view]
        return True

    def make(self, view: int, parent: Block, justify: QC) -> Block | None:
        """A new block of this replica on a known one, with what waits; None if it cannot be stored."""
        chain = self.tree.uncommitted(parent.digest)
        block = Block(view, parent.height + 1, self.id, justify, self._choose(chain))
        return block if self.learn(block) else None

    def sign(self, block: Block) -> Proposal:
        """A proposal of this replica's own block, without a timeout certificate."""
        proposal = Proposal(
            block, self.setting.scheme.sign(self.id, propose_statement(block.view, block.digest))
        )
        self._seen[block.view] = proposal
        return proposal

    def is_signed(self, proposal: Proposal) -> bool:
        """Whether its proposer signed it."""
        block, signature = proposal.block, proposal.signature
        return signature.signer == block.proposer and self.setting.scheme.verify(
            (PROPOSE, block.view, block.digest), signature
        )

    def is_first(self, proposal: Proposal) -> bool:
        """Whether this is the view's first block. Accuses the proposer of another.

        One block a view is all that a proposer can make others store; a later one comes only if a quorum certified it.
        """
        first = self._seen.setdefault(proposal.block.view, proposal)
        if first.block.digest == proposal.block.digest:
            return True
        self.out.accuse(proposal.block.proposer, first, proposal)
        return False

    def acceptable(self, block: Block) -> bool:
        """Whether its commands may be decided: see the module."""
        return not block.bundles or (
            len(block.commands) <= self.setting.batch
            and block.origins <= self.members
            and not self.pool.repeats(block, self.tree.uncommitted(block.parent))
            and self.setting.valid(block.commands)
        )

    def _choose(self, chain: list[Block]) -> tuple[Bundle, ...]:
        """Bundles for the next block. If they are not valid together, one alone; what is not valid alone is dropped."""
        bundles = self.pool.take(chain)
        if not bundles or self.setting.valid(_commands(bundles)):
            return bundles
        for bundle in bundles:
            if self.setting.valid(bundle.commands):
                return (bundle,)
            self.pool.drop((bundle,))
            if bundle.origin == self.id:
                self.out.effects.rejected.append(Rejected(bundle.commands))
        return ()

    # --- Commands ---------------------------------------------------------------------------------------------

    def offer(self, event: Propose) -> bool:
        """Takes clients' commands, or rejects them: they are not valid, or too many wait already."""
        if event.commands and self.setting.valid(event.commands) and self.pool.offer(event.commands):
            return True
        if event.commands:
            self.out.effects.rejected.append(Rejected(event.commands))
        return False

    def hear(self, source: int, message: Forward) -> bool:
        """Takes bundles that another replica hands over. Whether any was new."""
        news = 0
        for bundle in message.bundles:
            # What voters refuse in a block must not get into one.
            if bundle.origin in self.members and self.setting.valid(bundle.commands):
                news += self.pool.hear(source, bundle)
        return news > 0

    def tell(self, replica: int, tip: bytes) -> None:
        """Hands own bundles to a replica that was not told of them, but for those on the chain to `tip`."""
        bundles = self.pool.untold(replica, self.tree.uncommitted(tip))
        if bundles:
            self.out.send(replica, Forward(bundles), BIRTH)

    def tell_all(self) -> None:
        """Hands the oldest of whatever waits, or of blocks that are not committed, to all."""
        bundles = self.pool.oldest() or tuple(
            bundle for block in self.tree.pending for bundle in block.bundles
        )
        if bundles:
            self.out.broadcast(Forward(bundles), BIRTH)

    # --- Catching up ------------------------------------------------------------------------------------------

    def want(self, certificate: QC, source: int, now: float) -> None:
        """A certified block is missing, of which `source` told."""
        self._ask(self.fetcher.want(certificate, source, now))

    def retry(self, now: float) -> None:
        """Asks another replica, if the last was silent for too long."""
        if self.fetcher.deadline <= now:
            self._ask(self.fetcher.retry(now))

    def ask_another(self, now: float) -> None:
        """Asks another replica at once, within limits."""
        self._ask(self.fetcher.another(now))

    def serve(self, source: int, request: Fetch) -> None:
        """Answers a replica that lacks blocks."""
        answer = self.fetcher.answer(request)
        if answer is not None:
            self.out.send(source, answer)

    def checked(self, answer: Blocks) -> tuple[Block, ...]:
        """The blocks of an answer to what was asked, if they hold."""
        goal = self.fetcher.goal
        if goal is None or not is_chain(answer, goal, self.setting.scheme, self.quorum):
            return ()
        return answer.blocks

    def go_on(self, source: int, last: Block, now: float) -> bool:
        """Asks for more after an answer. True if all is there."""
        self._ask(self.fetcher.more(source, last, now))
        return self.fetcher.goal is None

    def _ask(self, request: tuple[int, Fetch] | None) -> None:
        if request is not None:
            self.out.send(*request)


def _commands(bundles: tuple[Bundle, ...]) -> tuple[Command, ...]:
    return tuple(command for bundle in bundles for command in bundle.commands)
