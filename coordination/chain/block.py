"""Blocks, certificates and messages of the chained protocols.

Rules:
* A block names its parent by digest and carries the certificate of that parent: a chain of blocks is a chain of
  certificates. A block's digest covers all but the certificate's signatures, so it is the same with any quorum of them.
* A digest, and whether a certificate holds, are functions of content that never changes. They are worked out once for
  an object and kept on it; what comes over a wire is a new object, and is worked out anew. (In one process all replicas
  check with the same public keys, so the first check of a shared object serves them all.)
* A bundle is what one replica's clients asked for at once. Its name is (origin, serial); the serials of an origin rise
  through all its lives.

Sources: Yin et al., "HotStuff", PODC 2019, sections 4 to 6; Gelashvili et al., arXiv 2106.10362.
"""

from functools import cached_property
from typing import Any

from coordination.protocol import Command, Wire
from coordination.quorum import Threshold
from coordination.signature import Certificate, Scheme, Signature, Statement, certifies, digest

Name = tuple[int, int]
"""Of a bundle: (origin, serial)."""

VOTE = "vote"
PROPOSE = "propose"
TIMEOUT = "timeout"


def vote_statement(view: int, block: bytes) -> Statement:
    """What a vote signs."""
    return (VOTE, view, block)


def propose_statement(view: int, block: bytes) -> Statement:
    """What a proposal signs."""
    return (PROPOSE, view, block)


def timeout_statement(view: int, high: int) -> Statement:
    """What a timeout signs: the view given up, and the view of the highest certificate its signer has."""
    return (TIMEOUT, view, high)


class Bundle(Wire, frozen=True, gc=False, tag="b"):
    """Commands that one replica's clients asked for, to be decided together and in this order."""

    origin: int
    serial: int
    commands: tuple[Command, ...]

    @property
    def name(self) -> Name:
        """(origin, serial)."""
        return (self.origin, self.serial)


class QC(Wire, frozen=True, gc=True, dict=True, tag="q"):
    """A quorum certificate: a quorum's votes for one block in one view."""

    view: int
    digest: bytes
    certificate: Certificate

    @property
    def authenticators(self) -> int:
        """See `Wire`."""
        return self.certificate.authenticators

    def holds(self, scheme: Scheme, quorum: Threshold) -> bool:
        """Whether a quorum signed it. The certificate of genesis, which nobody signed, holds by definition."""
        if self.view <= 0:
            return self.view == 0 and self.digest == GENESIS.digest and not self.certificate.signatures
        known: dict[str, Any] = self.__dict__
        if known.get("quorum") != quorum:
            signers = certifies(scheme, vote_statement(self.view, self.digest), self.certificate)
            if not quorum.is_quorum(set(signers)):
                return False
            known["quorum"] = quorum
        return True


class TC(Wire, frozen=True, gc=True, dict=True, tag="t"):
    """A timeout certificate: a quorum gave a view up. One certificate for each view of a highest certificate named."""

    view: int
    parts: tuple[tuple[int, Certificate], ...]

    @property
    def authenticators(self) -> int:
        """See `Wire`."""
        return sum(part.authenticators for _, part in self.parts)

    @cached_property
    def high(self) -> int:
        """The view of the highest certificate that its signers had."""
        return max((high for high, _ in self.parts), default=0)

    def holds(self, scheme: Scheme, quorum: Threshold) -> bool:
        """Whether a quorum signed it, each replica once."""
        known: dict[str, Any] = self.__dict__
        if known.get("quorum") != quorum:
            signers = [
                signer
                for high, part in self.parts
                for signer in certifies(scheme, timeout_statement(self.view, high), part)
            ]
            if len(set(signers)) != sum(len(part.signatures) for _, part in self.parts):
                return False
            if not quorum.is_quorum(set(signers)):
                return False
            known["quorum"] = quorum
        return True


class Block(Wire, frozen=True, gc=True, dict=True, tag="B"):
    """Commands, and where in the chain they stand. As a record: this block is known and its parent too."""

    view: int
    height: int
    proposer: int
    justify: QC
    """Certifies the parent."""
    bundles: tuple[Bundle, ...]

    @property
    def parent(self) -> bytes:
        """The parent's digest."""
        return self.justify.digest

    @cached_property
    def digest(self) -> bytes:
        """SHA-256 of all but the signatures in `justify`."""
        return digest(
            (self.view, self.height, self.proposer, self.justify.view, self.justify.digest, self.bundles)
        )

    @cached_property
    def commands(self) -> tuple[Command, ...]:
        """All of them, in order."""
        if len(self.bundles) == 1:
            return self.bundles[0].commands
        return tuple(command for bundle in self.bundles for command in bundle.commands)

    @cached_property
    def names(self) -> dict[Name, None]:
        """Of its bundles, in order."""
        return dict.fromkeys(bundle.name for bundle in self.bundles)

    @cached_property
    def origins(self) -> frozenset[int]:
        """Whose clients' commands it holds."""
        return frozenset(bundle.origin for bundle in self.bundles)

    @property
    def authenticators(self) -> int:
        """See `Wire`."""
        return self.justify.authenticators


