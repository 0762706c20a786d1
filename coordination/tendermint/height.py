"""What a replica of Tendermint knows of the height that it works on.

Rules:
* Rounds far ahead are not kept, and of those far behind only the last few: memory is bounded whatever liars send. A
  replica that others have left behind first learns of their round (`ahead`), then asks for its messages.
"""

from enum import IntEnum
from typing import TYPE_CHECKING

from coordination.request import EMPTY, Batch
from coordination.tally import Tally

if TYPE_CHECKING:
    from coordination.signature import Certificate
    from coordination.tendermint.message import Precommit, Prevote, Proposal

WINDOW = 16
"""How many rounds ahead and behind are kept."""

NEVER_YET = -1


class Step(IntEnum):
    """How far a replica is within a round."""

    PROPOSE = 0
    PREVOTE = 1
    PRECOMMIT = 2


class Round:
    """One round: its proposal and votes."""

    __slots__ = ("digest", "precommits", "prevotes", "proposal", "seen_polka")

    def __init__(self) -> None:
        self.proposal: Proposal | None = None
        self.digest = b""
        """Of the proposal's batch."""
        self.prevotes = Tally()
        self.precommits = Tally()
        self.seen_polka = False


class Height:
    """A replica's state of one height: the paper's variables, and the messages."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.round = 0
        self.step = Step.PROPOSE
        self.locked_round = NEVER_YET
        self.locked = b""
        self.valid_round = NEVER_YET
        self.valid: Batch = ()
        self.polka: Certificate | None = None
        self.accepted: set[bytes] = {EMPTY}
        """Batches found valid: a quorum's word, or this replica's own judgement."""
        self.rounds: dict[int, Round] = {}
        self.said: dict[tuple[int, str], Proposal | Prevote | Precommit] = {}
        """What this replica said, by round and phase: in the last rounds, and where it locked."""
        self.latest: dict[int, int] = {}
        """The latest round of each other replica."""
        self.awake = False
        """Somebody wants a decision, so that time-outs run."""

    def at(self, number: int) -> Round:
        """A round, which must be one to keep."""
        found = self.rounds.get(number)
        if found is None:
            found = self.rounds[number] = Round()
        return found

    def keeps(self, number: int) -> bool:
        """Whether messages of a round are kept."""
        return self.round - WINDOW <= number <= self.round + WINDOW and number >= 0

    def ahead(self, needed: int) -> int:
        """The latest round that so many others have reached; -1 if they have reached none."""
        if len(self.latest) < needed:
            return NEVER_YET
        return sorted(self.latest.values(), reverse=True)[needed - 1]

    def enter(self, number: int) -> None:
        """Moves on to a later round."""
        self.round, self.step = number, Step.PROPOSE
        for old in [old for old in self.rounds if old < number - WINDOW]:
            del self.rounds[old]
        for key in [key for key in self.said if key[0] < number - WINDOW and key[0] != self.locked_round]:
            del self.said[key]
