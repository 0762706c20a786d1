"""What the messages of Tendermint testify: proposals and votes, their locks, and the certificates made of them.

Rules:
* One proposal, one prevote and one precommit of a replica for each height and round.
* A precommit for a batch locks it at its round, within its height. A prevote for a batch is based on the latest round
  in which, as far as was seen, the batch had a polka: of its proposal, or of the voter's own precommit for it.
  A prevote based below an earlier lock breaks the locking rule: two signed words convict its signer of amnesia.
* Nil votes lock nothing and are based on nothing.
"""

from collections.abc import Iterable
from typing import Any

from coordination.decision_log import Past
from coordination.signature import Signature, digest
from coordination.tendermint.message import (
    NIL,
    PRECOMMIT,
    PREVOTE,
    Precommit,
    Prevote,
    Proposal,
    proposal_statement,
    vote_statement,
)
from coordination.testimony import Certified, Reader, Stance, Word

NOBODY = Signature(-1, b"")

HEIGHTS = 64
"""Of how many heights proposals and precommits are remembered."""


class _Seen:
    """What passed by of one height."""

    __slots__ = ("precommits", "proposals")

    def __init__(self) -> None:
        self.proposals: dict[tuple[int, bytes], int] = {}
        """The latest round of a polka that a round's proposal of a batch named."""
        self.precommits: dict[tuple[int, bytes], list[int]] = {}
        """The rounds in which a replica precommitted a batch."""


class TendermintReader(Reader):
    """Reads the messages of Tendermint."""

    def __init__(self) -> None:
        self._last: tuple[Any, bytes] = (None, b"")
        self._seen: dict[int, _Seen] = {}

    def _digest(self, message: Proposal) -> bytes:
        if self._last[0] is not message:
            self._last = (message, digest(message.batch))
        return self._last[1]

    def _height(self, number: int) -> _Seen:
        found = self._seen.get(number)
        if found is None:
            found = self._seen[number] = _Seen()
            if len(self._seen) > HEIGHTS:
                del self._seen[min(self._seen)]
        return found

    def words(self, message: Any) -> Iterable[Word]:
        """See `Reader`."""
        match message:
            case Prevote() | Precommit():
                return (self._vote(message),)
            case Proposal():
                found = self._digest(message)
                height, number, valid = message.height, message.round, message.valid_round
                proposals = self._height(height).proposals
                proposals[number, found] = max(valid, proposals.get((number, found), -1))
                statement = proposal_statement(height, number, found, valid)
                backed = digest((found, valid))
                return (Word((statement[0], height, number), backed, statement, message.signature),)
        return ()

    def _vote(self, vote: Prevote | Precommit) -> Word:
        height, number, found = vote.height, vote.round, vote.digest
        if type(vote) is Precommit:
            if found != NIL:
                rounds = self._height(height).precommits.setdefault((vote.signature.signer, found), [])
                if number not in rounds:
                    rounds.append(number)
            return _precommit(height, number, found, vote.signature)
        based = None
        if found != NIL:
            seen = self._height(height)
            own = [at for at in seen.precommits.get((vote.signature.signer, found), ()) if at < number]
            based = Stance(max([seen.proposals.get((number, found), -1), *own]), found)
        statement = vote_statement(PREVOTE, height, number, found)
        order = (height, number, 0)
        return Word(statement[:3], found, statement, vote.signature, order, height, None, based)

    def certified(self, message: Any) -> Iterable[Certified]:
        """See `Reader`."""
        match message:
            case Proposal() if message.polka is not None:
                found = self._digest(message)
                statement = vote_statement(PREVOTE, message.height, message.valid_round, found)
                return (Certified(Word(statement[:3], found, statement, NOBODY), message.polka),)
            case Past():
                return [
                    Certified(
                        _precommit(entry.slot, entry.view, digest(entry.batch), NOBODY), entry.certificate
                    )
                    for entry in message.entries
                    if entry.certificate is not None
                ]
        return ()


def _precommit(height: int, number: int, found: bytes, signature: Signature) -> Word:
    statement = vote_statement(PRECOMMIT, height, number, found)
    locks = None if found == NIL else Stance(number, found)
    return Word(statement[:3], found, statement, signature, (height, number, 1), height, locks)
