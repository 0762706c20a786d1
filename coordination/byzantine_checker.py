"""What every Byzantine protocol must keep, checked after each event; and who is to blame when too many lie.

Rules, for honest replicas, across all their lives:
* Agreement, order without gaps, external validity: by the `Ledger`.
* No double vote: one digest at most for each ballot. A promise counts from when it is durable, found after a
  crash, or seen by anybody.
* One certificate: two valid certificates for different digests at one ballot never exist, whoever made them.
* No certificate beside a decision: whatever is certified at a higher rank than a decision builds on that one.
* The locking rule: no word whose base does not stand against what the signer locked by an earlier word. And words are
  given in their order.
* Accountability: if agreement or the one certificate breaks, the signed words that went around convict f + 1 replicas
  at least; and an honest replica is never convicted.

How a protocol plugs in: its `ProtocolKind` names a `Reader` (see `coordination.testimony`), which says what words and
certificates a message or a record holds. All the rest is here. A word that a liar made up is believed only if its
signature holds. The cost of an event is that of its messages' words: constant for a vote, once n for each certificate.

Theory: Castro and Liskov 1999 (quorums that meet in a correct replica); Sheng et al., "BFT Protocol Forensics", 2021.
"""

from collections.abc import Callable, Collection, Iterable
from typing import Any

from coordination.checker import SafetyViolation, violated
from coordination.protocol import (
    Command,
    Effects,
    Event,
    Persisted,
    Protocol,
    ProtocolKind,
    Receive,
    Restore,
    everything,
)
from coordination.quorum import byzantine
from coordination.signature import Scheme, TokenScheme, certifies
from coordination.simulation.ledger import Ledger
from coordination.simulation.simulation import World
from coordination.testimony import Ballot, Certified, Reader, Stance, Word, conflict, stands, word_of

Proof = tuple[Word, Word]
"""Two words of one signer that no correct replica gives both."""


def culprits(words: Iterable[Word], scheme: Scheme | None = None) -> dict[int, Proof]:
    """Who lied, with a proof each, in the order of their ids. With a scheme, words that are not signed are left out."""
    by_signer: dict[int, list[Word]] = {}
    for word in words:
        if scheme is None or scheme.verify(word.statement, word.signature):
            by_signer.setdefault(word.signature.signer, []).append(word)
    found: dict[int, Proof] = {}
    for signer in sorted(by_signer):
        proof = _proof(sorted(by_signer[signer], key=lambda word: (word.order, word.ballot, word.digest)))
        if proof is not None:
            found[signer] = proof
    return found


def _proof(words: list[Word]) -> Proof | None:
    """A proof from one signer's words, in the order in which they were given."""
    given: dict[Ballot, Word] = {}
    highest: dict[int, Word] = {}
    for word in words:
        first = given.setdefault(word.ballot, word)
        if conflict(first, word):
            return (first, word)
        locker = highest.get(word.scope)
        if locker is not None and conflict(locker, word):
            return (locker, word)
        highest[word.scope] = _higher(locker, word)
    return None


def _higher(locker: Word | None, word: Word) -> Word:
    """Which of two words locks higher."""
    if locker is None or locker.locks is None:
        return word
    return word if word.locks is not None and word.locks.rank > locker.locks.rank else locker


