"""What replicas of Tendermint say to one another and write down, and the statements that they sign.

Rules:
* A replica's own proposals and votes are records as well: what it said, it says in no round differently.
* A proposal of a value from an earlier round carries the certificate of that round's prevotes (the polka). In the paper
  gossip brings these prevotes to everybody; here messages go straight from their sender, and a liar's prevotes need not
  reach all.
"""

from coordination.decision_log import Entry, Past, StateVote, Summary
from coordination.protocol import Wire
from coordination.request import Batch, Forward
from coordination.signature import Certificate, Signature, Statement

NIL = b""
"""A vote for no value."""

PREVOTE = "tendermint prevote"
PRECOMMIT = "tendermint precommit"


def proposal_statement(height: int, number: int, found: bytes, valid_round: int) -> Statement:
    """The proposer of a round proposes this batch, which had a polka in an earlier round (or -1)."""
    return "tendermint proposal", height, number, found, valid_round


def vote_statement(phase: str, height: int, number: int, found: bytes) -> Statement:
    """A vote of a phase in a round."""
    return phase, height, number, found


class Proposal(Wire, frozen=True):
    """The proposer's batch for a round of a height."""

    height: int
    round: int
    batch: Batch
    valid_round: int
    signature: Signature
    polka: Certificate | None = None

    @property
    def authenticators(self) -> int:
        """See `Wire`."""
        polka = self.polka.authenticators if self.polka else 0
        return 1 + polka + sum(request.authenticators for request in self.batch)


class Prevote(Wire, frozen=True):
    """A replica finds a round's proposal acceptable, or (nil) has none that is."""

    height: int
    round: int
    digest: bytes
    signature: Signature

    @property
    def authenticators(self) -> int:
        """See `Wire`."""
        return 1


class Precommit(Wire, frozen=True):
    """A replica has seen a polka for a round's proposal, or (nil) will see none."""

    height: int
    round: int
    digest: bytes
    signature: Signature

    @property
    def authenticators(self) -> int:
        """See `Wire`."""
        return 1


class Status(Wire, frozen=True):
    """What a replica has: who has more sends it."""

    height: int
    round: int
    proposed: bool
    """Whether it has this round's proposal."""
    ask: bool
    """Whether the receiver is asked for all that is missing, or for its own votes alone."""


# --- Records ----------------------------------------------------------------------------------------------------


class Life(Wire, frozen=True):
    """Which life of the replica begins."""

    number: int


class Polka(Wire, frozen=True):
    """A quorum prevoted a batch: the valid value, and the lock if a precommit for it follows."""

    height: int
    round: int
    batch: Batch
    certificate: Certificate


class Compacted(Wire, frozen=True):
    """All that the replica must remember, in one record that stands for all earlier ones."""

    summary: Summary
    proof: Certificate
    records: tuple[Life | Polka | Proposal | Prevote | Precommit | Entry, ...]


MESSAGES = (Proposal, Prevote, Precommit, Status, Forward, Past, StateVote)
RECORDS = (Life, Polka, Entry, Compacted)