# --- Messages and records -----------------------------------------------------------------------------------------


class Proposal(Wire, frozen=True, gc=False, tag="P"):
    """A leader's block, with the timeout certificate that lets it start its view, if one does."""

    block: Block
    signature: Signature
    tc: TC | None = None

    @property
    def authenticators(self) -> int:
        """See `Wire`."""
        return 1 + self.block.authenticators + (0 if self.tc is None else self.tc.authenticators)


class Vote(Wire, frozen=True, gc=False, tag="V"):
    """A vote for a block. As a record: this replica votes for nothing else in this view or an earlier one."""

    view: int
    digest: bytes
    signature: Signature

    @property
    def authenticators(self) -> int:
        """See `Wire`."""
        return 1


class Timeout(Wire, frozen=True, gc=False, tag="T"):
    """A replica gives a view up, and says what it knows. As a record: it votes in this view no more."""

    view: int
    high: QC
    signature: Signature
    tc: TC | None = None
    """How its sender entered the view, if not by `high`."""

    @property
    def authenticators(self) -> int:
        """See `Wire`."""
        return 1 + self.high.authenticators + (0 if self.tc is None else self.tc.authenticators)


class Notice(Wire, frozen=True, gc=False, tag="N"):
    """The highest certificates that its sender has: for who missed them, or a decision that no proposal will tell."""

    high: QC
    tc: TC | None = None

    @property
    def authenticators(self) -> int:
        """See `Wire`."""
        return self.high.authenticators + (0 if self.tc is None else self.tc.authenticators)


class Ping(Wire, frozen=True, gc=False, tag="I"):
    """A replica that has heard nothing for long asks for news, if there is any."""

    view: int
    high: int
    """The view of its sender's highest certificate."""
    clock: float = 0.0
    """What its sender's clock shows, where clocks matter."""


class Life(Wire, frozen=True, gc=False, tag="L"):
    """As a record only: this life of this replica began. They are counted from 1."""

    number: int


class Standing(Wire, frozen=True, gc=False, tag="S"):
    """As a record only, behind a snapshot: what binds a replica by its earlier votes."""

    voted: int
    proposed: int
    lock: QC
    high: QC


class Snapshot(Wire, frozen=True, gc=False, tag="c"):
    """The application's state after a block. As a record: the start of all that follows."""

    block: Block
    certificate: QC
    """Of the block."""
    state: Any
    names: tuple[Name, ...]
    """Of the bundles decided last, in the chain's order."""

    @property
    def authenticators(self) -> int:
        """See `Wire`."""
        return self.certificate.authenticators + self.block.authenticators


class Forward(Wire, frozen=True, gc=False, tag="F"):
    """Bundles for the mempool of whoever leads or will lead."""

    bundles: tuple[Bundle, ...]


class Fetch(Wire, frozen=True, gc=False, tag="f"):
    """Asks for the ancestors of a certified block, that block included, from above one that its sender has."""

    target: bytes
    have: bytes
    height: int
    """Of `have`."""


class Blocks(Wire, frozen=True, gc=False, tag="s"):
    """Answers `Fetch`: blocks in rising order, each the next one's parent."""

    blocks: tuple[Block, ...]
    certificate: QC | None
    """Of the last, if that is not what was asked for."""

    @property
    def authenticators(self) -> int:
        """See `Wire`."""
        last = 0 if self.certificate is None else self.certificate.authenticators
        return last + sum(block.authenticators for block in self.blocks)


NOBODY = QC(0, b"", Certificate(()))
GENESIS = Block(0, 0, -1, NOBODY, ())
"""Every chain's first block; all replicas have it."""
GENESIS_QC = QC(0, GENESIS.digest, Certificate(()))

MESSAGES: tuple[type[Wire], ...] = (
    Proposal,
    Vote,
    Timeout,
    Notice,
    Ping,
    Forward,
    Fetch,
    Blocks,
    Snapshot,
)
RECORDS: tuple[type[Wire], ...] = (Life, Block, TC, Standing)
