"""What replicas of PBFT say to one another and write down, and the statements that they sign.

Rules:
* A pre-prepare is the primary's prepare: both sign the same statement, so that a prepared certificate is one quorum of
  signatures for one statement.
* Authenticators count the signatures a message carries; the formula of a decision stands in `replica`.
"""

from coordination.decision_log import Entry, Past, StateVote, Summary
from coordination.protocol import Wire
from coordination.request import Batch, Forward
from coordination.signature import Certificate, Signature, Statement, digest


def prepare_statement(view: int, slot: int, found: bytes) -> Statement:
    """This batch has this slot in this view."""
    return "pbft prepare", view, slot, found


def commit_statement(view: int, slot: int, found: bytes) -> Statement:
    """A quorum has prepared this batch at this slot in this view."""
    return "pbft commit", view, slot, found


def checkpoint_statement(slot: int, history: bytes) -> Statement:
    """All slots up to this one are executed, with this history."""
    return "pbft checkpoint", slot, history


class PrePrepare(Wire, frozen=True):
    """The primary gives a batch a slot. Anybody may pass it on."""

    view: int
    slot: int
    batch: Batch
    signature: Signature

    @property
    def authenticators(self) -> int:
        """See `Wire`."""
        return 1 + sum(request.authenticators for request in self.batch)


class Prepare(Wire, frozen=True):
    """A replica has accepted a pre-prepare."""

    view: int
    slot: int
    digest: bytes
    signature: Signature

    @property
    def authenticators(self) -> int:
        """See `Wire`."""
        return 1


class Commit(Wire, frozen=True):
    """A replica holds a prepared certificate."""

    view: int
    slot: int
    digest: bytes
    signature: Signature

    @property
    def authenticators(self) -> int:
        """See `Wire`."""
        return 1


class Checkpoint(Wire, frozen=True):
    """A replica has executed all slots up to this one."""

    slot: int
    history: bytes
    signature: Signature

    @property
    def authenticators(self) -> int:
        """See `Wire`."""
        return 1


class Stable(Wire, frozen=True):
    """A quorum has executed all slots up to this one: the low watermark."""

    slot: int = 0
    history: bytes = b""
    certificate: Certificate | None = None

    @property
    def authenticators(self) -> int:
        """See `Wire`."""
        return self.certificate.authenticators if self.certificate else 0


class Prepared(Wire, frozen=True):
    """A prepared certificate: a quorum's prepares, the primary's pre-prepare among them."""

    view: int
    slot: int
    digest: bytes
    certificate: Certificate


class ViewChange(Wire, frozen=True):
    """A replica leaves for a view, and tells what may have been decided in those before."""

    view: int
    stable: Stable
    prepared: tuple[Prepared, ...]
    """For each slot above the stable one its latest, in order of slots."""
    signature: Signature

    @property
    def authenticators(self) -> int:
        """See `Wire`."""
        return 1 + self.stable.authenticators + sum(one.certificate.authenticators for one in self.prepared)


def view_change_statement(view: int, stable: Stable, prepared: tuple[Prepared, ...]) -> Statement:
    """What a view change signs."""
    return "pbft view change", view, digest((stable, prepared))


class Proposal(Wire, frozen=True):
    """A new primary's pre-prepare of a batch that others already hold."""

    slot: int
    digest: bytes
    signature: Signature


class NewView(Wire, frozen=True):
    """The primary of a view begins it: a quorum of view changes, and what follows from them."""

    view: int
    changes: tuple[ViewChange, ...]
    proposals: tuple[Proposal, ...]
    signature: Signature

    @property
    def authenticators(self) -> int:
        """See `Wire`."""
        return 1 + len(self.proposals) + sum(change.authenticators for change in self.changes)


def new_view_statement(
    view: int, changes: tuple[ViewChange, ...], proposals: tuple[Proposal, ...]
) -> Statement:
    """What a new view signs."""
    return "pbft new view", view, digest((changes, proposals))


class Status(Wire, frozen=True):
    """What a replica has: who has more sends it."""

    view: int
    active: bool
    slot: int
    """All slots up to this one are executed."""
    stable: int
    ask: bool
    """Whether the receiver is asked for all that is missing, or for its own votes alone."""
    batches: tuple[int, ...] = ()
    """Undecided slots whose batches it holds."""


# --- Records ----------------------------------------------------------------------------------------------------


class Life(Wire, frozen=True):
    """Which life of the replica begins."""

    number: int


class Left(Wire, frozen=True):
    """The replica left for a view: it votes in none before."""

    view: int


class Entered(Wire, frozen=True):
    """A view began, by this message; view 0 begins without one."""

    new_view: NewView


class Accepted(Wire, frozen=True):
    """The replica accepted a pre-prepare (or, as the primary, made it): its vote."""

    view: int
    slot: int
    batch: Batch
    signature: Signature


class Committing(Wire, frozen=True):
    """The replica is prepared, and so commits."""

    prepared: Prepared


class Compacted(Wire, frozen=True):
    """All that the replica must remember, in one record that stands for all earlier ones."""

    summary: Summary
    proof: Certificate
    records: tuple[Life | Left | Entered | Stable | Accepted | Committing | Entry, ...]


MESSAGES = (
    PrePrepare, Prepare, Commit, Checkpoint, Stable, ViewChange, NewView, Status, Forward, Past, StateVote,
)  # fmt: skip
RECORDS = (Life, Left, Entered, Stable, Accepted, Committing, Entry, Compacted)
