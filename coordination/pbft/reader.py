"""What the messages of PBFT testify: prepares, commits and checkpoints, and the certificates made of them.

Rules:
* A pre-prepare, a new view's proposal and a prepare are words at one ballot, (prepare, view, slot): a primary that
  gives two replicas different batches signs two of them. A commit and a checkpoint have ballots of their own.
* Nothing locks within a slot: a later view may prepare something else than what a replica committed, if a quorum of
  view changes shows that nothing was decided. So words have no order here, and the one certificate a ballot is checked.
"""

from collections.abc import Iterable
from typing import Any

from coordination.decision_log import Past
from coordination.pbft.message import (
    Checkpoint,
    Commit,
    NewView,
    Prepare,
    Prepared,
    PrePrepare,
    Stable,
    ViewChange,
    checkpoint_statement,
    commit_statement,
    new_view_statement,
    prepare_statement,
)
from coordination.signature import Certificate, Signature, Statement, digest
from coordination.testimony import Certified, Reader, Word

NOBODY = Signature(-1, b"")


def _word(statement: Statement, signature: Signature) -> Word:
    """A word: its statement ends with what it backs; the rest is the ballot."""
    return Word(statement[:-1], statement[-1], statement, signature)


def _certified(statement: Statement, certificate: Certificate | None) -> Iterable[Certified]:
    return () if certificate is None else (Certified(_word(statement, NOBODY), certificate),)


class PbftReader(Reader):
    """Reads the messages of PBFT."""

    def __init__(self) -> None:
        self._last: tuple[Any, bytes] = (None, b"")

    def _digest(self, message: PrePrepare) -> bytes:
        """Of a batch; one message goes to many replicas, one after another."""
        if self._last[0] is not message:
            self._last = (message, digest(message.batch))
        return self._last[1]

    def words(self, message: Any) -> Iterable[Word]:
        """See `Reader`."""
        match message:
            case Prepare():
                return (
                    _word(prepare_statement(message.view, message.slot, message.digest), message.signature),
                )
            case Commit():
                return (
                    _word(commit_statement(message.view, message.slot, message.digest), message.signature),
                )
            case PrePrepare():
                statement = prepare_statement(message.view, message.slot, self._digest(message))
                return (_word(statement, message.signature),)
            case Checkpoint():
                return (_word(checkpoint_statement(message.slot, message.history), message.signature),)
            case NewView():
                proposals = [
                    _word(prepare_statement(message.view, one.slot, one.digest), one.signature)
                    for one in message.proposals
                ]
                statement = new_view_statement(message.view, message.changes, message.proposals)
                return (_word(statement, message.signature), *proposals)
        return ()

    def certified(self, message: Any) -> Iterable[Certified]:
        """See `Reader`."""
        match message:
            case Stable():
                return _certified(checkpoint_statement(message.slot, message.history), message.certificate)
            case ViewChange():
                return self._changed(message)
            case NewView():
                return [found for change in message.changes for found in self._changed(change)]
            case Past():
                return [
                    found
                    for entry in message.entries
                    for found in _certified(
                        commit_statement(entry.view, entry.slot, digest(entry.batch)), entry.certificate
                    )
                ]
        return ()

    def _changed(self, change: ViewChange) -> list[Certified]:
        return [*self.certified(change.stable), *[one for each in change.prepared for one in _prepared(each)]]


def _prepared(found: Prepared) -> Iterable[Certified]:
    return _certified(prepare_statement(found.view, found.slot, found.digest), found.certificate)
