"""What a new view must propose again, and whether a view change or a new view tells the truth.

Rules (Castro and Liskov 1999, section 4.4):
* A view change names its stable checkpoint and, for each slot above, the latest prepared certificate; all are proved.
* A new view holds a quorum of view changes. It starts from the highest stable checkpoint among them. A slot above it
  gets what was prepared in the highest view; one that nobody has prepared, below the last of these, gets no requests.
* What was decided was prepared at n-f replicas, so at least one correct replica of any quorum tells of it, and no later
  view can have prepared anything else. Hence each backup works the proposals out again and compares.
"""

from collections.abc import Sequence
from itertools import pairwise

from coordination.pbft.message import (
    NewView,
    Prepared,
    Stable,
    ViewChange,
    checkpoint_statement,
    new_view_statement,
    prepare_statement,
    view_change_statement,
)
from coordination.quorum import Threshold
from coordination.request import EMPTY
from coordination.signature import Certificate, Scheme, Statement, certifies


def outcome(changes: Sequence[ViewChange]) -> tuple[Stable, list[tuple[int, bytes]]]:
    """The stable checkpoint that a new view starts from, and the digest of each slot above it."""
    stable = max((change.stable for change in changes), key=lambda one: one.slot)
    best: dict[int, Prepared] = {}
    for change in changes:
        for one in change.prepared:
            known = best.get(one.slot)
            if one.slot > stable.slot and (known is None or one.view > known.view):
                best[one.slot] = one
    top = max(best, default=stable.slot)
    return stable, [
        (slot, best[slot].digest if slot in best else EMPTY) for slot in range(stable.slot + 1, top + 1)
    ]


class Judge:
    """Checks what others claim."""

    def __init__(self, scheme: Scheme, quorum: Threshold, window: int) -> None:
        self._scheme = scheme
        self._quorum = quorum
        self._members = frozenset(quorum.members)
        self._window = window

    def certified(self, statement: Statement, found: Certificate) -> bool:
        """Whether a quorum signed it."""
        if len(found.signatures) > len(self._members):
            return False
        return self._quorum.is_quorum(set(certifies(self._scheme, statement, found)))

    def stable(self, found: Stable) -> bool:
        """Whether a quorum vouches for a stable checkpoint; the start needs no proof."""
        if found.slot == 0:
            return True
        return found.certificate is not None and self.certified(
            checkpoint_statement(found.slot, found.history), found.certificate
        )

    def change(self, found: ViewChange) -> bool:
        """Whether a view change is signed by a member and everything in it is proved."""
        word = found.signature
        slots = [one.slot for one in found.prepared]
        low = found.stable.slot
        if word.signer not in self._members or found.view <= 0 or low < 0:
            return False
        if any(a >= b for a, b in pairwise(slots)):
            return False
        if any(not low < one.slot <= low + self._window or one.view >= found.view for one in found.prepared):
            return False
        statement = view_change_statement(found.view, found.stable, found.prepared)
        return (
            self._scheme.verify(statement, word)
            and self.stable(found.stable)
            and all(
                self.certified(prepare_statement(one.view, one.slot, one.digest), one.certificate)
                for one in found.prepared
            )
        )

    def new_view(self, found: NewView, primary: int, known: Sequence[ViewChange]) -> bool:
        """Whether a new view is its primary's and follows from its view changes; `known` were checked before."""
        if found.signature.signer != primary or len(found.changes) > len(self._members):
            return False
        if not self._quorum.is_quorum({change.signature.signer for change in found.changes}):
            return False
        if any(change.view != found.view for change in found.changes):
            return False
        statement = new_view_statement(found.view, found.changes, found.proposals)
        if not self._scheme.verify(statement, found.signature):
            return False
        if not all(change in known or self.change(change) for change in found.changes):
            return False
        _, proposals = outcome(found.changes)
        return [(one.slot, one.digest) for one in found.proposals] == proposals and all(
            one.signature.signer == primary
            and self._scheme.verify(prepare_statement(found.view, one.slot, one.digest), one.signature)
            for one in found.proposals
        )
