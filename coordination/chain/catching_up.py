"""Fetching the blocks that a replica missed.

Rules:
* Only what a quorum certified is fetched: its ancestors hang on it by their digests, so whoever sends them cannot lie.
* Blocks come in rising order from the last that the asker has, so that each can be checked and committed as it comes,
  and at most `MOST_BLOCKS` or two batches of commands in one message.
* One fetch runs at a time, for the highest certificate known. After `wait_s` without an answer another replica is
  asked: who told of it first, then its signers in turn, of whom f + 1 at least are correct and have the block.
* A useless answer (a snapshot that too few vouch for yet) has another asked at once; but when as many were asked so as
  have signed, the time-out is waited for: else replicas that are not of one mind would be asked without end.
"""

from coordination.chain.block import QC, Block, Blocks, Fetch
from coordination.chain.tree import Tree
from coordination.protocol import NEVER
from coordination.quorum import Threshold
from coordination.signature import Scheme

MOST_BLOCKS = 64


class Fetcher:
    """What this replica is looking for, if anything."""

    def __init__(self, me: int, tree: Tree, *, wait_s: float, batch: int) -> None:
        self.goal: QC | None = None
        self.deadline = NEVER
        self._me = me
        self._tree = tree
        self._wait_s = wait_s
        self._batch = batch
        self._have: Block = tree.committed
        self._asked = 0
        self._hurried = 0
        """How many were asked at once since the last time-out."""

    def want(self, certificate: QC, source: int, now: float) -> tuple[int, Fetch] | None:
        """A certified block is missing. Whom to ask what, if it is a new goal."""
        if certificate.digest in self._tree or (self.goal and self.goal.view >= certificate.view):
            return None
        self.goal = certificate
        self._have = self._tree.committed
        self._asked = self._hurried = 0
        if source == self._me:
            return self.retry(now)
        return (source, self._ask(now))

    def another(self, now: float) -> tuple[int, Fetch] | None:
        """A useless answer came: whom to ask at once, if not all were since the last time-out."""
        hurried = self._hurried + 1
        if self.goal is not None and hurried > len(self.goal.certificate.signers):
            return None
        request = self.retry(now)
        self._hurried = hurried
        return request

    def retry(self, now: float) -> tuple[int, Fetch] | None:
        """No answer came in time: whom to ask now."""
        self._hurried = 0
        if self.goal is None or self.goal.view <= self._tree.committed.view:
            self.stop()
            return None
        signers = [signer for signer in self.goal.certificate.signers if signer != self._me]
        self._asked += 1
        self._have = self._tree.committed
        return (signers[self._asked % len(signers)], self._ask(now))

    def more(self, source: int, last: Block, now: float) -> tuple[int, Fetch] | None:
        """An answer brought blocks up to this one: what to ask its sender next, unless that was all, or nothing new."""
        goal = self.goal
        # A certified block that is missing and no later than the committed one is on a branch that is dead.
        if goal is None or goal.digest in self._tree or goal.view <= self._tree.committed.view:
            self.stop()
            return None
        if last.digest not in self._tree or last.height <= self._have.height:
            return None
        self._have = last
        return (source, self._ask(now))

    def stop(self) -> None:
        """Nothing is missing any more."""
        self.goal = None
        self.deadline = NEVER

    def _ask(self, now: float) -> Fetch:
        assert self.goal is not None
        self.deadline = now + self._wait_s
        return Fetch(self.goal.digest, self._have.digest, self._have.height)

    def answer(self, request: Fetch) -> Blocks | None:
        """What another replica asked for, as far as it is here and fits into a message."""
        path = self._tree.path(request.target, request.have, request.height)
        if not path:
            return None
        blocks: list[Block] = []
        commands = 0
        for block in path[:MOST_BLOCKS]:
            commands += len(block.commands)
            if blocks and commands > 2 * self._batch:
                break
            blocks.append(block)
        rest = path[len(blocks) :]
        return Blocks(tuple(blocks), rest[0].justify if rest else None)


def is_chain(answer: Blocks, goal: QC, scheme: Scheme, quorum: Threshold) -> bool:
    """Whether blocks hang together up to one that a quorum certified: the goal, or as the answer shows."""
    last = goal if answer.certificate is None else answer.certificate
    if not answer.blocks or len(answer.blocks) > MOST_BLOCKS or answer.blocks[-1].digest != last.digest:
        return False
    for block, child in zip(answer.blocks, answer.blocks[1:], strict=False):
        if child.parent != block.digest:
            return False
    return last.holds(scheme, quorum) and all(block.justify.holds(scheme, quorum) for block in answer.blocks)
