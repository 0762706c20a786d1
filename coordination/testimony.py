"""What the messages of a Byzantine protocol testify: the hook by which the checker and accountability read them.

Rules:
* A *word* is one replica's signed statement that it backs a digest at a *ballot*. A ballot is where a correct replica
  backs one digest at most, in all its lives: (phase, view) of a chained protocol, (phase, view, slot) of PBFT,
  (phase, height, round) of Tendermint. Two words of one signer for two digests at one ballot prove that it lies.
* A *certificate* is a quorum of words for one digest at one ballot. There is one digest at most at each ballot.
* A word may also say what its signer thereby *locks* (a stance: a rank, that is a view, and a digest) and on what
  stance it is *based*. A correct replica never gives a word whose base lies below an earlier lock: its base has a
  higher rank, or the same rank and digest. That is the locking rule, and its breach, two signed words, is a proof too.
* Words that have an order are given in that order: who says something later, a timeout of a later view, say, does not
  go back.

How a protocol plugs in: write a `Reader` and name it in the `ProtocolKind` (`reader=...`). `words` and `certified`
say what a message holds, its certificates' words not among the `words` (the checker takes a certificate apart itself).
Where every digest that counts for locks is in the message itself, a reader keeps no state; where votes name blocks by
digest alone (HotStuff), it remembers the contents that passed by. Liars' messages pass by as well: a reader must not
raise, and the checker verifies every signature before it believes a word.

Source: Sheng, Wang, Nayak, Kannan, Viswanath, "BFT Protocol Forensics", CCS 2021.
"""

from collections.abc import Iterable
from typing import Any

import msgspec

from coordination.signature import Certificate, Signature, Statement

Ballot = tuple[str | int, ...]
"""The phase, then numbers that rise with time (view, slot; height, round)."""


class Stance(msgspec.Struct, frozen=True, gc=False):
    """A digest that was certified at a rank (a view or a round); the digest is empty where the rank alone counts."""

    rank: int
    digest: bytes


class Word(msgspec.Struct, frozen=True, gc=False):
    """One replica's signed statement that it backs `digest` at `ballot`."""

    ballot: Ballot
    digest: bytes
    statement: Statement
    signature: Signature
    order: tuple[int, ...] = ()
    """When it was given, among the words of its signer that have locks or bases: (view, phase's number), say."""
    scope: int = 0
    """Locks bind within one scope: the slot or height of protocols that decide each by itself."""
    locks: Stance | None = None
    based: Stance | None = None


class Certified(msgspec.Struct, frozen=True, gc=False):
    """A certificate as a message carries it. `word` is what each of its signers said; its signature is not used."""

    word: Word
    certificate: Certificate
    rests: Stance | None = None
    """What the certified digest builds on, if a certificate of a rank above a decision's must build on that one."""


class Reader:
    """Says what messages testify. This one knows of none; extend it. One serves all replicas of a run."""

    def words(self, message: Any) -> Iterable[Word]:
        """The signed words that a message holds, outside of certificates."""
        return ()

    def certified(self, message: Any) -> Iterable[Certified]:
        """The certificates that a message holds."""
        return ()

    def decision(self, protocol: Any) -> Stance | None:
        """What a replica that has just decided has decided last, for `Certified.rests`; None if it is not compared."""
        return None


def word_of(found: Certified, signature: Signature) -> Word:
    """What one signer of a certificate said."""
    word = found.word
    return Word(
        word.ballot,
        word.digest,
        word.statement,
        signature,
        word.order,
        word.scope,
        word.locks,
        word.based,
    )


def conflict(first: Word, second: Word) -> bool:
    """Whether two words of one signer prove that it lies: two digests at one ballot, or a broken lock."""
    if first.signature.signer != second.signature.signer:
        return False
    if first.ballot == second.ballot:
        return first.digest != second.digest
    if first.order > second.order:
        first, second = second, first
    if first.scope != second.scope or first.locks is None or second.based is None:
        return False
    return first.order < second.order and not stands(second.based, first.locks)


def stands(based: Stance, lock: Stance) -> bool:
    """Whether a base satisfies a lock."""
    return based.rank > lock.rank or (based.rank == lock.rank and based.digest == lock.digest)
