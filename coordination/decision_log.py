"""The decided slots of one replica, and how a replica that lags gets them from one that it need not trust.

Rules:
* Slots are appended in order. The history is a chain of digests, h(s) = H(h(s-1), digest of the batch at s): equal
  histories at a slot mean equal slots up to it.
* A slot travels with its certificate, so that one honest peer is enough to catch up. In protocols without signatures
  there is none, and f+1 peers must say the same.
* `Compact` gives the application's state at a slot. It may replace the slots below once f+1 replicas have signed the
  same summary (history, requests executed, state), since one of them is honest. Until then the slots are kept; so let
  every replica compact at the same slots, for example at multiples of a number.

Source: Castro and Liskov 1999, section 4.3 (checkpoints), 5.3.2 of Castro's thesis (state transfer).
"""

from typing import Any

from coordination.protocol import Wire
from coordination.request import Batch, Executed
from coordination.signature import Certificate, Scheme, Signature, Statement, certificate, certifies, digest

PAGE = 32
"""The most slots in one answer to a replica that lags."""

ORIGIN = b""
"""The history before the first slot."""


class Entry(Wire, frozen=True):
    """A decided slot: its batch, and the certificate of the view (round) that decided it."""

    slot: int
    view: int
    batch: Batch
    certificate: Certificate | None = None

    @property
    def authenticators(self) -> int:
        """See `Wire`."""
        own = self.certificate.authenticators if self.certificate else 0
        return own + sum(request.authenticators for request in self.batch)


class Summary(Wire, frozen=True):
    """What stands for all slots up to one: their history, the requests executed, the application's state."""

    slot: int
    history: bytes
    executed: tuple[Any, ...]
    state: Any


class StateVote(Wire, frozen=True):
    """A replica's word that the summary at a slot has this digest."""

    slot: int
    digest: bytes
    signature: Signature | None = None

    @property
    def authenticators(self) -> int:
        """See `Wire`."""
        return self.signature is not None


class Past(Wire, frozen=True):
    """Decided slots for a replica that lags, after a summary if the first of them are compacted."""

    entries: tuple[Entry, ...] = ()
    summary: Summary | None = None
    certificate: Certificate | None = None

    @property
    def authenticators(self) -> int:
        """See `Wire`."""
        own = self.certificate.authenticators if self.certificate else 0
        return own + sum(entry.authenticators for entry in self.entries)


def state_statement(slot: int, found: bytes) -> Statement:
    """What a replica signs for the summary at a slot."""
    return "state", slot, found


class DecisionLog:
    """Decided slots, in order, above an optional summary."""

    def __init__(self) -> None:
        self.slot = 0
        """The last decided slot; slots count from 1."""
        self.history = ORIGIN
        self.executed = Executed()
        self.summary: Summary | None = None
        self.proof: Certificate | None = None
        self._entries: dict[int, Entry] = {}
        self._histories: dict[int, bytes] = {0: ORIGIN}
        self._votes: dict[int, StateVote] = {}
        self._candidate: tuple[Summary, bytes] | None = None

    @property
    def base(self) -> int:
        """The slot of the summary: 0 if there is none."""
        return self.summary.slot if self.summary else 0

    def append(self, entry: Entry, found: bytes) -> tuple[Any, ...]:
        """Adds the next slot, whose batch has this digest; gives the commands to apply."""
        assert entry.slot == self.slot + 1, f"slot {entry.slot} after {self.slot}"
        self.slot = entry.slot
        self.history = digest((self.history, found))
        self._entries[entry.slot] = entry
        self._histories[entry.slot] = self.history
        return self.executed.execute(entry.batch)

    def entry(self, slot: int) -> Entry | None:
        """A slot, if it is decided and still kept."""
        return self._entries.get(slot)

    def history_at(self, slot: int) -> bytes | None:
        """The history at a slot, if it is still known."""
        return self._histories.get(slot)

    @property
    def entries(self) -> tuple[Entry, ...]:
        """All that are kept, in order."""
        return tuple(self._entries.values())

    def install(self, summary: Summary, proof: Certificate | None) -> None:
        """Takes another replica's summary in place of everything up to its slot."""
        self.summary, self.proof = summary, proof
        self._candidate = None
        self.slot = summary.slot
        self.history = summary.history
        self.executed = Executed(summary.executed)
        self._entries = {}
        self._histories = {summary.slot: summary.history}

    # --- Compaction -------------------------------------------------------------------------------------------

    def compact(self, slot: int, state: Any) -> StateVote | None:
        """The application's state at a slot: the vote to sign and send, if the slot is one to compact at."""
        if not self.base < slot <= self.slot:
            return None
        executed = Executed(self.summary.executed if self.summary else ())
        for at in range(self.base + 1, slot + 1):
            executed.execute(self._entries[at].batch)
        summary = Summary(slot, self._histories[slot], executed.plain(), state)
        found = digest(summary)
        self._candidate = (summary, found)
        return StateVote(slot, found)

    def vote(self, signer: int, vote: StateVote, needed: int, scheme: Scheme | None) -> bool:
        """Counts a checked vote, a signer's latest alone. True: the candidate now stands for the slots below it."""
        self._votes[signer] = vote
        if self._candidate is None:
            return False
        summary, found = self._candidate
        agreeing = [one for one in self._votes.values() if one.slot == summary.slot and one.digest == found]
        if len(agreeing) < needed:
            return False
        words = [one.signature for one in agreeing if one.signature is not None]
        self.trim(summary, certificate(scheme, words) if scheme is not None else None)
        return True

    def trim(self, summary: Summary, proof: Certificate | None) -> None:
        """Lets a summary of its own slots stand for them."""
        self.summary, self.proof, self._candidate = summary, proof, None
        for slot in [slot for slot in self._entries if slot <= summary.slot]:
            del self._entries[slot]
        for slot in [slot for slot in self._histories if slot < summary.slot]:
            del self._histories[slot]

    # --- Catching up ------------------------------------------------------------------------------------------

    def since(self, slot: int) -> Past | None:
        """What a replica that has all up to this slot lacks, one page of it."""
        if slot >= self.slot:
            return None
        if slot < self.base:
            first = self.base + 1
            return Past(self._page(first), self.summary, self.proof)
        return Past(self._page(slot + 1))

    def _page(self, first: int) -> tuple[Entry, ...]:
        return tuple([self._entries[slot] for slot in range(first, min(self.slot, first + PAGE - 1) + 1)])


def vouches(scheme: Scheme, past: Past, members: frozenset[int], needed: int) -> bool:
    """Whether enough members signed the summary of `past`."""
    if past.summary is None or past.certificate is None:
        return False
    statement = state_statement(past.summary.slot, digest(past.summary))
    signers = certifies(scheme, statement, past.certificate)
    return sum(1 for signer in signers if signer in members) >= needed
