"""What the messages of chained protocols testify: see `coordination.testimony`.

Rules:
* Votes name a block by its digest; what a vote locks and rests on stands in the block. So the reader remembers of each
  block that passed by its certificate and its parent's.
* In HotStuff a vote rests on the block's certificate and locks the parent's. In Jolteon a vote locks the block's
  certificate, and a timeout rests on the highest certificate that it names. In Streamlet a vote for a block at a height
  shows that the signer saw a notarised chain of the height below: it locks that and rests on it, whichever chain it is.
"""

from collections.abc import Iterable, Sequence
from enum import Enum
from typing import Any

from coordination.chain.block import (
    PROPOSE,
    QC,
    TC,
    TIMEOUT,
    VOTE,
    Block,
    Blocks,
    Notice,
    Proposal,
    Timeout,
    Vote,
    propose_statement,
    timeout_statement,
    vote_statement,
)
from coordination.signature import Signature
from coordination.testimony import Certified, Reader, Stance, Word

_NOBODY = Signature(-1, b"")


class Locking(Enum):
    """What votes lock and rest on."""

    PARENT = "the certificate of the grandparent"
    TIMEOUTS = "the certificate of the parent, as timeouts must name it"
    HEIGHT = "the height of the parent"


class ChainReader(Reader):
    """Reads the messages of one chained protocol."""

    def __init__(self, locking: Locking) -> None:
        self._locking = locking
        self._blocks: dict[bytes, tuple[int, Stance, bytes]] = {}
        """Of each block its height, what its certificate certifies, and its parent."""
        self._certificates: set[int] = set()

    def words(self, message: Any) -> Iterable[Word]:
        """See `Reader`."""
        kind = type(message)
        if kind is Vote:
            return (self._vote(message.view, message.digest, message.signature),)
        if kind is Proposal:
            self._remember(message.block)
            view, digest = message.block.view, message.block.digest
            statement = propose_statement(view, digest)
            word = Word((PROPOSE, view), digest, statement, message.signature)
            return (word, *self._given_up(message.tc))
        if kind is Timeout:
            word = self._timeout(message.view, message.high.view, message.signature)
            return (word, *self._given_up(message.tc))
        if kind is Notice:
            return self._given_up(message.tc)
        if kind is Block:
            self._remember(message)
        elif kind is Blocks:
            for block in message.blocks:
                self._remember(block)
        return ()

    def certified(self, message: Any) -> Sequence[Certified]:
        """See `Reader`."""
        kind = type(message)
        if kind is Proposal:
            return self._certified(message.block.justify)
        if kind in (Timeout, Notice):
            return self._certified(message.high)
        if kind is Blocks:
            return [found for block in message.blocks for found in self._certified(block.justify)]
        return ()

    def _remember(self, block: Block) -> None:
        if block.digest not in self._blocks:
            justify = block.justify
            self._blocks[block.digest] = (block.height, Stance(justify.view, justify.digest), justify.digest)

    def _certified(self, qc: QC) -> tuple[Certified, ...]:
        if qc.view <= 0:
            return ()
        known = self._blocks.get(qc.digest)
        rests = None if known is None else known[1]
        return (Certified(self._vote(qc.view, qc.digest, _NOBODY), qc.certificate, rests),)

    def decision(self, protocol: Any) -> Stance | None:
        """The last committed block."""
        committed: Block = protocol.tree.committed
        return Stance(committed.view, committed.digest)

    def _vote(self, view: int, digest: bytes, signature: Signature) -> Word:
        locks, based = self._stances(digest)
        return Word(
            (VOTE, view),
            digest,
            vote_statement(view, digest),
            signature,
            (view, 0),
            locks=locks,
            based=based,
        )

    def _stances(self, digest: bytes) -> tuple[Stance | None, Stance | None]:
        """What a vote for this block locks, and on what it rests, as far as is known."""
        known = self._blocks.get(digest)
        if known is None:
            return None, None
        height, justify, parent = known
        if self._locking is Locking.HEIGHT:
            below = Stance(height - 1, b"")
            return below, below
        if self._locking is Locking.TIMEOUTS:
            return Stance(justify.rank, b""), None
        before = self._blocks.get(parent)
        return (None if before is None else before[1]), justify

    def _timeout(self, view: int, high: int, signature: Signature) -> Word:
        # By ranks alone: a timeout is signed with the view of its certificate, and of each view there is but one.
        based = Stance(high, b"") if self._locking is Locking.TIMEOUTS else None
        statement = timeout_statement(view, high)
        return Word((TIMEOUT, view), b"%d" % high, statement, signature, (view, 1), based=based)

    def _given_up(self, tc: TC | None) -> Iterable[Word]:
        """The words in a timeout certificate, the first of its view that passes by."""
        if tc is None or tc.view in self._certificates:
            return ()
        self._certificates.add(tc.view)
        return [
            self._timeout(tc.view, high, signature)
            for high, part in tc.parts
            for signature in part.signatures
        ]
