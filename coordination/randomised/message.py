"""What replicas of the randomised protocols say to one another and write down.

Rules:
* Nothing is signed but requests that are handed on: the channel says who speaks. So there is no evidence, and no
  certificates: what others have decided is believed when f+1 say it (with crashes alone, when one does).
* What a replica says it writes down first, as the message itself: it says nothing else in its place after a restart.
"""

from coordination.decision_log import Entry, Past, StateVote, Summary
from coordination.protocol import Wire
from coordination.request import Batch, Forward


class Vote(Wire, frozen=True):
    """One message of a binary agreement. `phase` and `value` are as its module says."""

    slot: int
    round: int
    phase: int
    value: int


class Done(Wire, frozen=True):
    """The sender has decided, and stands for this value at all later stages of the slot: it need not say more."""

    slot: int
    value: int
    stage: int
    """The last stage at which it said something else in its own name."""


class Init(Wire, frozen=True):
    """The candidate of a slot puts its batch forward."""

    slot: int
    batch: Batch

    @property
    def authenticators(self) -> int:
        """See `Wire`."""
        return sum(request.authenticators for request in self.batch)


class Echo(Wire, frozen=True):
    """The sender holds the candidate's batch."""

    slot: int
    digest: bytes


class Ready(Wire, frozen=True):
    """Enough hold this batch, and no other can be as widely held."""

    slot: int
    digest: bytes


class Body(Wire, frozen=True):
    """A batch for who lacks it."""

    slot: int
    batch: Batch

    @property
    def authenticators(self) -> int:
        """See `Wire`."""
        return sum(request.authenticators for request in self.batch)


class Status(Wire, frozen=True):
    """What a replica has: who has more sends it."""

    slot: int
    round: int
    held: bool
    """Whether it has the slot's batch."""
    ask: bool
    """Whether the receiver is asked for decided slots and batches too."""


# --- Records ----------------------------------------------------------------------------------------------------


class Life(Wire, frozen=True):
    """Which life of the replica begins."""

    number: int


class Compacted(Wire, frozen=True):
    """All that the replica must remember, in one record that stands for all earlier ones."""

    summary: Summary
    records: tuple[Life | Init | Echo | Ready | Body | Vote | Done | Entry, ...]


MESSAGES = (Vote, Done, Init, Echo, Ready, Body, Status, Forward, Past, StateVote)
RECORDS = (Life, Entry, Compacted)
