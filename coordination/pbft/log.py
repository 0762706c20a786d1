"""The part of a PBFT replica's log that is not yet behind a stable checkpoint: a window of slots, each with its votes.

Rules (Castro and Liskov 1999, sections 4.2 and 4.3):
* Slots lie above the low watermark, the stable checkpoint, and at most a window above it: a liar cannot use up slots.
* What a slot was prepared for outlives views: a view change must tell it. Votes do not: they belong to one view.
* A batch is kept while it may be asked for: the one of this view, and the one prepared last.
"""

from coordination.pbft.message import Prepared
from coordination.request import EMPTY, Batch
from coordination.signature import Signature
from coordination.tally import Tally


class Slot:
    """One slot in the present view."""

    __slots__ = (
        "batch", "commits", "committing", "digest", "known", "number", "prepared", "prepares", "signature", "voted",
    )  # fmt: skip

    def __init__(self, number: int) -> None:
        self.number = number
        self.prepared: Prepared | None = None
        self.known: dict[bytes, Batch] = {EMPTY: ()}
        self.digest: bytes | None = None
        """What the primary proposed in this view."""
        self.begin()

    def begin(self) -> None:
        """A view ends or begins: no votes, nothing proposed."""
        if self.digest is not None:
            kept = {getattr(self.prepared, "digest", EMPTY), self.digest, EMPTY}
            self.known = {found: batch for found, batch in self.known.items() if found in kept}
        self.digest = None
        self.signature: Signature | None = None
        """The primary's word for that."""
        self.batch: Batch | None = None
        """The batch with this digest, once it is known."""
        self.voted = False
        """This replica has sent its prepare in this view."""
        self.committing = False
        """This replica is prepared in this view, and has sent its commit."""
        self.prepares = Tally()
        self.commits = Tally()

    def propose(self, found: bytes, signature: Signature, batch: Batch | None) -> None:
        """The primary of this view proposes this."""
        self.digest, self.signature = found, signature
        self.batch = self.known.get(found) if batch is None else batch
        if self.batch is not None:
            self.known[found] = self.batch


class Log:
    """The slots above the low watermark."""

    def __init__(self, window: int) -> None:
        self.low = 0
        self.window = window
        self.top = 0
        """The highest slot for which something was proposed in this view."""
        self.slots: dict[int, Slot] = {}

    def covers(self, slot: int) -> bool:
        """Whether a slot lies between the watermarks."""
        return self.low < slot <= self.low + self.window

    def slot(self, number: int) -> Slot:
        """The slot with this number, which must lie between the watermarks."""
        found = self.slots.get(number)
        if found is None:
            found = self.slots[number] = Slot(number)
        return found

    def advance(self, low: int) -> None:
        """Moves the low watermark up and forgets what lies below."""
        self.low = low
        self.top = max(self.top, low)
        for number in [number for number in self.slots if number <= low]:
            del self.slots[number]

    def begin(self) -> None:
        """A view ends or begins."""
        self.top = self.low
        for slot in self.slots.values():
            slot.begin()

    def prepared(self) -> tuple[Prepared, ...]:
        """The latest prepared certificate of each slot, in order of slots."""
        return tuple([slot.prepared for _, slot in sorted(self.slots.items()) if slot.prepared is not None])