class ByzantineChecker:
    """Watches the honest replicas of one run of a Byzantine protocol. See `Checker`."""

    def __init__(
        self,
        kind: ProtocolKind,
        members: tuple[int, ...],
        liars: Collection[int] = (),
        *,
        scheme: Scheme | None = None,
        valid: Callable[[tuple[Command, ...]], bool] = everything,
    ) -> None:
        """`scheme` checks everybody's signatures; by default as the simulator's tokens."""
        self.quorum = byzantine(members)
        self.honest = frozenset(members) - set(liars)
        self._reader: Reader = Reader() if kind.reader is None else kind.reader()
        self._scheme = TokenScheme() if scheme is None else scheme
        self._ledger = Ledger(valid=valid, only_proposed=False)
        self._words: dict[tuple[int, Ballot], Word] = {}
        self._more: list[Word] = []
        """Words beside the first of their signer and ballot: proofs."""
        self._locks: dict[tuple[int, int], Word] = {}
        self._certified: dict[Ballot, Certified] = {}
        self._beside: list[Certified] = []
        """Certificates of higher rank than the last decision that was compared."""
        self._decision: Stance | None = None
        self._last: dict[int, Word] = {}
        self._durable: dict[int, int] = {}
        self._promised: dict[int, list[tuple[int, Word]]] = {}
        """Words of each replica that wait for a token."""

    @classmethod
    def of(cls, world: World) -> "ByzantineChecker":
        """The checker of a simulation's replicas."""
        scheme = None if world.schemes is None else next(iter(world.schemes.values()))
        liars = {*world.liars, *world.twins}
        return cls(world.kind, world.members(), liars, scheme=scheme, valid=world.valid)

    def words(self) -> list[Word]:
        """All signed words that were seen, each once."""
        return [*self._words.values(), *self._more]

    def culprits(self) -> dict[int, Proof]:
        """Who lied, as far as what was seen shows."""
        return culprits(self.words())

    def observe(self, now: float, replica: int, protocol: Protocol, event: Event, effects: Effects) -> None:
        """See `Checker`."""
        kind = type(event)
        if kind is Receive:
            self._hear(now, replica, event.message)  # type: ignore[union-attr]  # a Receive, by its type
        elif kind is Persisted:
            self._keep(now, replica, event.token)  # type: ignore[union-attr]  # a Persisted, by its type
        elif kind is Restore:
            self._durable[replica] = 0
            self._promised[replica] = []
            # What a crash caught on its way to the disk may be there all the same.
            for record in event.records:  # type: ignore[union-attr]  # a Restore, by its type
                self._take_own(now, replica, record, 0, 0)
        if effects.records or effects.sends:
            self._promise(now, replica, effects)
        if effects.decided or effects.installed is not None or kind is Restore:
            try:
                self._ledger.observe(now, replica, protocol, event, effects)
            except SafetyViolation as violation:
                raise self._blamed(violation) from None
            if effects.decided:
                self._decide(now, replica, self._reader.decision(protocol))

    def finish(self) -> None:
        """See `Checker`: no honest replica stands convicted by all that was seen."""
        for culprit, proof in self.culprits().items():
            if culprit in self.honest:
                raise violated("an honest replica is never convicted", 0.0, culprit, proof=proof)

    # --- What replicas say ------------------------------------------------------------------------------------

    def _promise(self, now: float, replica: int, effects: Effects) -> None:
        """Takes the replica's own words: as promised, until they are durable."""
        durable = self._durable.get(replica, 0)
        last: Any = None
        for record in effects.records:
            self._take_own(now, replica, record, effects.token, durable)
        for _, message, token in effects.sends:
            if message is not last:
                last = message
                self._take_own(now, replica, message, token, durable)

    def _take_own(self, now: float, replica: int, message: Any, token: int, durable: int) -> None:
        for word in self._reader.words(message):
            if word.signature.signer != replica:
                continue
            if token <= durable:
                self._note(now, word)
            else:
                self._promised.setdefault(replica, []).append((token, word))

    def _keep(self, now: float, replica: int, token: int) -> None:
        """All up to this token is durable: what was promised is said."""
        self._durable[replica] = token
        waiting = self._promised.get(replica)
        if not waiting:
            return
        self._promised[replica] = [one for one in waiting if one[0] > token]
        for one, word in waiting:
            if one <= token:
                self._note(now, word)

    def _hear(self, now: float, replica: int, message: Any) -> None:
        """Takes the words and certificates of a message that came in."""
        for word in self._reader.words(message):
            self._believe(now, word)
        for found in self._reader.certified(message):
            known = self._certified.get(found.word.ballot)
            if known is None or known.word.digest != found.word.digest:
                self._certify(now, replica, found)

    def _believe(self, now: float, word: Word) -> None:
        """Takes a word that somebody showed, if it is new and its signature holds."""
        signer = word.signature.signer
        known = self._words.get((signer, word.ballot))
        if known is not None and known.digest == word.digest:
            return
        if signer in self.quorum.members and self._scheme.verify(word.statement, word.signature):
            self._note(now, word)

    def _note(self, now: float, word: Word) -> None:
        signer = word.signature.signer
        first = self._words.setdefault((signer, word.ballot), word)
        if first is not word:
            if first.digest == word.digest:
                return
            if signer in self.honest:
                facts = {"ballot": word.ballot, "first": first.digest.hex(), "second": word.digest.hex()}
                raise violated("no double vote", now, signer, **facts)
            self._more.append(word)
        if signer in self.honest and word.order:
            last = self._last.setdefault(signer, word)
            if word.order < last.order:
                facts = {"ballot": word.ballot, "after": last.ballot}
                raise violated("words are given in their order", now, signer, **facts)
            self._last[signer] = word
        place = (signer, word.scope)
        locker = self._locks.get(place)
        if signer in self.honest and locker is not None and locker.locks is not None:
            base = word.based
            if base is not None and word.order > locker.order and not stands(base, locker.locks):
                raise violated(
                    "the locking rule",
                    now,
                    signer,
                    ballot=word.ballot,
                    based=base,
                    locked=locker.locks,
                    by=locker.ballot,
                )
        self._locks[place] = _higher(locker, word)

    def _certify(self, now: float, replica: int, found: Certified) -> None:
        """Takes a certificate for a ballot that has none yet, or one for another digest, if it holds."""
        word, certificate = found.word, found.certificate
        signers = certifies(self._scheme, word.statement, certificate)
        if not self.quorum.is_quorum(set(signers)):
            return
        for signature in certificate.signatures:
            self._note(now, word_of(found, signature))
        first = self._certified.setdefault(word.ballot, found)
        if first is not found:
            raise self._blamed(
                violated(
                    "one certificate for a ballot",
                    now,
                    replica,
                    ballot=word.ballot,
                    first=first.word.digest.hex(),
                    second=word.digest.hex(),
                )
            )

        if first is found and found.rests is not None:
            self._beside.append(found)
            self._compare(now, replica, found)

    def _decide(self, now: float, replica: int, decision: Stance | None) -> None:
        """Compares a new highest decision with the certificates above it."""
        if decision is None or (self._decision is not None and decision.rank <= self._decision.rank):
            return
        self._decision = decision
        self._beside = [found for found in self._beside if found.word.order[0] > decision.rank]
        for found in self._beside:
            self._compare(now, replica, found)

    def _compare(self, now: float, replica: int, found: Certified) -> None:
        decision, rests = self._decision, found.rests
        if decision is None or rests is None or found.word.order[0] <= decision.rank:
            return
        if not stands(rests, decision):
            facts = {"ballot": found.word.ballot, "rests": rests, "decided": decision}
            raise self._blamed(violated("no certificate beside a decision", now, replica, **facts))

    def _blamed(self, violation: SafetyViolation) -> SafetyViolation:
        """The violation with those whom the words convict; or what is worse, too few, or an honest one."""
        found = self.culprits()
        needed = len(self.quorum.members) - self.quorum.needed + 1
        text = f"{violation}. Convicted by their own words: {sorted(found) or 'nobody'}"
        if len(found) < needed:
            text += f", and accountability is broken too: a fork needs {needed} culprits"
        if not self.honest.isdisjoint(found):
            text += f", and accountability is broken too: {sorted(self.honest & set(found))} are honest"
        return SafetyViolation(text)
